"""Masks documents: what is found in titles, blocks and metadata is hidden by the policy of its entity."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from ingest.mask.overlaps import Finding
from ingest.mask.policies import dropped, effective_policies, starred
from ingest.mask.presidio import load_finder, load_rewriter
from ingest.mask.recognizers import RULES
from ingest.mask.recognizers.rule import Rule
from ingest.mask.tokens import Tokens
from ingest.mask.vault import Original, Vault
from ingest.mask.width import unify
from ingest.records import Document, Scalar
from ingest.settings import MaskPolicy, MaskSettings
from serve_app.core.errors import DocumentError, SetupError

if TYPE_CHECKING:
    from ingest.mask.finder import Finder
    from ingest.mask.rewriter import Rewriter

VERSION = 1  # of rules and replacements: a change that masks the same text differently must raise it
MAX_PASSES = 30


@dataclass(frozen=True, slots=True)
class MaskedText:
    """`counts` says how many values of each entity were hidden."""

    text: str
    counts: Counter[str]


class Masker:
    """Make one in the process that uses it: it is not meant to be pickled, nor to be shared by threads."""

    def __init__(self, settings: MaskSettings, secret: str) -> None:
        """`secret` may be empty where no entity has the policy `token`.

        Raises SetupError for an unknown entity, a missing or short secret, a vault that is unusable or of another
        secret, and a missing extra.
        """
        self._policies = effective_policies(settings)
        self._min_score = settings.min_score
        self._tokens = _tokens(settings, self._policies, secret)
        self._vault = Vault(settings.vault, secret) if settings.vault and self._tokens else None
        self._originals: list[Original] = []
        self._engines = self._load_engines() if self._policies else None

    @property
    def policy_id(self) -> str:
        """Equal for two maskers that make the same of every text; holds nothing secret."""
        policies = ",".join(f"{entity}={policy}" for entity, policy in sorted(self._policies.items()))
        key = f";key={self._tokens.key_id}" if self._tokens else ""
        return f"mask-v{VERSION};{policies};min={self._min_score:g}{key}"

    def mask(self, document: Document) -> tuple[Document, Counter[str]]:
        """The document with title, blocks and metadata masked, and how many values of each entity were hidden.

        A number in the metadata that is a value turns into text. Raises DocumentError, reason `unmaskable`, where
        masking keeps uncovering new values, and SetupError if the vault cannot be written.
        """
        names = list(document.metadata)
        values = [str(document.metadata[name]) for name in names]
        texts = [document.title, *(block.text for block in document.blocks)]
        # A field's name stands before its value: `passport` tells what the letters and digits after it are.
        pairs = [text for pair in zip(names, values, strict=True) for text in pair]
        is_fixed = [False] * len(texts) + [True, False] * len(names)
        masked, counts = self._mask_texts([*texts, *pairs], is_fixed)
        blocks = (replace(block, text=text) for block, text in zip(document.blocks, masked[1:], strict=False))
        metadata = {
            name: _masked_scalar(document.metadata[name], text)
            for name, text in zip(names, masked[len(texts) + 1 :: 2], strict=True)
        }
        return replace(document, title=masked[0], blocks=tuple(blocks), metadata=metadata), counts

    def mask_text(self, text: str) -> MaskedText:
        """Raises what `mask` raises."""
        masked, counts = self._mask_texts([text], [False])
        return MaskedText(masked[0], counts)

    def _mask_texts(self, texts: list[str], is_fixed: Sequence[bool]) -> tuple[list[str], Counter[str]]:
        """The texts masked, but for fixed ones, which are only read; repeated until nothing is left to find.

        What stands beside a hidden value can read differently once it is hidden, so one pass is not enough for
        masking twice to be the same as masking once.
        """
        counts: Counter[str] = Counter()
        if self._engines is None:
            return texts, counts
        finder, rewriter = self._engines
        texts = list(texts)
        for _ in range(MAX_PASSES):
            found = _find(finder, texts, is_fixed)
            if not found:
                self._keep_originals()
                return texts, counts
            for index, findings in found.items():
                texts[index] = rewriter.rewrite(texts[index], findings)
                counts.update(one.entity for one in findings)
        self._originals.clear()
        raise DocumentError(f"masking does not settle within {MAX_PASSES} passes", reason="unmaskable")

    def _keep_originals(self) -> None:
        if self._vault is not None and self._originals:
            self._vault.store(self._originals)
        self._originals.clear()

    def _load_engines(self) -> tuple[Finder, Rewriter]:
        rules = [RULES[entity] for entity in sorted(self._policies)]
        replacements = {rule.entity: self._replacement(rule) for rule in rules}
        return load_finder(rules, self._min_score), load_rewriter(replacements)

    def _replacement(self, rule: Rule) -> Callable[[str], str]:
        if self._policies[rule.entity] == "token" and self._tokens is not None:
            return partial(self._token, rule, self._tokens)
        return partial(starred, rule) if self._policies[rule.entity] == "mask" else dropped

    def _token(self, rule: Rule, tokens: Tokens, value: str) -> str:
        canonical = rule.canonical(unify(value).text)
        token = tokens.token(rule.entity, canonical)
        if self._vault is not None:
            self._originals.append(Original(token, tokens.digest(rule.entity, canonical), value))
        return token


def _tokens(settings: MaskSettings, policies: Mapping[str, MaskPolicy], secret: str) -> Tokens | None:
    if "token" not in policies.values():
        return None
    if not secret:
        raise SetupError(
            f"the policy token needs a secret: set {settings.key_env}, for example to what openssl rand -hex 32 prints"
        )
    return Tokens(secret)


def _find(finder: Finder, texts: Sequence[str], is_fixed: Sequence[bool]) -> dict[int, list[Finding]]:
    """Findings by the number of their text, searched as one, which costs far less than one by one."""
    starts = [0, *accumulate(len(text) + 1 for text in texts)]
    found: dict[int, list[Finding]] = {}
    for one in finder.find("\n".join(texts)):
        index = bisect_right(starts, one.start) - 1
        if not is_fixed[index]:
            moved = Finding(one.entity, one.start - starts[index], one.end - starts[index], one.score)
            found.setdefault(index, []).append(moved)
    return found


def _masked_scalar(value: Scalar, masked: str) -> Scalar:
    return value if str(value) == masked else masked
