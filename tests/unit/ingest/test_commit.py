"""The end of a source's story, on a real ledger and beside a store that only remembers what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.commit import MOST_TROUBLES, Committer, Expected
from ingest.ledger.lease import Lease
from ingest.ledger.ledger import Ledger, open_ledger
from ingest.receipts import Receipt, Trouble
from ingest.sources.base import SourceFile
from ingest.target import Target

FILE = SourceFile("file:///docs/a.md", "/docs/a.md", "a.md", "md", size=7, root="file:///docs/", modified="5")
SOURCE = FILE.uri


class KeysOfOneSource:
    """Stands in for a store, of which the committer reads and deletes keys alone."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)

    def keys_of(self, _collection: str, _source: str) -> set[str]:
        return set(self.keys)

    def existing(self, _collection: str, keys: list[str]) -> dict[str, str]:
        return dict.fromkeys(self.keys.intersection(keys), "")

    def delete(self, _collection: str, keys: list[str]) -> None:
        self.keys -= set(keys)


class SlowBySource(KeysOfOneSource):
    """A store that had better not be asked for all that it holds of a source."""

    def keys_of(self, _collection: str, source: str) -> set[str]:
        raise AssertionError(source)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:{tmp_path / 'ledger.sqlite'}") as opened:
        opened.remember_collection("docs", "docs__1", "{}", "live")
        yield opened


@pytest.fixture
def lease(ledger: Ledger) -> Iterator[Lease]:
    with ledger.lease("docs", 60) as held:
        yield held


def committer(store: KeysOfOneSource, ledger: Ledger, lease: Lease, *, was_empty: bool = False) -> Committer:
    target = Target("docs", "docs__1", "docs__1", was_empty)
    return Committer(store, ledger, lease, target, "run")  # type: ignore[arg-type]


def arrived(*keys: str, troubles: tuple[Trouble, ...] = ()) -> Expected:
    done = Expected(FILE, "sha256:1", units=1)
    done.add(Receipt(SOURCE, "a.md", 1, len(keys), len(keys), keys, troubles=troubles))
    assert done.is_complete
    return done


def test_a_source_is_complete_when_all_units_have_ended_and_all_their_chunks_have_arrived() -> None:
    done = Expected(FILE, "v", units=2)
    steps = [
        Receipt(SOURCE, "a", 1, 2, 1, ["x"]),
        Receipt(SOURCE, "a", 0, 0, 2, ["y", "z"]),
        Receipt(SOURCE, "a", 1, 1, 0),
    ]
    seen = []
    for step in steps:
        done.add(step)
        seen.append(done.is_complete)
    assert seen == [False, False, True]


def test_a_source_is_not_complete_before_all_that_was_left_out_of_it_is_known() -> None:
    done = Expected(FILE, "v", units=1)
    done.add(Receipt(SOURCE, "a", 1, 0, 0, problems=3, problems_arrived=1))
    assert not done.is_complete
    done.add(Receipt(SOURCE, "a", 0, 0, 0, problems_arrived=2))
    assert done.is_complete


def test_a_corpus_whose_parts_hold_nothing_is_left_out_as_empty(ledger: Ledger, lease: Lease) -> None:
    done = Expected(FILE, "v", units=2)
    done.add(Receipt(SOURCE, "a", 2, 0, 0))
    assert committer(KeysOfOneSource(), ledger, lease).commit(SOURCE, done) == 0
    assert not done.is_stored
    assert [(letter.reason, letter.permanent) for letter in ledger.letters("docs")] == [("empty", True)]


def test_what_the_file_no_longer_holds_is_deleted_and_the_source_remembered(ledger: Ledger, lease: Lease) -> None:
    store = KeysOfOneSource("old", "kept", "new")
    assert committer(store, ledger, lease).commit(SOURCE, arrived("kept", "new")) == 1
    assert store.keys == {"kept", "new"}
    state = ledger.sources("docs__1")[SOURCE]
    assert (state.version, state.chunks, state.size, state.root) == ("sha256:1", 2, 7, "file:///docs/")


def test_nothing_is_deleted_while_something_new_is_missing_in_the_store(ledger: Ledger, lease: Lease) -> None:
    store = KeysOfOneSource("old")
    assert committer(store, ledger, lease).commit(SOURCE, arrived("new")) == 0
    assert store.keys == {"old"}
    assert ledger.sources("docs__1") == {}
    (letter,) = ledger.letters("docs")
    assert (letter.reason, letter.permanent) == ("not_stored", False)


