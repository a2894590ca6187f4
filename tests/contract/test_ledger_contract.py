"""What the ledger must do, on SQLite and on a real PostgreSQL; processes really compete, freeze and are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psycopg
import pytest
from sqlalchemy import select

from ingest.ledger import committed, dead_letters
from ingest.ledger.ledger import Ledger, open_ledger
from ingest.ledger.records import DeadLetter, SourceState
from ingest.ledger.store import open_store
from ingest.ledger.tables import leases
from serve_app.core.errors import SetupError

DOCS, V1, V2 = "docs", "docs_v1", "docs_v2"
LONG_S = 60.0
PATIENCE_S = 30.0
SCHEMAS = count()
processes = multiprocessing.get_context("forkserver")  # forked where nothing but this module runs: no threads, no gRPC
processes.set_forkserver_preload([__name__])


@pytest.fixture(params=["sqlite", "postgres"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a ledger nobody has opened yet."""
    address: str = STORES[request.param](request, tmp_path)
    return address


def _sqlite(_: pytest.FixtureRequest, folder: Path) -> str:
    return f"sqlite:{folder / 'ledger.sqlite'}"


def _postgres(request: pytest.FixtureRequest, _: Path) -> str:
    server: str = request.getfixturevalue("postgres_uri")
    schema = f"ledger_{os.getpid()}_{next(SCHEMAS)}"
    with psycopg.connect(server) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
    return f"{server}&options={quote(f'-csearch_path={schema}')}"


STORES = {"sqlite": _sqlite, "postgres": _postgres}


@pytest.fixture
def ledger(uri: str) -> Iterator[Ledger]:
    with open_ledger(uri) as opened:
        yield opened


def state(source: str, version: str = "sha256:1", chunks: int = 2) -> SourceState:
    return SourceState(source, version, "file:///docs", 2**40, 1_795_355_652_123_456_789, chunks, "0" * 32)


def letter(source: str, reason: str = "corrupt", permanent: bool = True, **changes: Any) -> DeadLetter:
    fields = {"source_file": "a.pdf", "version": "sha256:1", "stage": "parse", "message": "It is no PDF.", **changes}
    return DeadLetter(collection=DOCS, source=source, reason=reason, permanent=permanent, **fields)


# what is stored


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    assert ledger.sources(V1) == {}
    assert ledger.totals(V1) == (0, 0)
    assert list(ledger.letters()) == []
    assert ledger.collections() == []
    assert ledger.runs(DOCS) == []


def test_what_is_committed_is_there_when_the_ledger_is_opened_again(uri: str) -> None:
    with open_ledger(uri) as ledger, ledger.lease(DOCS, LONG_S) as lease:
        ledger.commit(lease, V1, state("file:///docs/a.md"))
    with open_ledger(uri, create=False) as again:
        assert again.sources(V1) == {"file:///docs/a.md": state("file:///docs/a.md")}


def test_committing_a_source_again_replaces_what_was_known_of_it(ledger: Ledger) -> None:
    with ledger.lease(DOCS, LONG_S) as lease:
        ledger.commit(lease, V1, state("a", "sha256:1", chunks=7))
        ledger.commit(lease, V1, state("a", "sha256:2", chunks=5))
        ledger.commit(lease, V1, state("b", chunks=1))
    assert ledger.sources(V1) == {"a": state("a", "sha256:2", chunks=5), "b": state("b", chunks=1)}
    assert ledger.totals(V1) == (2, 6)


def test_physical_collections_know_nothing_of_each_other(ledger: Ledger) -> None:
    with ledger.lease(DOCS, LONG_S) as lease:
        ledger.commit(lease, V1, state("a"))
        ledger.commit(lease, V2, state("b"))
        ledger.forget(lease, V1, ["a", "b"])
    assert ledger.sources(V1) == {}
    assert list(ledger.sources(V2)) == ["b"]


