"""Finds values in text with Presidio's analyzer. The only module that imports it, beside `context`.

The package `presidio-analyzer` must be there (extra `pii`); no language model is, and none is ever fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from presidio_analyzer import AnalyzerEngine, EntityRecognizer, Pattern, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import NoOpNlpEngine
from presidio_analyzer.predefined_recognizers import IbanRecognizer, UsSsnRecognizer

from ingest.mask.context import NearbyWords
from ingest.mask.overlaps import Finding, without_overlaps
from ingest.mask.recognizers.rule import Rule
from ingest.mask.width import unify

if TYPE_CHECKING:
    from presidio_analyzer import RecognizerResult

# Presidio wants one; the rules hold for text of any language, and of two at once.
LANGUAGE = "zh"
SEGMENT_CHARACTERS = 500_000  # some tenths of a second for all patterns together
NOT_ASCII = re.compile(r"[^\x00-\x7f]")


class RuleRecognizer(PatternRecognizer):
    """A rule as Presidio runs it."""

    def __init__(self, rule: Rule) -> None:
        patterns = [Pattern(shape.name, shape.pattern, shape.score) for shape in rule.shapes]
        super().__init__(rule.entity, name=rule.entity, supported_language=LANGUAGE, patterns=patterns)
        self.global_regex_flags = 0
        self._check = rule.check

    def validate_result(self, pattern_text: str) -> bool | None:
        return self._check(pattern_text)


def _ascii_only(text: str) -> str:
    r"""The text with a line break for every other character: Presidio's `\b` sees no boundary beside a Chinese one."""
    return text if text.isascii() else NOT_ASCII.sub("\n", text)


class Iban(IbanRecognizer):
    def analyze(
        self,
        text: str,
        entities: list[str],
        nlp_artifacts: object = None,  # noqa: ARG002
        regex_flags: object = None,  # noqa: ARG002
    ) -> list[RecognizerResult]:
        return super().analyze(_ascii_only(text), entities)


class UsSsn(UsSsnRecognizer):
    def analyze(
        self,
        text: str,
        entities: list[str],
        nlp_artifacts: object = None,  # noqa: ARG002
        regex_flags: object = None,  # noqa: ARG002
    ) -> list[RecognizerResult]:
        return super().analyze(_ascii_only(text), entities)


def _recognizer(rule: Rule) -> EntityRecognizer:
    if rule.shapes:
        return RuleRecognizer(rule)
    return Iban(supported_language=LANGUAGE) if rule.entity == "IBAN_CODE" else UsSsn(supported_language=LANGUAGE)


class Finder:
    """Finds the values of some entities."""

    def __init__(self, rules: Iterable[Rule], min_score: float) -> None:
        rules = list(rules)
        self._min_score = min_score
        self._entities = [rule.entity for rule in rules]
        engine = NoOpNlpEngine([{"lang_code": LANGUAGE, "model_name": "none"}])
        registry = RecognizerRegistry([_recognizer(rule) for rule in rules], supported_languages=[LANGUAGE])
        self._analyzer = AnalyzerEngine(
            registry=registry,
            nlp_engine=engine,
            supported_languages=[LANGUAGE],
            context_aware_enhancer=NearbyWords(rules),
        )

    def find(self, text: str) -> list[Finding]:
        """Disjoint findings, in order, none of which reaches over a line break."""
        return [one for start, end in _segments(text) for one in self._find_in(text[start:end], start)]

    def _find_in(self, segment: str, offset: int) -> Iterator[Finding]:
        unified = unify(segment)
        results = self._analyzer.analyze(
            unified.text, language=LANGUAGE, entities=self._entities, score_threshold=self._min_score
        )
        found = (Finding(one.entity_type, one.start, one.end, float(one.score)) for one in results)
        for one in without_overlaps(found):
            start, end = unified.original_span(one.start, one.end)
            yield Finding(one.entity, offset + start, offset + end, one.score)


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Spans that together are the text, cut at line breaks: Presidio gives up a pattern after a minute, silently."""
    start = 0
    while start < len(text):
        line_break = text.find("\n", start + SEGMENT_CHARACTERS)
        end = line_break + 1 if line_break >= 0 else len(text)
        yield start, end
        start = end
