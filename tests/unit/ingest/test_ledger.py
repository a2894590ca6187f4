"""The ledger as a SQLite file: where it lies, who may read it, and what is said when it cannot be used."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sqlite3
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from ingest.ledger import store
from ingest.ledger.ledger import Ledger, open_ledger
from ingest.ledger.records import DeadLetter, SourceState
from ingest.ledger.tables import AnyText, source_id
from serve_app.core.errors import SetupError

NOBODY = 65534
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """That a process without privileges reaches, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def state(source: str) -> SourceState:
    return SourceState(source, "sha256:1", "file:///docs", 1, 2, 3, "0" * 32)


def letter(source: str, **changes: object) -> DeadLetter:
    fields: dict[str, object] = {"message": "It is no PDF.", "permanent": True, **changes}
    return DeadLetter("docs", source, "a.pdf", "sha256:1", "parse", "corrupt", **fields)  # type: ignore[arg-type]


def refusal(uri: str, create: bool = True) -> str:
    """One sentence that begins with what it is about, without a line of the driver's."""
    with pytest.raises(SetupError) as caught:
        open_ledger(uri, create)
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is None
    return caught.value.message


# the file


def test_a_new_ledger_makes_its_folders_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "ledger.sqlite"
    with open_ledger(f"sqlite:{path}") as ledger, ledger.lease("docs", 60):
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
        assert len(list(path.parent.iterdir())) == 3  # readers and the writer do not wait for each other: WAL


def test_a_closed_ledger_is_one_file(path: Path) -> None:
    with open_ledger(f"sqlite:{path}") as ledger:
        ledger.start_run("docs", "docs_v1", "{}")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_relative_path_and_the_home_folder_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    open_ledger("sqlite:./data/l.sqlite").close()
    open_ledger("sqlite:~/l.sqlite").close()
    assert (tmp_path / "data" / "l.sqlite").is_file()
    assert (tmp_path / "home" / "l.sqlite").is_file()


@pytest.mark.parametrize(
    "uri", ["", "ledger.sqlite", "sqlite:", "sqlite:///ledger.sqlite", "mysql://host/db", "postgres:ledger"]
)
def test_another_address_is_answered_with_the_supported_ones(uri: str) -> None:
    assert "sqlite:PATH" in refusal(uri)
    assert "postgresql://" in refusal(uri)


def test_a_ledger_that_is_only_read_is_not_made(path: Path) -> None:
    assert str(path) in refusal(f"sqlite:{path}", create=False)
    assert not path.exists()


def test_a_folder_that_is_a_file_is_named(path: Path) -> None:
    path.write_text("mine")
    assert f"{path}/below" in refusal(f"sqlite:{path}/below")
    assert path.read_text() == "mine"


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"these are my own notes, and no database at all" * 50)
    before = path.read_bytes()
    assert f"{path} is no SQLite file" in refusal(f"sqlite:{path}")
    assert path.read_bytes() == before


def test_a_damaged_ledger_is_named_with_what_is_to_be_done(path: Path) -> None:
    with open_ledger(f"sqlite:{path}") as ledger, ledger.lease("docs", 60) as lease:
        ledger.commit(lease, "docs_v1", state("a"))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    assert f"{path} is damaged" in refusal(f"sqlite:{path}")


def test_a_ledger_of_a_newer_release_is_refused_and_not_changed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE ledger_schema (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)")
        connection.execute("INSERT INTO ledger_schema VALUES (1, 2)")
        connection.commit()
    assert "newer release" in refusal(f"sqlite:{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("ledger_schema",)]


def test_a_ledger_that_stays_locked_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ledger(f"sqlite:{path}").close()
    monkeypatch.setattr(store, "BUSY_S", 0.05)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert f"{path} is kept busy" in refusal(f"sqlite:{path}")


def test_a_new_ledger_waits_while_another_process_makes_it(path: Path) -> None:
    """SQLite itself refuses the change to WAL at once, however long it was told to wait."""
    with closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.rollback)
        release.start()
        open_ledger(f"sqlite:{path}").close()
        release.join()


@pytest.mark.parametrize("uri", ["postgres://user:s3cret@127.0.0.1:1/db", "postgresql://user:s3cret@[::1:x/db"])
def test_a_server_that_does_not_answer_is_named_without_the_password(uri: str) -> None:
    assert "s3cret" not in refusal(uri)
    assert "ledger" in refusal(uri)


def test_without_the_driver_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "embed-cluster[postgres]" in refusal("postgresql://user@127.0.0.1/db")


# a disk that does not take it


def test_a_read_only_ledger_and_a_read_only_folder_are_named(public_folder: Path) -> None:
    path = public_folder / "ledger.sqlite"
    open_ledger(f"sqlite:{path}").close()
    path.chmod(0o444)
    for place in (path, public_folder / "new.sqlite", public_folder / "new" / "ledger.sqlite"):
        message = in_a_child(open_without_privileges, f"sqlite:{place}")
        assert f"{place} cannot be opened for writing: Permission denied" in message


def test_a_ledger_whose_folder_turned_read_only_is_named(public_folder: Path) -> None:
    """The file alone may be written, but SQLite needs its journal beside it."""
    path = public_folder / "ledger.sqlite"
    open_ledger(f"sqlite:{path}").close()
    path.chmod(0o666)
    message = in_a_child(open_without_privileges, f"sqlite:{path}")
    assert f"The ledger file {path} " in message
    assert "`ingest.ledger`" in message