def test_addresses_of_any_length_and_any_characters_come_back_as_they_were(ledger: Ledger) -> None:
    strange = [
        "not-utf8-\udcb2\udce2.txt",
        "nul\0.md",
        "\\u0041 \\ \\\\",
        'it\'s "quoted" %s',
        "合同😀.pdf",
        "x" * 12_000,
    ]
    with ledger.lease(DOCS, LONG_S) as lease:
        for source in strange:
            ledger.commit(lease, V1, state(source))
            ledger.bury(lease, V1, letter(source, message=source[:100], source_file=source))
    assert ledger.sources(V1) == {source: state(source) for source in strange}
    assert {found.source: found.message for found in ledger.letters(DOCS)} == {name: name[:100] for name in strange}


def test_many_sources_are_read_and_forgotten_page_by_page(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committed, "PAGE", 3)
    monkeypatch.setattr(dead_letters, "PAGE", 3)
    monkeypatch.setattr("ingest.ledger.ledger.BATCH", 3)
    names = [f"file:///docs/{number}.md" for number in range(9)]  # a multiple of the page: the last one is empty
    with ledger.lease(DOCS, LONG_S) as lease:
        for name in names:
            ledger.commit(lease, V1, state(name), letter(name, reason="poison"))
        assert sorted(ledger.sources(V1)) == names
        assert sorted(found.source for found in ledger.letters()) == names
        ledger.forget(lease, V1, (name for name in names[:-1]))
    assert list(ledger.sources(V1)) == names[-1:]
    assert [found.source for found in ledger.letters()] == names[-1:]


# dead letters


def test_a_letter_that_is_known_counts_one_more_and_keeps_its_age(ledger: Ledger) -> None:
    with ledger.lease(DOCS, LONG_S) as lease:
        ledger.bury(lease, V1, letter("a", "timeout", chunk_keys=("k1", "k2")))
        first = next(ledger.letters(DOCS))
        ledger.bury(lease, V1, letter("a", "corrupt", version="sha256:2"))
    (second,) = ledger.letters(DOCS)
    assert (first.attempts, first.chunk_keys, first.reason) == (1, ("k1", "k2"), "timeout")
    assert (second.attempts, second.chunk_keys, second.reason, second.version) == (2, (), "corrupt", "sha256:2")
    assert second.first_seen == first.first_seen < second.last_seen


def test_a_commit_clears_the_letter_of_its_source_alone(ledger: Ledger) -> None:
    with ledger.lease(DOCS, LONG_S) as lease:
        ledger.bury(lease, V1, letter("a"))
        ledger.bury(lease, V1, letter("b"))
        ledger.commit(lease, V1, state("a"))
    assert [found.source for found in ledger.letters(DOCS)] == ["b"]


def test_a_commit_of_a_source_with_lost_chunks_leaves_a_letter_that_says_which(ledger: Ledger) -> None:
    with ledger.lease(DOCS, LONG_S) as lease:
        ledger.bury(lease, V1, letter("a", "corrupt"))
        ledger.commit(lease, V1, state("a"), letter("a", "poison", chunk_keys=("k9",)))
    (left,) = ledger.letters(DOCS)
    assert (left.reason, left.chunk_keys, left.attempts) == ("poison", ("k9",), 2)
    assert list(ledger.sources(V1)) == ["a"]


def test_letters_are_found_by_collection_and_by_reason(ledger: Ledger) -> None:
    with ledger.lease(DOCS, LONG_S) as lease, ledger.lease("mail", LONG_S) as other:
        ledger.bury(lease, V1, letter("a", "corrupt"))
        ledger.bury(lease, V1, letter("b", "timeout"))
        ledger.bury(other, "mail_v1", DeadLetter("mail", "c", "c.eml", "v", "mask", "corrupt", "No.", True))
    assert {found.source for found in ledger.letters(DOCS)} == {"a", "b"}
    assert {found.source for found in ledger.letters(DOCS, "timeout")} == {"b"}
    assert {(found.collection, found.source) for found in ledger.letters(reason="corrupt")} == {
        (DOCS, "a"),
        ("mail", "c"),
    }


