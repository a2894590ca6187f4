from __future__ import annotations

import ast
import hmac
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.errors import Forbidden, RequestError, SetupError, Unauthorized
from serve_app.http import keys as keys_module
from serve_app.http.keys import KeyRing, digest_of, read_keys

ALICE = "ek_alice001_" + "s" * 43
BOB = "ek_bob00002_" + "t" * 43
NOW = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "keys.yaml", entry(ALICE), entry(BOB, scopes=["admin"]))


@pytest.fixture
def ring(path: Path, clock: Clock) -> KeyRing:
    return KeyRing(path, clock)


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[str]]:
    """What was logged; Ray's own set-up of its loggers would keep it from pytest's."""
    caught: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            caught.append(record.getMessage())

    collector = Collector(logging.WARNING)
    level = keys_module.log.level  # a client of Ray in the same process may have raised it
    keys_module.log.setLevel(logging.WARNING)
    keys_module.log.addHandler(collector)
    yield caught
    keys_module.log.removeHandler(collector)
    keys_module.log.setLevel(level)


def entry(key: str, **fields: object) -> dict[str, object]:
    return {
        "id": key[3:11],
        "name": "somebody",
        "digest": digest_of(key),
        "scopes": ["embed"],
        "created": "2026-01-01T00:00:00Z",
        **fields,
    }


def write(path: Path, *entries: dict[str, object]) -> Path:
    """In one step and with a new inode, as `embedctl keys` does."""
    new = path.with_suffix(".new")
    new.write_text(yaml.safe_dump({"keys": list(entries)}), encoding="utf-8")
    new.rename(path)
    return path


def bearer(key: str) -> str:
    return f"Bearer {key}"


def refusal(ring: KeyRing, header: str | None) -> RequestError:
    with pytest.raises(Unauthorized) as caught:
        ring.authorize(header, "embed")
    return caught.value


def test_a_valid_key_is_known_by_its_id(ring: KeyRing) -> None:
    assert ring.authorize(bearer(ALICE), "embed") == "alice001"
    assert ring.authorize(bearer(BOB), "admin") == "bob00002"


def test_admin_may_do_what_embed_may(ring: KeyRing) -> None:
    assert ring.authorize(bearer(BOB), "embed") == "bob00002"


def test_a_key_without_the_scope_is_forbidden(ring: KeyRing) -> None:
    with pytest.raises(Forbidden) as caught:
        ring.authorize(bearer(ALICE), "admin")
    assert "`admin`" in caught.value.message


@pytest.mark.parametrize("header", [f"bearer {ALICE}", f"BEARER {ALICE}", f"Bearer  {ALICE} "])
def test_the_scheme_is_read_as_http_wants_it(ring: KeyRing, header: str) -> None:
    assert ring.authorize(header, "embed") == "alice001"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", f"Basic {ALICE}", ALICE, f"Bearer{ALICE}"])
def test_a_header_without_a_key_is_told_how_to_send_one(ring: KeyRing, header: str | None) -> None:
    assert refusal(ring, header).message == keys_module.NO_KEY


@pytest.mark.parametrize(
    "key",
    ["ek_nobody99_" + "s" * 43, ALICE[:-1] + "x", ALICE[:-1], ALICE + "s", "ek_alice001_", "EMPTY", "sk-" + "s" * 40],
    ids=["unknown id", "wrong secret", "short", "long", "no secret", "EMPTY", "another product's"],
)
def test_an_unknown_id_and_a_wrong_secret_get_the_same_answer(ring: KeyRing, key: str) -> None:
    assert refusal(ring, bearer(key)).body() == refusal(ring, bearer("ek_alice001_wrong")).body()


def test_one_key_does_not_open_with_the_secret_of_another(ring: KeyRing) -> None:
    assert refusal(ring, bearer(ALICE[:12] + BOB[12:])).message == keys_module.UNKNOWN_KEY


@pytest.mark.parametrize("key", [ALICE, "ek_nobody99_" + "s" * 43])
def test_an_unknown_id_costs_the_same_comparison(ring: KeyRing, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(left: str, right: str) -> bool:
        compared.append((len(left), len(right)))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    refusal(ring, bearer(key))
    assert compared == [(64, 64)]


@pytest.fixture(scope="module")
def shared_ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing(write(tmp_path_factory.mktemp("keys") / "keys.yaml", entry(ALICE)), Clock())


@given(st.text() | st.text().map(lambda secret: f"ek_alice001_{secret}"))
def test_no_other_text_opens_and_none_is_repeated(shared_ring: KeyRing, key: str) -> None:
    assert refusal(shared_ring, bearer(key)).message in (keys_module.UNKNOWN_KEY, keys_module.NO_KEY)


def test_an_expired_key_is_named_to_its_holder_only(path: Path, clock: Clock) -> None:
    until = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=10)
    ring = KeyRing(write(path, entry(ALICE, expires=until.isoformat())), clock)
    assert ring.authorize(bearer(ALICE), "embed") == "alice001"

    clock.now += 10

    assert "expired" in refusal(ring, bearer(ALICE)).message
    assert refusal(ring, bearer(ALICE[:-1] + "x")).message == keys_module.UNKNOWN_KEY


def test_a_change_counts_after_a_second(ring: KeyRing, path: Path, clock: Clock) -> None:
    write(path, entry(BOB))
    clock.now += 0.9
    assert ring.authorize(bearer(ALICE), "embed") == "alice001"

    clock.now += 0.1

    assert refusal(ring, bearer(ALICE)).message == keys_module.UNKNOWN_KEY
    assert ring.authorize(bearer(BOB), "embed") == "bob00002"


