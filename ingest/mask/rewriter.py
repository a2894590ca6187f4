"""Replaces findings with Presidio's anonymizer, by the policy of their entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

from ingest.mask.overlaps import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

# The anonymizer copies its whole text for every finding: cut a text with many into pieces with a few.
FINDINGS_AT_A_TIME = 64


class Rewriter:
    """Replaces every finding of an entity by what the entity's function makes of the value."""

    def __init__(self, replacements: Mapping[str, Callable[[str], str]]) -> None:
        self._engine = AnonymizerEngine()  # type: ignore[no-untyped-call]
        self._operators = {
            entity: OperatorConfig("custom", {"lambda": replacement}) for entity, replacement in replacements.items()
        }

    def rewrite(self, text: str, findings: Sequence[Finding]) -> str:
        """`findings` are disjoint and in order; all else in the text stays as it is."""
        pieces, done = [], 0
        for first in range(0, len(findings), FINDINGS_AT_A_TIME):
            batch = findings[first : first + FINDINGS_AT_A_TIME]
            pieces.append(self._rewrite_piece(text[done : batch[-1].end], batch, done))
            done = batch[-1].end
        return "".join([*pieces, text[done:]])

    def _rewrite_piece(self, piece: str, findings: Sequence[Finding], offset: int) -> str:
        results = [RecognizerResult(one.entity, one.start - offset, one.end - offset, one.score) for one in findings]
        # Not across spaces: two numbers side by side are two persons.
        done = self._engine.anonymize(piece, results, self._operators, merge_entities_with_spaces=False)
        return str(done.text)