def test_only_what_failed_for_good_under_the_same_fingerprint_is_known_dead(ledger: Ledger) -> None:
    with ledger.lease(DOCS, LONG_S) as lease:
        ledger.bury(lease, V1, letter("broken", version="sha256:7"))
        ledger.bury(lease, V1, letter("unlucky", "sink_down", permanent=False))
        ledger.bury(lease, V2, letter("elsewhere"))
    assert ledger.known_dead(DOCS, V1) == {"broken": "sha256:7"}
    assert ledger.known_dead("mail", V1) == {}


def test_cleared_letters_are_gone_and_counted(ledger: Ledger) -> None:
    with ledger.lease(DOCS, LONG_S) as lease:
        ledger.bury(lease, V1, letter("a"))
        ledger.bury(lease, V1, letter("b"))
    assert ledger.clear(DOCS, ["a", "never seen"]) == 1
    assert ledger.clear(DOCS, []) == 0
    assert list(ledger.known_dead(DOCS, V1)) == ["b"]


def test_a_letter_under_the_lease_of_another_collection_is_a_mistake(ledger: Ledger) -> None:
    with ledger.lease("mail", LONG_S) as lease, pytest.raises(ValueError, match="docs"):
        ledger.bury(lease, V1, letter("a"))


# runs and collections


def test_a_run_is_remembered_with_its_counts_newest_first(ledger: Ledger) -> None:
    first = ledger.start_run(DOCS, V1, '{"model": "a"}')
    ledger.finish_run(first, "done", {"embedded": 12})
    second = ledger.start_run(DOCS, V1, '{"model": "a"}')
    newest, oldest = ledger.runs(DOCS)
    assert (newest.run_id, newest.status, newest.finished, newest.counts) == (second, "running", None, {})
    assert (oldest.run_id, oldest.status, oldest.counts) == (first, "done", {"embedded": 12})
    assert oldest.finished is not None
    assert oldest.finished >= oldest.started
    assert ledger.runs(DOCS, limit=1) == [newest]
    assert ledger.runs("mail") == []
    assert ledger.last_run(V1) == newest
    assert ledger.last_run(V2) is None


def test_a_run_that_never_ended_is_interrupted_once_the_next_one_starts(ledger: Ledger) -> None:
    ledger.start_run(DOCS, V1, "{}")
    elsewhere = ledger.start_run("mail", "mail_v1", "{}")
    ledger.start_run(DOCS, V1, "{}")
    assert [run.status for run in ledger.runs(DOCS)] == ["running", "interrupted"]
    assert [run.run_id for run in ledger.runs("mail") if run.status == "running"] == [elsewhere]


def test_a_collection_that_goes_live_makes_the_live_one_of_its_alias_old(ledger: Ledger) -> None:
    ledger.remember_collection(DOCS, V1, '{"model": "a"}', "live")
    ledger.remember_collection("mail", "mail_v1", "{}", "live")
    ledger.remember_collection(DOCS, V2, '{"model": "b"}', "building")
    assert [found.state for found in ledger.collections(DOCS)] == ["live", "building"]
    ledger.remember_collection(DOCS, V2, '{"model": "b"}', "live")
    assert [(found.physical, found.state) for found in ledger.collections(DOCS)] == [(V1, "old"), (V2, "live")]
    assert [found.state for found in ledger.collections("mail")] == ["live"]
    assert len(ledger.collections()) == 3


def test_a_forgotten_collection_takes_its_sources_and_letters_along_and_leaves_its_runs(ledger: Ledger) -> None:
    ledger.start_run(DOCS, V1, "{}")
    ledger.remember_collection(DOCS, V1, "{}", "old")
    ledger.remember_collection(DOCS, V2, "{}", "live")
    with ledger.lease(DOCS, LONG_S) as lease:
        ledger.commit(lease, V1, state("a"))
        ledger.bury(lease, V1, letter("b"))
        ledger.bury(lease, V2, letter("c"))
    ledger.forget_collection(V1)
    assert ledger.sources(V1) == {}
    assert [found.physical for found in ledger.collections()] == [V2]
    assert [found.source for found in ledger.letters()] == ["c"]
    assert len(ledger.runs(DOCS)) == 1