def test_a_change_counts_although_the_clock_was_set_back(ring: KeyRing, path: Path, clock: Clock) -> None:
    write(path, entry(BOB))
    clock.now -= 3600
    assert refusal(ring, bearer(ALICE)).message == keys_module.UNKNOWN_KEY


def test_the_file_is_looked_at_once_a_second_and_read_only_when_it_changed(
    ring: KeyRing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    stamp = keys_module._stamp

    def counted(path: Path) -> keys_module.Stamp:
        looks.append(path)
        return stamp(path)

    monkeypatch.setattr(keys_module, "_stamp", counted)
    monkeypatch.setattr(keys_module, "read_keys", lambda _: pytest.fail("read an unchanged file"))
    for _ in range(100):
        ring.authorize(bearer(ALICE), "embed")
    assert looks == []

    clock.now += 1
    for _ in range(100):
        ring.authorize(bearer(ALICE), "embed")
    assert len(looks) == 1


def test_a_change_of_equal_size_and_time_is_seen_by_the_inode(ring: KeyRing, path: Path, clock: Clock) -> None:
    before = path.stat()
    other = "ek_alice001_" + "u" * 43
    write(path, entry(other), entry(BOB, scopes=["admin"]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size

    clock.now += 1

    assert ring.authorize(bearer(other), "embed") == "alice001"


def broken(path: Path) -> None:
    path.write_text(f"keys: [{ALICE}", encoding="utf-8")


def of_another_shape(path: Path) -> None:
    path.write_text(yaml.safe_dump({"keys": [{"id": "alice001", "secret": ALICE}]}), encoding="utf-8")


def missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("spoil", [broken, of_another_shape, missing])
def test_a_file_that_cannot_be_used_keeps_the_old_keys_and_logs_one_line_without_content(
    ring: KeyRing, path: Path, clock: Clock, lines: list[str], spoil: Callable[[Path], None]
) -> None:
    spoil(path)
    for _ in range(3):
        clock.now += 1
        assert ring.authorize(bearer(ALICE), "embed") == "alice001"

    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert str(path) in lines[0]
    assert ALICE not in lines[0]

    write(path, entry(BOB))
    clock.now += 1
    assert refusal(ring, bearer(ALICE)).message == keys_module.UNKNOWN_KEY


def test_a_file_that_could_not_be_read_for_a_while_counts_once_it_can_be_without_another_change(
    ring: KeyRing, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(_: Path) -> None:
        raise SetupError("Permission denied.")

    write(path, entry(BOB))  # ALICE is revoked
    with monkeypatch.context() as patched:
        patched.setattr(keys_module, "read_keys", deny)
        clock.now += 1
        assert ring.authorize(bearer(ALICE), "embed") == "alice001"
    clock.now += 1
    assert refusal(ring, bearer(ALICE)).message == keys_module.UNKNOWN_KEY


def test_when_the_last_key_is_revoked_nobody_gets_in(ring: KeyRing, path: Path, clock: Clock) -> None:
    write(path)
    clock.now += 1
    assert refusal(ring, bearer(ALICE)).message == keys_module.UNKNOWN_KEY


def test_a_ring_without_a_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="embedctl keys create"):
        KeyRing(tmp_path / "keys.yaml")


WRONG: dict[str, Any] = {
    "no mapping": [],
    "nothing": None,
    "other keys": {"key": []},
    "more keys": {"keys": [], "admin": True},
    "no list": {"keys": {"id": 1}},
    "unknown field": {"keys": [entry(ALICE, secret=ALICE)]},
    "id": {"keys": [entry(ALICE, id="Alice001")]},
    "digest": {"keys": [entry(ALICE, digest=ALICE)]},
    "no scope": {"keys": [entry(ALICE, scopes=[])]},
    "scope": {"keys": [entry(ALICE, scopes=["root"])]},
    "name": {"keys": [entry(ALICE, name="")]},
    "expiry without a time zone": {"keys": [entry(ALICE, expires="2026-04-01T00:00:00")]},
    "two of one id": {"keys": [entry(ALICE), entry(ALICE)]},
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_a_file_of_another_shape_is_refused_without_its_content(tmp_path: Path, content: object) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(SetupError, match=r"keys\.yaml is not right: ") as caught:
        read_keys(path)
    assert ALICE not in caught.value.message
    assert digest_of(ALICE) not in caught.value.message


@pytest.mark.parametrize("content", [b"keys: [", b"keys: \xff", b"keys: 2026-13-45"])
def test_a_file_that_is_no_yaml_is_refused_without_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.yaml"
    path.write_bytes(content)
    with pytest.raises(SetupError, match=r"not valid YAML: restore it") as caught:
        read_keys(path)
    assert "\n" not in caught.value.message


EQUALITY = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
SECRET_NAMES = ("digest", "secret", "key")


def secret_comparisons(source: str) -> list[str]:
    """Every test for equality, or for being in something, of a value whose name says that it is secret."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(kind, EQUALITY) for kind in node.ops):
            operands = [
                getattr(part, "attr", getattr(part, "id", ""))
                for operand in (node.left, *node.comparators)
                for part in ast.walk(operand)
            ]
            if any(word in name.lower() for name in operands for word in SECRET_NAMES):
                found.append(ast.unparse(node))
    return found


def test_no_operator_compares_secrets() -> None:
    source = Path(keys_module.__file__).read_text(encoding="utf-8")
    assert secret_comparisons(source) == []
    assert "hmac.compare_digest(" in source


@pytest.mark.parametrize("source", ["digest == other", "a != record.digest", "digest_of(k) == d", "api_key in known"])
def test_a_comparison_of_secrets_would_be_found(source: str) -> None:
    assert secret_comparisons(source) == [source]
