"""`embedctl reveal`, on a real vault, as a user runs it."""

from __future__ import annotations

import io
import logging
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.cli import main
from ingest.mask.vault import Original, Vault

DOCS = Path(__file__).parents[4] / "docs"
SECRET = "0123456789abcdef-for-tests"
KEY_ENV = "SECRET_OF_MASKING"
TOKEN = "<CN_MOBILE:1f0c93aa52de>"
MAIL = "<EMAIL_ADDRESS:000000000002>"
SHARED = "<CN_MOBILE:000000000003>"
STORED = [
    Original(TOKEN, b"\1" * 32, "139-0000-1234"),
    Original(MAIL, b"\2" * 32, "a\n\u200b\udcff@b.cn"),
    Original(SHARED, b"\3" * 32, "13900005678"),
    Original(SHARED, b"\4" * 32, "13900008765"),
]
LINE = f"{TOKEN}\t139-0000-1234\n"


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vault") / "vault.sqlite"
    Vault(str(path), SECRET).store(STORED)
    return path


@pytest.fixture
def folder(vault: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with `cluster.yaml` that names the vault, and the secret in its variable."""
    (tmp_path / "cluster.yaml").write_text(f"ingest: {{mask: {{vault: {vault}, key_env: {KEY_ENV}}}}}", "utf-8")
    monkeypatch.setenv(KEY_ENV, f"{SECRET}\n")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def embedctl(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["embedctl", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capsys.readouterr())

    return lambda *tokens, stdin=b"": run("reveal", "--config", "cluster.yaml", *tokens, stdin=stdin)


def test_a_token_is_printed_with_its_original(embedctl: Command) -> None:
    assert embedctl(TOKEN) == Done(0, LINE, "")


def test_tokens_are_read_from_standard_input_where_the_dash_stands(embedctl: Command) -> None:
    done = embedctl("-", TOKEN, stdin=f"\n{MAIL}\r\n".encode())
    assert [line.partition("\t")[0] for line in done.out.splitlines()] == [MAIL, TOKEN]


def test_an_original_stays_in_one_line_whatever_characters_it_has(embedctl: Command) -> None:
    assert embedctl(MAIL).out == f"{MAIL}\ta\\n\\u200b\\udcff@b.cn\n"


def test_what_is_not_found_is_named_after_the_others_have_been_printed(embedctl: Command) -> None:
    done = embedctl("<CN_MOBILE:000000000009>", SHARED, TOKEN)
    assert (done.code, done.out) == (1, LINE)
    assert done.err.count("\n") == 1
    assert "does not know <CN_MOBILE:000000000009>" in done.err
    assert f"2 values share {SHARED}" in done.err
    assert "1390000" not in done.err


def test_of_many_unknown_tokens_a_few_are_named_and_the_others_counted(embedctl: Command) -> None:
    done = embedctl("-", stdin=b"\n".join(b"unknown_%d" % number for number in range(8)))
    assert (done.code, done.out) == (1, "")
    assert re.findall(r"unknown_\d", done.err) == [f"unknown_{number}" for number in range(5)]
    assert done.err.endswith("; and 3 more\n")


@pytest.mark.parametrize(("tokens", "stdin"), [(["a\udcff"], b""), (["-"], b"a\xff\n")], ids=["argument", "stdin"])
def test_bytes_that_are_no_text_are_an_unknown_token(embedctl: Command, tokens: list[str], stdin: bytes) -> None:
    done = embedctl(*tokens, stdin=stdin)
    assert done.code == 1
    assert "does not know a\\" in done.err


@pytest.mark.parametrize(
    ("secret", "why"), [("another-secret-for-tests", "was made with another secret"), ("", f"set {KEY_ENV}")]
)
def test_without_the_secret_of_the_vault_nothing_is_printed(
    embedctl: Command, monkeypatch: pytest.MonkeyPatch, secret: str, why: str
) -> None:
    monkeypatch.setenv(KEY_ENV, secret)
    done = embedctl(TOKEN)
    assert (done.code, done.out) == (1, "")
    assert why in done.err


@pytest.mark.parametrize(
    ("mask", "why"), [("{}", "names no vault"), ("{vault: not_there.sqlite}", "there is no vault at not_there.sqlite")]
)
def test_a_vault_that_is_not_there_is_told_and_not_made(
    embedctl: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, mask: str, why: str
) -> None:
    monkeypatch.setenv("EMBED_MASK_KEY", SECRET)
    (folder / "cluster.yaml").write_text(f"ingest: {{mask: {mask}}}", "utf-8")
    done = embedctl(TOKEN)
    assert (done.code, done.out) == (1, "")
    assert why in done.err
    assert not (folder / "not_there.sqlite").exists()


def test_no_original_is_logged(embedctl: Command, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert embedctl(TOKEN, SHARED).out == LINE
    assert "139" not in caplog.text


def test_the_commands_of_the_page_turn_a_token_back(embedctl: Command) -> None:
    page = (DOCS / "pii.md").read_text(encoding="utf-8")
    first, second = (shlex.split(line, comments=True) for line in re.findall(r"^embedctl (reveal .*)$", page, re.M))
    start = ["reveal", "--config", "cluster.yaml"]
    assert (first, second) == ([*start, TOKEN], [*start, "-", "<", "tokens.txt"])
    assert embedctl(*first[3:]).out == embedctl(*second[3:4], stdin=TOKEN.encode()).out == LINE
