from __future__ import annotations

from collections import Counter

from benchmarks.pii import evaluate
from benchmarks.pii_sentences import Sentence, Span, generate, read
from ingest.mask.presidio import load_finder
from ingest.mask.recognizers import RULES


def test_the_committed_sentences_are_what_the_templates_make() -> None:
    assert read() == list(generate())


def test_both_languages_have_about_half_of_at_least_five_hundred_sentences() -> None:
    languages = Counter(sentence.language for sentence in read())
    assert languages.total() >= 500
    assert min(languages.values()) >= 0.4 * languages.total()


def test_every_entity_is_labelled_in_both_parts() -> None:
    labelled = {(sentence.part, span.entity) for sentence in read() for span in sentence.spans}
    assert labelled == {(part, entity) for part in ("tuned", "held-out") for entity in RULES}


def test_held_out_sentences_are_masked_about_as_well_as_the_page_says() -> None:
    finder = load_finder(RULES.values(), 0.4)

    def find(text: str) -> list[Span]:
        return [Span(one.entity, one.start, one.end) for one in finder.find(text)]

    scores = evaluate([sentence for sentence in read() if sentence.part == "held-out"], find)
    assert min(score.f1 for score in scores if score.entity == "all") > 0.95


def test_a_score_counts_exact_findings_and_what_is_hidden_apart() -> None:
    sentence = Sentence("tuned", "en", "ab 12-34 56", (Span("A", 3, 8), Span("B", 9, 11)))
    scores = evaluate([sentence], lambda _: [Span("A", 3, 8), Span("C", 8, 11)])
    one = {score.entity: score for score in scores if score.language == "en"}
    assert (one["A"].precision, one["A"].recall, one["A"].hidden) == (1, 1, 1)
    assert (one["B"].right, one["B"].hidden, one["C"].precision) == (0, 1, 0)
    assert (one["all"].labelled, one["all"].found, one["all"].right) == (2, 2, 1)