# PostgreSQL says no


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"options": "-cdefault_transaction_read_only=on"}, "is read-only"),
        ({"dbname": "nothing"}, "does the database exist"),
        ({"user": "nobody", "password": "s3cret"}, "user and password"),
    ],
)
def test_a_server_that_refuses_is_named_with_the_fix_and_no_password(
    postgres_uri: str, changed: dict[str, str], expected: str
) -> None:
    settings = {**psycopg.conninfo.conninfo_to_dict(postgres_uri), **changed}
    query = "&".join(f"{name}={quote(str(settings[name]))}" for name in ("host", "options") if name in settings)
    who = f"{settings['user']}:{settings.get('password', '')}"
    with pytest.raises(SetupError, match=expected) as caught:
        open_ledger(f"postgresql://{who}@/{settings['dbname']}?{query}")
    assert "`ingest.ledger`" in caught.value.message
    assert "s3cret" not in caught.value.message


def test_a_server_that_comes_back_is_used_again(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Restarted, or failed over: the connections kept from before are dead."""
    ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'restarted'"
    with open_ledger(f"{_postgres(request, tmp_path)}&application_name=restarted") as ledger:
        ledger.start_run(DOCS, V1, "{}")
        with psycopg.connect(request.getfixturevalue("postgres_uri"), autocommit=True) as connection:
            assert connection.execute(ours).fetchall() == [(True,)]
        assert len(ledger.runs(DOCS)) == 1


# the lease


def test_a_held_collection_names_its_holder_and_others_stay_free(ledger: Ledger) -> None:
    holder = f"`docs`: host .+, process {os.getpid()}, since .+ UTC.+free after .+ UTC"
    with ledger.lease(DOCS, LONG_S), ledger.lease("mail", LONG_S), pytest.raises(SetupError, match=holder):
        ledger.lease(DOCS, LONG_S).__enter__()
    with ledger.lease(DOCS, LONG_S) as again:
        again.check()


def test_a_lease_is_renewed_long_before_it_runs_out(uri: str, ledger: Ledger) -> None:
    with ledger.lease(DOCS, 3.0) as lease:
        before = expiry(uri)
        until(lambda: expiry(uri) > before)
        lease.check()


def test_a_run_that_froze_loses_its_collection_and_can_neither_commit_nor_bury(uri: str, ledger: Ledger) -> None:
    ours, theirs = processes.Pipe()
    with running(hold_and_commit, uri, 1.0, theirs) as child:
        assert ours.recv() == "held"
        os.kill(child_pid(child), signal.SIGSTOP)
        until(lambda: can_take(ledger))
        with ledger.lease(DOCS, LONG_S) as mine:
            os.kill(child_pid(child), signal.SIGCONT)
            ours.send("go on")
            troubles = ours.recv()
            mine.check()
    assert len(troubles) == 4
    assert all("no longer holds" in trouble or "could not renew" in trouble for trouble in troubles)
    assert ledger.sources(V1) == {}
    assert list(ledger.letters()) == []


def test_of_processes_that_want_one_collection_exactly_one_gets_it(uri: str, ledger: Ledger) -> None:
    results = together(5, take_and_tell, uri)
    assert sorted(results) == ["held", *["refused"] * 4]


def test_processes_may_make_the_same_ledger_at_once(uri: str) -> None:
    assert together(6, open_and_commit, uri) == ["committed"] * 6
    with open_ledger(uri) as ledger:
        assert ledger.totals(V1) == (6, 12)


# crashes


def test_a_process_killed_at_any_moment_leaves_a_prefix_of_its_commits(uri: str, ledger: Ledger) -> None:
    chance = np.random.default_rng(20)
    heard_of = {}
    for moment in range(20):
        ours, theirs = processes.Pipe(duplex=False)
        with running(commit_until_killed, uri, moment, theirs) as child:
            theirs.close()
            ours.recv()
            time.sleep(chance.uniform(0, 0.03))
            os.kill(child_pid(child), signal.SIGKILL)
            child.join(PATIENCE_S)
            told = 1 + len(list(rest_of(ours)))
        stored = sorted(int(source) for source in ledger.sources(f"docs_{moment}"))
        waiting = [int(found.source) for found in ledger.letters(f"alias_{moment}")]
        assert stored == list(range(len(stored)))
        assert len(stored) in (told, told + 1)  # it may have died between the commit and telling of it
        assert waiting in ([], [len(stored)])  # never both committed and dead
        heard_of[moment] = told
    kept = {moment: ledger.totals(f"docs_{moment}")[0] for moment in heard_of}
    # a server may end a commit whose client is dead a moment after that
    assert {moment: kept[moment] for moment in kept if kept[moment] - heard_of[moment] not in (0, 1)} == {}


# helpers


def expiry(uri: str) -> float:
    store = open_store(uri, create=False)
    with store.transaction() as connection:
        expires: float = connection.execute(select(leases.c.expires)).scalar_one()
    store.close()
    return expires


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)


def can_take(ledger: Ledger) -> bool:
    with suppress(SetupError), ledger.lease(DOCS, LONG_S):
        return True
    return False


@contextmanager
def running(function: Callable[..., None], *arguments: Any) -> Iterator[BaseProcess]:
    """A child process, ended with the block whatever happens."""
    child = processes.Process(target=function, args=arguments, daemon=True)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join(PATIENCE_S)


def child_pid(child: BaseProcess) -> int:
    assert child.pid is not None
    return child.pid


def rest_of(pipe: Connection) -> Iterator[object]:
    with suppress(EOFError):
        while True:
            yield pipe.recv()


def together(number: int, function: Callable[..., None], uri: str) -> list[str]:
    """What each of so many processes reports that start on the same signal."""
    start, done = processes.Barrier(number), processes.Barrier(number)
    ours, theirs = processes.Pipe(duplex=False)
    children = [
        processes.Process(target=function, args=(uri, index, start, done, theirs), daemon=True)
        for index in range(number)
    ]
    for child in children:
        child.start()
    deadline = time.monotonic() + PATIENCE_S
    results = [ours.recv() for _ in children if ours.poll(max(0, deadline - time.monotonic()))]
    for child in children:
        child.join(max(0, deadline - time.monotonic()))
        child.kill()
    return results


# run in child processes


def hold_and_commit(uri: str, ttl_s: float, pipe: Connection) -> None:
    with open_ledger(uri) as ledger, ledger.lease(DOCS, ttl_s) as lease:
        pipe.send("held")
        pipe.recv()
        troubles = []
        attempts: list[Callable[[], None]] = [
            lambda: ledger.commit(lease, V1, state("late")),
            lambda: ledger.bury(lease, V1, letter("late")),
            lambda: ledger.forget(lease, V1, ["late"]),
            lease.check,
        ]
        for attempt in attempts:
            try:
                attempt()
            except SetupError as error:
                troubles.append(error.message)
        pipe.send(troubles)


def take_and_tell(uri: str, _: int, start: Barrier, done: Barrier, pipe: Connection) -> None:
    with open_ledger(uri) as ledger:
        start.wait(PATIENCE_S)
        try:
            with ledger.lease(DOCS, LONG_S):
                pipe.send("held")
                done.wait(PATIENCE_S)
        except SetupError:
            pipe.send("refused")
            done.wait(PATIENCE_S)


def open_and_commit(uri: str, index: int, start: Barrier, _: Barrier, pipe: Connection) -> None:
    start.wait(PATIENCE_S)
    with open_ledger(uri) as ledger, ledger.lease(f"alias_{index}", LONG_S) as lease:
        ledger.commit(lease, V1, state(str(index)))
    pipe.send("committed")


def commit_until_killed(uri: str, moment: int, pipe: Connection) -> None:
    alias, physical = f"alias_{moment}", f"docs_{moment}"
    with open_ledger(uri) as ledger, ledger.lease(alias, LONG_S) as lease:
        for number in count():
            dead = DeadLetter(alias, str(number), "a.pdf", "v", "write", "sink_down", "It is down.", False)
            ledger.bury(lease, physical, dead)
            ledger.commit(lease, physical, state(str(number)))
            pipe.send(number)
