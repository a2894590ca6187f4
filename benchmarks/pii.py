"""How well masking finds values: `python -m benchmarks.pii` appends rows and writes the tables of docs/pii.md.

A finding is right if entity, start and end are the label's. `hidden` is what privacy needs: the share of labelled
values of which no letter or digit stays readable where everything found is removed, whatever it was taken for.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

from rich.console import Console

from benchmarks import rows
from benchmarks.pii_sentences import Language, Part, Sentence, Span, read
from benchmarks.rows import ROOT, Facts
from benchmarks.tables import markdown, replace_between_markers, where
from ingest.mask.presidio import load_finder
from ingest.mask.recognizers import RULES
from ingest.settings import MaskSettings
from serve_app.core.errors import EmbedError

RESULTS = ROOT / "benchmarks" / "results" / "pii.jsonl"
PAGE = ROOT / "docs" / "pii.md"
PARTS: dict[Part, str] = {"tuned": "Sentences seen while writing the recognisers", "held-out": "Held-out sentences"}
LANGUAGES: dict[Language, str] = {"zh": "Chinese", "en": "English"}
HEADINGS = ("entity", "language", "values", "precision", "recall", "F1", "hidden")
ALL = "all"

Find = Callable[[str], list[Span]]


@dataclass(frozen=True, slots=True)
class Score:
    """Of one entity in one language: labelled values, findings, those that agree, and unreadable labelled values."""

    entity: str
    language: Language
    labelled: int
    found: int
    right: int
    hidden: int

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.labelled if self.labelled else 1.0

    @property
    def f1(self) -> float:
        both = self.labelled + self.found
        return 2 * self.right / both if both else 1.0

    def cells(self) -> tuple[str, ...]:
        """What stands under HEADINGS."""
        hidden = self.hidden / self.labelled if self.labelled else 1.0
        figures = (f"{figure:.3f}" for figure in (self.precision, self.recall, self.f1, hidden))
        return (self.entity, LANGUAGES[self.language], str(self.labelled), *figures)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One line of the results file."""

    facts: Facts
    presidio: str
    part: Part
    score: Score

    def to_json(self) -> str:
        score = {
            **asdict(self.score),
            "precision": self.score.precision,
            "recall": self.score.recall,
            "f1": self.score.f1,
        }
        fields = {**asdict(self.facts), "presidio": self.presidio, "part": self.part, **score}
        return json.dumps(rows.rounded(fields), ensure_ascii=False)


def evaluate(sentences: Sequence[Sentence], find: Find) -> list[Score]:
    """By entity and language, then all entities of each language."""
    labelled: Counter[tuple[str, Language]] = Counter()
    found: Counter[tuple[str, Language]] = Counter()
    right: Counter[tuple[str, Language]] = Counter()
    hidden: Counter[tuple[str, Language]] = Counter()
    for sentence in sentences:
        spans, findings = set(sentence.spans), set(find(sentence.text))
        for counter, some in ((labelled, spans), (found, findings), (right, spans & findings)):
            _count(counter, some, sentence.language)
        _count(hidden, {span for span in spans if _is_hidden(sentence.text, span, findings)}, sentence.language)
    keys = sorted(key for key in labelled | found if key[0] != ALL)
    keys += [(ALL, language) for language in LANGUAGES]
    return [Score(*key, labelled[key], found[key], right[key], hidden[key]) for key in keys]


def _count(counter: Counter[tuple[str, Language]], spans: set[Span], language: Language) -> None:
    for span in spans:
        counter[span.entity, language] += 1
        counter[ALL, language] += 1


def _is_hidden(text: str, span: Span, findings: set[Span]) -> bool:
    covered = {place for finding in findings for place in range(finding.start, finding.end)}
    return all(place in covered or not text[place].isalnum() for place in range(span.start, span.end))


def main() -> None:
    """Ends the process with 1 for an EmbedError."""
    console = Console()
    try:
        finder = load_finder(RULES.values(), MaskSettings().min_score)
        facts = rows.gather_facts({})
        sections = [where(facts)]
        for part, title in PARTS.items():
            sentences = [sentence for sentence in read() if sentence.part == part]
            find: Find = lambda text: [Span(one.entity, one.start, one.end) for one in finder.find(text)]  # noqa: E731
            scores = evaluate(sentences, find)
            for score in scores:
                rows.append(RESULTS, ScoreRow(facts, version("presidio-analyzer"), part, score))
            empty = sum(not sentence.spans for sentence in sentences)
            count = f"{len(sentences)} sentences, {empty} of them without any value."
            sections.append(f"### {title}\n{count}\n\n{markdown(HEADINGS, [score.cells() for score in scores])}")
        tables = "\n\n".join(sections)
        console.print(tables, highlight=False, markup=False)
        PAGE.write_text(replace_between_markers(PAGE.read_text(encoding="utf-8"), "pii", tables), encoding="utf-8")
    except EmbedError as error:
        console.print(f"benchmark: {error.message}", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