@pytest.mark.parametrize(("stored", "is_stored"), [(("new", "newer"), True), (("new",), False)])
def test_in_a_store_that_was_empty_what_was_written_is_verified_all_the_same(
    ledger: Ledger, lease: Lease, stored: tuple[str, ...], is_stored: bool
) -> None:
    done = arrived("new", "newer")
    assert committer(SlowBySource(*stored), ledger, lease, was_empty=True).commit(SOURCE, done) == 0
    assert done.is_stored == is_stored
    assert (SOURCE in ledger.sources("docs__1")) == is_stored


def test_a_file_that_cannot_be_read_keeps_what_is_stored_of_it(ledger: Ledger, lease: Lease) -> None:
    store = KeysOfOneSource("old")
    committer(store, ledger, lease).commit(SOURCE, arrived(troubles=(Trouble("parse", "corrupt", "Damaged."),)))
    assert store.keys == {"old"}
    assert ledger.known_dead("docs", "docs__1") == {SOURCE: "sha256:1"}


def test_a_source_with_a_passage_that_failed_is_stored_and_has_a_letter_too(ledger: Ledger, lease: Lease) -> None:
    trouble = Trouble("embed", "not_embedded", "No vector.", key="bad")
    committer(KeysOfOneSource("good"), ledger, lease).commit(SOURCE, arrived("good", troubles=(trouble,)))
    assert ledger.sources("docs__1")[SOURCE].chunks == 1
    (letter,) = ledger.letters("docs")
    assert letter.chunk_keys == ("bad",)


def test_success_clears_the_letter_of_the_last_time(ledger: Ledger, lease: Lease) -> None:
    ours = committer(KeysOfOneSource("a"), ledger, lease)
    ours.commit(SOURCE, arrived(troubles=(Trouble("parse", "timeout", "Too slow."),)))
    ours.commit(SOURCE, arrived("a"))
    assert list(ledger.letters("docs")) == []


def test_pruning_deletes_the_chunks_first_and_then_forgets_the_source(ledger: Ledger, lease: Lease) -> None:
    store = KeysOfOneSource("a", "b")
    ours = committer(store, ledger, lease)
    ours.commit(SOURCE, arrived("a", "b"))
    assert ours.prune((SOURCE,)) == 2
    assert store.keys == set()
    assert ledger.sources("docs__1") == {}


def test_a_corpus_that_could_be_read_only_in_part_keeps_what_is_stored_of_the_rest(
    ledger: Ledger, lease: Lease
) -> None:
    store = KeysOfOneSource("read", "not reached")
    done = arrived("read", troubles=(Trouble("parse", "unreadable", "The disk is away."),))
    assert committer(store, ledger, lease).commit(SOURCE, done) == 0
    assert (store.keys, done.is_stored) == ({"read", "not reached"}, False)
    assert ledger.sources("docs__1") == {}


def test_a_bad_row_does_not_keep_the_others_from_being_stored(ledger: Ledger, lease: Lease) -> None:
    done = arrived("good", troubles=(Trouble("parse", "bad_row", "Row 2 has no text.", "2"),))
    committer(KeysOfOneSource("good", "old"), ledger, lease).commit(SOURCE, done)
    assert done.is_stored
    assert ledger.known_dead("docs", "docs__1") == {SOURCE: "sha256:1"}


def test_of_very_many_troubles_the_first_are_kept_and_all_are_counted() -> None:
    done = Expected(FILE, "v", units=1)
    for row in range(3 * MOST_TROUBLES):
        done.add_trouble(Trouble("parse", "bad_row", "No text.", str(row)))
    assert (len(done.troubles), done.troubles_in_all) == (MOST_TROUBLES, 3 * MOST_TROUBLES)


def test_a_doubted_collection_is_looked_at_again_and_still_knows_what_it_held(ledger: Ledger, lease: Lease) -> None:
    committer(KeysOfOneSource("a"), ledger, lease).commit(SOURCE, arrived("a"))
    ledger.doubt("docs__1")
    state = ledger.sources("docs__1")[SOURCE]
    assert (state.version, state.chunks) == ("", 0)
