from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.commands.keys import create_key, revoke_key
from serve_app.core.errors import SetupError, Unauthorized
from serve_app.http.keys import KeyRing, digest_of, read_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def embedctl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_a_created_key_opens_the_endpoint(path: Path) -> None:
    done = embedctl("keys", "create", "--file", path, "--name", "alice")
    key = done.stdout.strip()
    assert done.exit_code == 0
    assert KeyRing(path).authorize(f"Bearer {key}", "embed") == read_keys(path)[0].id


def test_standard_output_holds_the_key_alone_and_the_rest_tells_what_to_do(path: Path) -> None:
    done = embedctl("keys", "create", "--file", path, "--name", "alice")
    assert len(done.stdout.split()) == 1
    assert "keys_file" in done.stderr
    assert done.stdout.strip() not in done.stderr


def test_a_key_has_an_id_of_eight_characters_and_at_least_32_random_bytes(path: Path) -> None:
    prefix, key_id, secret = create_key(path, "alice", ["embed"]).split("_", 2)
    assert (prefix, len(key_id), key_id.isalnum(), key_id.islower() or key_id.isdigit()) == ("ek", 8, True, True)
    assert len(secret) >= 43  # of base64


def test_the_file_holds_no_key_and_is_for_its_owner_alone(path: Path) -> None:
    key = create_key(path, "alice", ["embed"])
    content = path.read_text(encoding="utf-8")
    assert key not in content
    assert key.split("_", 2)[2] not in content
    assert digest_of(key) in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rewritten_file_can_be_read_by_whoever_could_read_it_before(path: Path) -> None:
    create_key(path, "alice", ["embed"])
    path.chmod(0o640)
    create_key(path, "bob", ["embed"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_scopes_and_expiry_are_kept(path: Path) -> None:
    embedctl("keys", "create", "-f", path, "--name", "a", "--scope", "embed", "--scope", "admin", "--expires-days", 90)
    record = read_keys(path)[0]
    assert record.scopes == ("embed", "admin")
    assert record.expires == record.created + timedelta(days=90)
    assert abs(record.created - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_unknown_scope_is_a_mistake_of_usage(path: Path) -> None:
    assert embedctl("keys", "create", "-f", path, "--name", "a", "--scope", "root").exit_code == 2
    assert not path.exists()


def test_several_keys_of_one_name_are_valid_at_once(path: Path) -> None:
    keys = [create_key(path, "alice", ["embed"]) for _ in range(3)]
    ring = KeyRing(path)
    assert len({ring.authorize(f"Bearer {key}", "embed") for key in keys}) == 3


def test_the_list_shows_no_digest(path: Path) -> None:
    key = create_key(path, "alice [bold]", ["embed"])
    create_key(path, "bob", ["admin"], timedelta(days=-1))
    shown = embedctl("keys", "list", "-f", path).stdout
    assert all(record.id in shown for record in read_keys(path))
    assert "alice [bold]" in shown
    assert "(expired)" in shown
    assert digest_of(key) not in shown
    assert digest_of(key)[:12] not in shown


def test_a_revoked_key_opens_nothing_and_the_others_still_do(path: Path) -> None:
    old, new = create_key(path, "alice", ["embed"]), create_key(path, "alice", ["embed"])
    done = embedctl("keys", "revoke", old.split("_")[1], "-f", path)
    assert done.exit_code == 0
    ring = KeyRing(path)
    assert ring.authorize(f"Bearer {new}", "embed") == new.split("_")[1]
    with pytest.raises(Unauthorized):
        ring.authorize(f"Bearer {old}", "embed")


def test_revoking_what_is_not_there_says_so_without_repeating_it(path: Path) -> None:
    key = create_key(path, "alice", ["embed"])
    with pytest.raises(SetupError, match="keys list") as caught:
        revoke_key(path, key)
    assert key not in caught.value.message
    assert len(read_keys(path)) == 1


@pytest.mark.parametrize("command", [["list"], ["revoke", "alice001"]])
def test_without_a_file_the_command_that_makes_one_is_named(path: Path, command: list[str]) -> None:
    done = embedctl("keys", *command, "-f", path)
    assert isinstance(done.exception, SetupError)
    assert "embedctl keys create" in done.exception.message


@pytest.mark.parametrize("name", ["", " ", "a" * 101, "two\nlines"])
def test_a_name_that_would_spoil_the_list_is_refused(path: Path, name: str) -> None:
    with pytest.raises(SetupError, match="--name"):
        create_key(path, name, ["embed"])


def test_a_broken_file_is_not_overwritten(path: Path) -> None:
    path.write_text("keys: [", encoding="utf-8")
    with pytest.raises(SetupError):
        create_key(path, "alice", ["embed"])
    assert path.read_text(encoding="utf-8") == "keys: ["


def test_keys_made_at_the_same_time_are_all_kept(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda number: create_key(path, f"n{number}", ["embed"]), range(16)))
    assert {record.digest for record in read_keys(path)} == {digest_of(key) for key in keys}


def test_a_write_that_fails_leaves_the_old_file_and_no_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key(path, "alice", ["embed"])
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SetupError, match="No space left on device"):
        create_key(path, "bob", ["embed"])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_link_to_the_file_goes_on_being_one(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    create_key(path, "alice", ["embed"])
    link.symlink_to(path)
    create_key(link, "bob", ["embed"])
    assert link.is_symlink()
    assert len(read_keys(path)) == 2


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file or directory"):
        create_key(tmp_path / "nowhere" / "keys.yaml", "alice", ["embed"])
