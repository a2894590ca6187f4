from __future__ import annotations

from ingest.ledger.records import SourceState
from ingest.plan import Known, make_plan
from ingest.sources.base import Discovery, SourceFile
from ingest.tenancy import identity


def file(name: str) -> SourceFile:
    return SourceFile(f"file:///docs/{name}", f"/docs/{name}", name, "md", root="file:///docs/")


def state(source: str, version: str = "v1") -> SourceState:
    return SourceState(source, version, "file:///docs/", 1, 0, 1, "run")


FOUND = Discovery((file("a"), file("b")), (), ("file:///docs/",))
A, B, C = (f"file:///docs/{name}" for name in "abc")
VERSIONS = {A: "v1", B: "v2"}


def known(
    committed: list[SourceState], dead: dict[str, str] | None = None, retried: frozenset[str] = frozenset()
) -> Known:
    return Known({one.source: one for one in committed}, dead or {}, retried)


def test_only_what_is_new_or_changed_is_to_be_done() -> None:
    plan = make_plan(FOUND, "", VERSIONS, known([state(A), state(B)]))
    assert (list(plan.todo), plan.unchanged) == ([B], (A,))


def test_what_failed_for_good_is_tried_again_only_in_another_version() -> None:
    plan = make_plan(FOUND, "", VERSIONS, known([], {A: "v1", B: "v1"}))
    assert (list(plan.todo), plan.known_dead) == ([B], (A,))


def test_an_unchanged_source_of_which_a_part_failed_is_done_again() -> None:
    plan = make_plan(FOUND, "", VERSIONS, known([state(A)], retried=frozenset({A})))
    assert A in plan.todo


def test_a_stored_source_of_which_a_part_failed_for_good_still_counts_as_left_out() -> None:
    plan = make_plan(FOUND, "", VERSIONS, known([state(A)], {A: "v1"}))
    assert (plan.known_dead, plan.unchanged) == ((A,), ())


def test_a_file_whose_version_cannot_be_told_is_left_to_the_stage_that_says_why() -> None:
    plan = make_plan(FOUND, "", {}, known([state(A)], {B: ""}))
    assert list(plan.todo) == [A, B]


def test_gone_is_what_is_stored_and_would_have_been_found() -> None:
    elsewhere = "file:///other/d"
    plan = make_plan(FOUND, "", VERSIONS, known([state(A), state(C), state(elsewhere)]))
    assert plan.gone == (C,)


def test_another_tenants_files_are_neither_unchanged_nor_gone() -> None:
    theirs = [state(identity("globex", A)), state(identity("globex", C)), state(C)]
    plan = make_plan(FOUND, "acme", VERSIONS, known(theirs))
    assert list(plan.todo) == [identity("acme", A), identity("acme", B)]
    assert plan.gone == ()
    assert make_plan(FOUND, "", VERSIONS, known(theirs)).gone == (C,)


def test_a_folder_in_which_nothing_is_left_says_nothing_about_its_files() -> None:
    """Its disk may not be mounted."""
    found = Discovery((file("a"),), (), ("file:///docs/", "file:///share/"))
    stored = [state(A), state("file:///share/b"), state(C)]
    assert make_plan(found, "", VERSIONS, known(stored)).gone == (C,)


def test_a_web_page_is_never_taken_for_gone() -> None:
    page = SourceFile("https://a.example/x", "https://a.example/x", "x", "html", root="https://a.example/x")
    found = Discovery((page,), (), ("https://a.example/x", "https://a.example/y"))
    assert make_plan(found, "", {}, known([state("https://a.example/y")])).gone == ()


def test_a_file_that_was_never_stored_and_is_gone_is_gone_as_well() -> None:
    assert make_plan(FOUND, "", VERSIONS, known([], dead={C: "v1"})).gone == (C,)
