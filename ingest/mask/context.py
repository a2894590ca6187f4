"""Words near a number that say what it is. Presidio's own way needs tokens of a language model; this one does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from presidio_analyzer import ContextAwareEnhancer, EntityRecognizer, RecognizerResult

from ingest.mask.recognizers.rule import Rule

if TYPE_CHECKING:
    from presidio_analyzer.nlp_engine import NlpArtifacts

BEFORE, AFTER = 32, 14  # characters looked at
STEP = 0.35  # Presidio's default, for both directions
ENOUGH = 0.4  # a match with its word near is at least this sure


def _any_of(words: Iterable[str]) -> str:
    """A pattern for whole English words, and for Chinese words wherever they stand."""
    longest_first = sorted(words, key=len, reverse=True)
    english = [re.escape(word) for word in longest_first if word.isascii()]
    chinese = [re.escape(word) for word in longest_first if not word.isascii()]
    alternatives = [rf"(?<![a-z])(?:{'|'.join(english)})(?:s|es)?(?![a-z])"] if english else []
    return "|".join(alternatives + chinese) or r"(?!)"


def _words_of(rule: Rule) -> re.Pattern[str]:
    return re.compile(rf"(?P<context>{_any_of(rule.context)})|(?P<against>{_any_of(rule.against)})")


class NearbyWords(ContextAwareEnhancer):
    """Raises or lowers scores by the nearest word before a match; behind it, only words that raise count."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        super().__init__(STEP, ENOUGH, BEFORE, AFTER)
        self._words: Mapping[str, re.Pattern[str]] = {rule.entity: _words_of(rule) for rule in rules}

    def enhance_using_context(
        self,
        text: str,
        raw_results: list[RecognizerResult],
        nlp_artifacts: NlpArtifacts,  # noqa: ARG002
        recognizers: list[EntityRecognizer],  # noqa: ARG002
        context: list[str] | None = None,  # noqa: ARG002
    ) -> list[RecognizerResult]:
        """The same results with new scores; certain ones (1.0) keep theirs."""
        for result in raw_results:
            if result.score < ContextAwareEnhancer.MAX_SCORE:
                result.score = self._score(text, result)
        return raw_results

    def _score(self, text: str, result: RecognizerResult) -> float:
        words = self._words[result.entity_type]
        kinds = [
            match.lastgroup for match in words.finditer(text[max(0, result.start - BEFORE) : result.start].lower())
        ]
        if not kinds:
            behind = words.search(text[result.end : result.end + AFTER].lower())
            kinds = ["context"] if behind is not None and behind.lastgroup == "context" else []
        if not kinds:
            return float(result.score)
        if kinds[-1] == "against":
            return max(0.0, result.score - STEP)
        return min(max(result.score + STEP, ENOUGH), ContextAwareEnhancer.MAX_SCORE)
