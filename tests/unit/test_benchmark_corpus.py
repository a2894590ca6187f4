"""The evaluation on a real corpus: what it fetches, asks, keeps as rows and writes into the documentation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import corpus_report
from benchmarks.corpus import figures_of
from benchmarks.corpus_cluster import ray_address
from benchmarks.corpus_files import Manual, fetch, take
from benchmarks.corpus_questions import SETS, WRITTEN, split
from benchmarks.corpus_report import draw, sections, write
from benchmarks.corpus_rows import RESULTS, Kind, Row, latest, read
from benchmarks.corpus_speed import rows_of
from benchmarks.rows import Facts
from ingest.evaluate.questions import Answer, Question, read_questions
from ingest.sinks.base import Stored, VectorSink
from serve_app.core.errors import SetupError

MANUAL = Manual("manual", "usr/share/*.html", "en")


def facts(run: str = "2030-01-01T00:00:00+00:00") -> Facts:
    return Facts(run, "abc", False, "CPU", 2, {"python": "3.11"}, {})


def score(name: str, mode: str, ndcg: float, *, store: str = "milvus-lite", context: str = "off") -> Row:
    dimensions = "" if mode == "bm25" else "384"
    labels = {"store": store, "context": context, "questions": name, "mode": mode, "dimensions": dimensions}
    measures = {
        f"{measure}{end}": ndcg for measure in ("recall_1", "recall_5", "recall_10", "mrr", "ndcg") for end in ENDS
    }
    return Row(facts(), "score", labels, {"count": 30.0, "unmatched": 0.0, **measures})


ENDS = ("", "_low", "_high")


def a_run() -> list[Row]:
    ways = (("dense", 0.25), ("bm25", 0.5), ("hybrid", 0.625))
    counts = {"files": 3.0, "chunks": 2362.0, "tokens": 9000.0, "left_out": 0.0}
    return [
        Row(facts(), "ingest", {"store": "milvus-lite", "context": "off"}, counts),
        *(score(name, mode, value) for name in SETS for mode, value in ways),
        *(score(name, mode, value + 0.125, context="on") for name in SETS for mode, value in ways),
        *(score(name, "dense", 0.25, store="milvus-2.3") for name in SETS),
        Row(
            facts(), "store", {"store": "milvus-2.3"}, {"rows": 2362.0, "upsert_rows_per_s": 900.0, "dense_p50_ms": 4.0}
        ),
    ]


def row(kind: Kind, run: str) -> Row:
    return Row(facts(run), kind, {"store": "pgvector"}, {"rows": 1.0})


def stored(vector: np.ndarray | None) -> Stored:
    return Stored("k", "c", "file:///a", "en/a.html", None, None, ("A", "B"), "en", "text", vector)


class OneChunk:
    """The part of a sink that is scanned."""

    def __init__(self, chunk: Stored) -> None:
        self._chunk = chunk

    def scan(self, _collection: str) -> list[Stored]:
        return [self._chunk]


def sink_of(chunk: Stored) -> VectorSink:
    return OneChunk(chunk)  # type: ignore[return-value]


def test_only_the_chosen_files_of_a_package_are_taken(tmp_path: Path) -> None:
    share = tmp_path / "unpacked" / "usr" / "share"
    share.mkdir(parents=True)
    for name in ("a.html", "b.html", "style.css"):
        (share / name).write_text(name, encoding="utf-8")
    take(MANUAL, tmp_path / "unpacked", tmp_path / "en")
    assert sorted(path.name for path in (tmp_path / "en").iterdir()) == ["a.html", "b.html"]


def test_a_package_with_another_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"manual has no usr/share/\*\.html"):
        take(MANUAL, tmp_path, tmp_path / "en")


def test_a_machine_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.corpus_files.shutil.which", lambda _: None)
    with pytest.raises(SetupError, match="no apt-get here"):
        fetch(tmp_path)


@pytest.mark.parametrize(
    "said", ["for `embedctl ingest`: 10.0.0.2:42649\n", "for `embedctl ingest`: \n10.0.0.2:42649\n"]
)
def test_the_address_is_found_in_what_serve_says(said: str) -> None:
    assert ray_address(f"Ready in 3 s: http://127.0.0.1:80/v1\nRay's address, {said}Ctrl-C stops\n") == "10.0.0.2:42649"


def test_a_cluster_that_says_no_address_is_refused() -> None:
    with pytest.raises(SetupError, match="--address"):
        ray_address("Ready in 3 s")


def test_questions_are_split_by_their_script() -> None:
    english, chinese = (Question(question=text, answers=[Answer(source_file="a")]) for text in ("Who?", "谁 is it"))
    assert split([chinese, english]) == ([english], [chinese])


def test_the_written_questions_are_enough_and_half_chinese() -> None:
    english, chinese = split(read_questions(WRITTEN))
    assert min(len(english), len(chinese)) >= 30
    assert {answer.source_file.split("/")[0] for question in english for answer in question.answers} == {"en"}
    assert {answer.source_file.split("/")[0] for question in chinese for answer in question.answers} == {"zh-cn"}


def test_no_written_question_is_asked_twice_or_is_the_heading_itself() -> None:
    questions = read_questions(WRITTEN)
    assert max(Counter(question.question for question in questions).values()) == 1
    titles = [
        (question.question.lower(), (answer.section or "").partition(" ")[2].lower())
        for question in questions
        for answer in question.answers
    ]
    assert not [title for asked, title in titles if len(title) > 8 and title in asked]


def test_a_row_is_what_was_written() -> None:
    one = score(SETS[0], "dense", 0.5)
    assert Row.from_json(one.to_json()) == one


def test_a_row_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind of row"):
        Row.from_json(a_run()[0].to_json().replace('"ingest"', '"other"'))


def test_a_run_that_broke_off_is_not_the_latest() -> None:
    whole = [row("score", "2030-01-01"), row("store", "2030-01-01")]
    assert latest([*whole, row("score", "2030-01-02")]) == whole


def test_scores_become_figures() -> None:
    one = {"mean": 0.5, "low": 0.4, "high": 0.6}
    figures = figures_of({"recall": {"1": one, "5": one, "10": {**one, "mean": 0.75}}, "mrr": one, "ndcg": one})
    assert (figures["recall_10"], figures["ndcg_low"], len(figures)) == (0.75, 0.4, 15)


def test_a_stored_chunk_can_be_written_again() -> None:
    (again,) = rows_of(sink_of(stored(np.ones(2, dtype=np.float32))), "any")
    assert (again.chunk.key, again.chunk.text, again.chunk.language) == ("k", "text", "en")


def test_a_store_that_gives_no_vectors_cannot_be_written_again() -> None:
    with pytest.raises(ValueError, match="has given none"):
        rows_of(sink_of(stored(None)), "any")


def test_the_tables_hold_what_the_rows_say() -> None:
    tables = sections(a_run())
    assert "| milvus-lite | off | 3 | 2,362 | 9,000 | 0 |" in tables["corpus"]
    assert f"| milvus-lite | {SETS[0]} | 0.250 | 0.500 | 0.625 | +0.125 |" in tables["gain"]
    assert f"| {SETS[0]} | bm25 | 0.500 | 0.625 | +0.125 |" in tables["context"]
    assert "| milvus-2.3 | dense | 0.250 | 0.250 | 0.250 | 0.250 |" in tables["stores"]
    assert "| milvus-2.3 | 2,362 | 900 | 4.00 | – | – |" in tables["speed"]


def test_a_page_without_a_whole_run_stays_as_it_is() -> None:
    with pytest.raises(SetupError, match=r"python -m benchmarks\.corpus"):
        write([row("score", "2030-01-01")])


def test_the_page_shows_the_rows_of_the_newest_run() -> None:
    page = corpus_report.PAGE.read_text(encoding="utf-8")
    assert [name for name, content in sections(latest(read(RESULTS))).items() if content not in page] == []


def test_the_same_rows_give_the_same_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "one.svg", tmp_path / "two.svg"
    draw(a_run(), first)
    draw(a_run(), second)
    assert first.read_bytes() == second.read_bytes()
