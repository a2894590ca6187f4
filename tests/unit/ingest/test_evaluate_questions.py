from __future__ import annotations

from pathlib import Path

import pytest

from ingest.evaluate.questions import Answer, Place, Question, from_headings, label, read_questions, sample
from serve_app.core.errors import SetupError


def place(key: str, path: str = "", source: str = "a.md", pages: tuple[int, int] | None = None) -> Place:
    first, last = pages or (None, None)
    return Place(key, f"file:///{source}", source, f"{source}_{key}", first, last, path)


def asked_of(question: Question) -> tuple[str, str]:
    return question.question, question.answers[0].source_file


@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        ({}, True),
        ({"source_file": "b.md"}, False),
        ({"page": 2}, False),
        ({"page": 3}, True),
        ({"page": 4}, True),
        ({"page": 5}, False),
        ({"section": "Warranty"}, True),
        ({"section": "Contract > Warranty"}, True),
        ({"section": "Warranty > Limits"}, True),
        ({"section": "Contract > Limits"}, False),
        ({"section": "Warrant"}, False),
        ({"chunk_id": "a.md_k"}, True),
        ({"chunk_id": "a.md_x"}, False),
        ({"page": 3, "section": "Limits", "chunk_id": "a.md_k"}, True),
        ({"page": 5, "section": "Limits"}, False),
    ],
)
def test_an_answer_holds_the_chunks_that_all_it_says_is_true_of(answer: dict[str, object], holds: bool) -> None:
    stands = place("k", "Contract > Warranty > Limits", pages=(3, 4))
    assert Answer.model_validate({"source_file": "a.md", **answer}).holds(stands) is holds


def test_a_chunk_without_pages_is_on_no_page() -> None:
    assert not Answer(source_file="a.md", page=1).holds(place("k"))


def test_a_chunk_with_a_first_page_only_is_on_that_page() -> None:
    stands = Place("k", "s", "a.md", "k", 3, None, "")
    assert Answer(source_file="a.md", page=3).holds(stands)
    assert not Answer(source_file="a.md", page=4).holds(stands)


def test_questions_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(
        '\ufeff{"question": "质保期?", "answers": [{"source_file": "a.md", "page": 3}]}\n\n'
        '{"question": "b", "answers": [{"source_file": "b.md"}]}\n',
        encoding="utf-8",
    )
    assert [asked_of(question) for question in read_questions(path)] == [("质保期?", "a.md"), ("b", "b.md")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("secret", "line 2: the line"),
        ("[]", "line 2: the line"),
        ('{"question": "secret"}', "line 2: answers: Field required"),
        ('{"question": "", "answers": [{"source_file": "a"}]}', "line 2: question"),
        ('{"question": "secret", "answers": []}', "line 2: answers"),
        ('{"question": "secret", "answers": [{"source_file": "a", "page": "secret"}]}', r"line 2: answers\.0\.page"),
        ('{"question": "secret", "answers": [{"source_file": "a", "sektion": "secret"}]}', r"answers\.0\.sektion"),
    ],
)
def test_a_bad_line_is_told_by_number_and_field_and_not_repeated(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(f'{{"question": "a", "answers": [{{"source_file": "a.md"}}]}}\n{line}\n', encoding="utf-8")
    with pytest.raises(SetupError, match=told) as raised:
        read_questions(path)
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(("content", "told"), [(b"\n", "no question"), (b"\xff\xfe", "not UTF-8")])
def test_a_file_without_questions_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(content)
    with pytest.raises(SetupError, match=told):
        read_questions(path)
    with pytest.raises(SetupError, match="cannot be read: No such file"):
        read_questions(tmp_path / "missing.jsonl")


def test_a_section_without_subsections_that_one_document_has_becomes_a_question() -> None:
    places = [
        place("1", "Guide"),
        place("2", "Guide > Start"),
        place("3", "Guide > Start"),
        place("4", "Guide > Stop"),
        place("5", "Notes", "b.md"),
        place("6"),
    ]
    assert [asked_of(question) for question in from_headings(places)] == [
        ("Guide > Start", "a.md"),
        ("Guide > Stop", "a.md"),
        ("Notes", "b.md"),
    ]


def test_a_heading_that_several_documents_have_asks_for_nothing() -> None:
    places = [place("1", "Introduction"), place("2", "Introduction", "b.md"), place("3", "Own", "b.md")]
    assert [asked_of(question) for question in from_headings(places)] == [("Own", "b.md")]


def test_known_items_are_answered_by_the_chunks_under_their_heading() -> None:
    places = [place("1", "Guide"), place("2", "Guide > Start"), place("3", "Guide > Start"), place("4", "Guide > Stop")]
    start, stop = label(from_headings(places), places)
    assert (start.text, start.answers) == ("Guide > Start", (frozenset({"2", "3"}),))
    assert stop.answers == (frozenset({"4"}),)


def test_an_answer_of_which_nothing_is_stored_has_no_chunks() -> None:
    question = Question(question="a", answers=[Answer(source_file="gone.md"), Answer(source_file="a.md")])
    assert label([question], [place("1")])[0].answers == (frozenset(), frozenset({"1"}))


def test_a_sample_depends_on_the_seed_and_keeps_the_order() -> None:
    questions = [Question(question=str(number), answers=[Answer(source_file="a")]) for number in range(100)]
    chosen = [int(question.question) for question in sample(questions, 10, 1)]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 10
    assert sample(questions, 10, 1) == sample(questions, 10, 1) != sample(questions, 10, 2)
    assert sample(questions, 100, 1) == questions
