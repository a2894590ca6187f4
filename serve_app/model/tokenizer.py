"""Text to token ids with the checkpoint's own fast tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from serve_app.core.errors import InputTooLong, SetupError
from serve_app.core.profile import ModelProfile
from serve_app.core.types import TokenIds

Truncate = Literal["start", "end"]
EXCERPT_CHARACTERS = 8  # for each token of the limit: a text longer than that is too long unless it is very unusual


class TextTokenizer:
    """Encodes whole texts: special tokens as the checkpoint wants them, no padding. Safe to use from many threads.

    Everything goes through `encode_batch_fast`: unlike `encode` it lets other threads run, and costs less.
    """

    def __init__(self, profile: ModelProfile) -> None:
        path = Path(profile.path) / "tokenizer.json"
        if not path.is_file():
            raise SetupError(f"{profile.name} has no tokenizer.json: convert its tokenizer with transformers first.")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._name = profile.name
        self._end = profile.end_token_id
        self._max_tokens = profile.max_tokens
        mask = self._tokenizer.encode("a").special_tokens_mask
        self._leading = mask.index(0)  # special tokens that stand before every text, such as [CLS]
        self._trailing = max(mask[::-1].index(0), int(self._end is not None))

    def encode(self, texts: list[str], prefix: str = "") -> list[TokenIds]:
        """Token ids of every text with `prefix` before it, however long, the end token last where the model has one."""
        encodings = self._tokenizer.encode_batch_fast([prefix + text for text in texts] if prefix else texts)
        return [self.finish(np.array(encoding.ids, dtype=np.int32)) for encoding in encodings]

    def encode_bounded(self, texts: list[str], prefix: str = "", truncate: Truncate | None = None) -> list[TokenIds]:
        """As `encode`, with every text within the model's limit, cut at one side if `truncate` says so.

        Of a text far beyond the limit only an excerpt is tokenised. Raises InputTooLong.
        """
        limit = EXCERPT_CHARACTERS * self._max_tokens
        if max(map(len, texts)) <= limit:
            whole = self.encode(texts, prefix)
        else:
            whole = [self._enough_of(text, prefix, truncate, limit) for text in texts]
        return [self._fit(ids, text, prefix, truncate) for ids, text in zip(whole, texts, strict=True)]

    def finish(self, ids: TokenIds) -> TokenIds:
        """`ids` with the end token appended unless it is there: last-token pooling reads that very position."""
        if self._end is None or (len(ids) and ids[-1] == self._end):
            return ids
        return np.append(ids, np.int32(self._end))

    def finish_bounded(self, given: TokenIds, truncate: Truncate | None = None) -> TokenIds:
        """Token ids that a client sent, with the end token and within the limit. Raises InputTooLong."""
        ids = self.finish(given)
        surplus = len(ids) - self._max_tokens
        if surplus <= 0:
            return ids
        if truncate is None:
            raise self._too_long(f"{len(ids)}")
        if truncate == "start":
            return ids[surplus:]
        last = len(ids) - int(self._end is not None)
        return np.concatenate([ids[: last - surplus], ids[last:]])

    def _enough_of(self, text: str, prefix: str, truncate: Truncate | None, limit: int) -> TokenIds:
        """Token ids of the text, or of so much of it that they exceed the limit just as its own would."""
        if len(text) > limit:
            excerpt = text[-limit:] if truncate == "start" else text[:limit]
            ids = self.encode([excerpt], prefix)[0]
            if len(ids) > self._max_tokens:
                return ids
        return self.encode([text], prefix)[0]

    def _fit(self, ids: TokenIds, text: str, prefix: str, truncate: Truncate | None) -> TokenIds:
        """The prefix and the special tokens around the text stay: the vector is read at the last of them."""
        surplus = len(ids) - self._max_tokens
        if surplus <= 0:
            return ids
        is_excerpt = len(text) > EXCERPT_CHARACTERS * self._max_tokens
        if truncate is None:
            raise self._too_long(f"at least {len(ids)}" if is_excerpt else f"{len(ids)}")
        kept = self._leading + self._prefix_tokens(prefix, text)
        last = len(ids) - self._trailing
        if last - kept <= surplus:
            raise InputTooLong(
                f"`instruction` leaves no room for the text: {self._name} takes at most {self._max_tokens} tokens; "
                "shorten it.",
                param="instruction",
            )
        if truncate == "start":
            return np.concatenate([ids[:kept], ids[kept + surplus :]])
        return np.concatenate([ids[: last - surplus], ids[last:]])

    def _prefix_tokens(self, prefix: str, text: str) -> int:
        """How many tokens begin inside the prefix. The last may reach into the text, so a bit of it is needed."""
        if not prefix:
            return 0
        encoding = self._tokenizer.encode(prefix + text[:64], add_special_tokens=False)
        return sum(1 for start, _ in encoding.offsets if start < len(prefix))

    def _too_long(self, tokens: str) -> InputTooLong:
        return InputTooLong(
            f"An input has {tokens} tokens; {self._name} takes at most {self._max_tokens}: split it, shorten it, or "
            "set `truncate` to `end` or `start`.",
            param="input",
        )
