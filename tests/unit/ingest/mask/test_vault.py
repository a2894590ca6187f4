from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from pathlib import Path

import pytest

from ingest.mask.vault import Original, Vault, open_vault
from serve_app.core.errors import SetupError

SECRET = "0123456789abcdef-for-tests"
PHONE = Original("<CN_MOBILE:000000000001>", b"\1" * 32, "13900001234")


def fill(path: str, first: int) -> None:
    vault = Vault(path, SECRET)
    for number in range(first, first + 20):
        vault.store([Original(f"<CN_MOBILE:{number:08x}>", number.to_bytes(32, "big"), str(number))])


def test_a_token_is_revealed_and_stored_once(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "vault.sqlite")
    vault = Vault(path, SECRET)
    vault.store([PHONE, PHONE])
    Vault(path, SECRET).store([PHONE])
    assert vault.values(PHONE.token) == [PHONE.value]
    assert open_vault(path, SECRET).original(PHONE.token) == PHONE.value


def test_the_files_hold_no_plain_value_and_are_their_owners(tmp_path: Path) -> None:
    vault = Vault(str(tmp_path / "vault.sqlite"), SECRET)
    held_open = sqlite3.connect(tmp_path / "vault.sqlite")  # keeps the log files there
    held_open.execute("SELECT count(*) FROM originals").fetchall()
    vault.store([PHONE])
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert not any(secret in file.read_bytes() for file in files for secret in (PHONE.value.encode(), SECRET.encode()))
    held_open.close()


def test_another_secret_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "vault.sqlite")
    Vault(path, SECRET).store([PHONE])
    with pytest.raises(SetupError, match="another secret"):
        open_vault(path, SECRET + "!").original(PHONE.token)


def test_a_missing_vault_is_not_made_by_looking_into_it(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no vault"):
        open_vault(str(tmp_path / "none.sqlite"), SECRET).original(PHONE.token)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_vault_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be taken for one. " * 20)
    before = path.read_bytes()
    with pytest.raises(SetupError, match="cannot be used"):
        Vault(str(path), SECRET)
    assert path.read_bytes() == before


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be written"):
        Vault(str(tmp_path), SECRET)


def test_an_unknown_token_is_said_to_be_unknown(tmp_path: Path) -> None:
    path = str(tmp_path / "vault.sqlite")
    Vault(path, SECRET)
    with pytest.raises(SetupError, match="does not know"):
        open_vault(path, SECRET).original(PHONE.token)


def test_two_values_of_one_token_are_not_taken_for_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "vault.sqlite")
    Vault(path, SECRET).store([PHONE, Original(PHONE.token, b"\2" * 32, "13900005678")])
    with pytest.raises(SetupError, match="2 values") as caught:
        open_vault(path, SECRET).original(PHONE.token)
    assert "1390000" not in caught.value.message


def test_a_value_moved_to_another_token_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "vault.sqlite"
    Vault(str(path), SECRET).store([PHONE])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE originals SET token = '<CN_MOBILE:000000000002>'")
    connection.close()
    with pytest.raises(SetupError, match="does not open"):
        open_vault(str(path), SECRET).original("<CN_MOBILE:000000000002>")


def test_several_processes_fill_one_vault_that_none_of_them_had_made(tmp_path: Path) -> None:
    path = str(tmp_path / "vault.sqlite")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fill, args=(path, first)) for first in (0, 10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    vault = Vault(path, SECRET)
    assert [vault.values(f"<CN_MOBILE:{number:08x}>") for number in range(30)] == [
        [str(number)] for number in range(30)
    ]


def test_an_original_never_shows_its_value() -> None:
    assert PHONE.value not in repr(PHONE)