def test_on_a_full_disk_what_was_committed_stays_and_the_rest_follows_once_there_is_room(path: Path) -> None:
    uri = f"sqlite:{path}"
    message = in_a_child(commit_until_the_disk_is_full, uri)
    committed, _, trouble = message.partition(" ")
    assert int(committed) > 10
    assert f"The ledger file {path} " in trouble
    assert "disk" in trouble
    with open_ledger(uri) as ledger, ledger.lease("again", 60) as lease:
        assert set(ledger.sources("docs_v1")) == {str(number) for number in range(int(committed))}
        ledger.commit(lease, "docs_v1", state("and on"))
        assert ledger.totals("docs_v1")[0] == int(committed) + 1


def test_no_message_holds_what_was_to_be_stored(path: Path) -> None:
    with open_ledger(f"sqlite:{path}") as ledger, ledger.lease("docs", 60) as lease:
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE ledger_sources")
        with pytest.raises(SetupError) as caught:
            ledger.commit(lease, "docs_v1", state("file:///home/alice/salary.pdf"))
    assert "salary" not in caught.value.message
    assert str(path) in caught.value.message


# the lease


def test_a_lease_that_cannot_be_renewed_is_lost_by_its_own_clock(path: Path) -> None:
    with (
        open_ledger(f"sqlite:{path}") as ledger,
        ledger.lease("docs", 0.3) as lease,
        closing(sqlite3.connect(path)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")  # nobody else can write now
        time.sleep(0.4)
        with pytest.raises(SetupError, match="could not renew its lease of the collection `docs`"):
            lease.check()
        with pytest.raises(SetupError, match="could not renew"):
            ledger.commit(lease, "docs_v1", state("a"))


def test_an_expired_lease_is_taken_over_and_its_late_holder_does_not_free_it(path: Path) -> None:
    with open_ledger(f"sqlite:{path}") as ledger:
        late = ledger.lease("docs", 60)
        lost = late.__enter__()
        expire_leases(path)
        with ledger.lease("docs", 60) as mine:
            with pytest.raises(SetupError, match="another run"):
                ledger.commit(lost, "docs_v1", state("a"))
            with pytest.raises(SetupError, match="another run"):
                lost.check()
            late.__exit__(None, None, None)
            ledger.commit(mine, "docs_v1", state("b"))
        assert list(ledger.sources("docs_v1")) == ["b"]


def test_a_lease_is_free_again_after_an_error_inside_it(path: Path) -> None:
    with open_ledger(f"sqlite:{path}") as ledger:
        with pytest.raises(RuntimeError, match="mine"), ledger.lease("docs", 60):
            raise RuntimeError("mine")
        with ledger.lease("docs", 60) as lease:
            lease.check()


# letters


def test_a_letter_is_bounded_whatever_is_buried(path: Path) -> None:
    with open_ledger(f"sqlite:{path}") as ledger, ledger.lease("docs", 60) as lease:
        ledger.bury(lease, "docs_v1", letter("a", message="m" * 10_000, chunk_keys=tuple(map(str, range(10_000)))))
        (found,) = ledger.letters("docs")
    assert len(found.message) == 500
    assert found.chunk_keys == tuple(map(str, range(1000)))


# text


@given(st.text(st.one_of(st.characters(codec=None), st.sampled_from("\\u0aé\0\udcff")), max_size=20))
def test_any_text_comes_back_and_what_is_stored_fits_every_database(text: str) -> None:
    column, dialect = AnyText(), sqlite.dialect()
    stored = column.process_bind_param(text, dialect)
    assert stored is not None
    assert "\0" not in stored.encode("utf-8").decode()
    assert column.process_result_value(stored, dialect) == text


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_sources_have_ids_of_one_size_and_different_ones_for_different_sources(one: str, other: str) -> None:
    assert len(source_id(one)) == 32
    assert (source_id(one) == source_id(other)) == (one == other)


# helpers


def expire_leases(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE ledger_leases SET expires = 0")
        connection.commit()


def in_a_child(function: Callable[[str, Connection], None], uri: str) -> str:
    """What the function reports; run apart because it gives up what the test process needs."""
    ours, theirs = processes.Pipe(duplex=False)
    child = processes.Process(target=function, args=(uri, theirs), daemon=True)
    child.start()
    theirs.close()
    message: str = ours.recv()
    child.join(10)
    return message


def open_without_privileges(uri: str, pipe: Connection) -> None:
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    pipe.send(_trouble_of(lambda: open_ledger(uri)))


def commit_until_the_disk_is_full(uri: str, pipe: Connection) -> None:
    with open_ledger(uri) as ledger, ledger.lease("docs", 60) as lease:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        numbers = count()
        trouble = ""
        while not trouble:
            number = next(numbers)
            trouble = _trouble_of(partial(ledger.commit, lease, "docs_v1", state(str(number))))
        pipe.send(f"{number} {trouble}")


def _trouble_of(action: Callable[[], Ledger | None]) -> str:
    try:
        action()
    except SetupError as error:
        return error.message
    return ""
