from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from ingest.settings import MIB, SourceSettings
from ingest.sources.base import SourceFile
from ingest.sources.discover import discover
from ingest.sources.read import read_bytes, read_sidecar, version_of, versions
from serve_app.core.errors import DocumentError

SETTINGS = SourceSettings()


@pytest.fixture
def file(tmp_path: Path) -> SourceFile:
    """docs/hr/a.md, found through docs/."""
    path = tmp_path / "docs" / "hr" / "a.md"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"# Leave")
    return discover([str(tmp_path / "docs")], SETTINGS).files[0]


def reason_of(file: SourceFile, max_bytes: int = MIB, settings: SourceSettings = SETTINGS) -> str:
    with pytest.raises(DocumentError) as error:
        read_bytes(file, settings, max_bytes)
    assert file.source_file in error.value.message
    return error.value.reason


def test_a_file_is_read(file: SourceFile) -> None:
    assert read_bytes(file, SETTINGS, 7) == b"# Leave"


def test_a_file_that_has_gone_is_missing(file: SourceFile) -> None:
    Path(file.path).unlink()
    assert reason_of(file) == "missing"


def test_a_file_whose_folder_has_become_a_file_is_missing(file: SourceFile) -> None:
    shutil.rmtree(Path(file.path).parent)
    Path(file.path).parent.touch()
    assert reason_of(file) == "missing"


@pytest.mark.parametrize("content", [b"", b" \r\n\t"])
def test_a_file_without_content_is_empty(file: SourceFile, content: bytes) -> None:
    Path(file.path).write_bytes(content)
    assert reason_of(file) == "empty"


def test_a_file_above_the_limit_is_too_large_and_not_even_opened(file: SourceFile) -> None:
    Path(file.path).unlink()
    assert reason_of(file, max_bytes=6) == "too_large"


def test_a_file_that_has_grown_since_is_too_large(file: SourceFile) -> None:
    Path(file.path).write_bytes(b"x" * (3 * MIB))
    assert reason_of(file) == "too_large"


def test_a_file_that_may_not_be_read_is_unreadable(file: SourceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DocumentError, match=r"a\.md cannot be read: Permission denied") as error:
        read_bytes(file, SETTINGS, MIB)
    assert error.value.reason == "unreadable"


def test_a_file_replaced_by_a_link_is_refused(file: SourceFile, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_bytes(b"secret")
    Path(file.path).unlink()
    Path(file.path).symlink_to(tmp_path / "secret.md")
    assert reason_of(file) == "refused"


def test_a_file_whose_folder_was_replaced_by_a_link_is_refused(file: SourceFile, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a.md").write_bytes(b"secret")
    shutil.rmtree(Path(file.path).parent)
    Path(file.path).parent.symlink_to(tmp_path / "secrets")
    assert reason_of(file) == "refused"


def test_a_link_that_is_there_only_while_the_file_is_opened_is_refused(
    file: SourceFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path looks innocent before and after; only the file that was opened tells."""
    (tmp_path / "secret.md").write_bytes(b"secret")
    opened = os.open(tmp_path / "secret.md", os.O_RDONLY)
    monkeypatch.setattr(os, "open", lambda *_: opened)
    assert reason_of(file) == "refused"


def test_a_pipe_in_a_file_s_place_does_not_hang_the_run(file: SourceFile) -> None:
    Path(file.path).unlink()
    os.mkfifo(file.path)
    assert reason_of(file) == "unreadable"


def test_a_folder_in_a_file_s_place_is_unreadable(file: SourceFile) -> None:
    Path(file.path).unlink()
    Path(file.path).mkdir()
    assert reason_of(file) == "unreadable"


def test_a_file_outside_the_roots_that_are_allowed_by_now_is_refused(file: SourceFile, tmp_path: Path) -> None:
    assert reason_of(file, settings=SourceSettings(allowed_roots=(str(tmp_path / "other"),))) == "refused"


def test_a_local_file_s_version_is_its_hash(file: SourceFile) -> None:
    content = b"x" * (2 * MIB + 1)
    Path(file.path).write_bytes(content)
    assert version_of(file, SETTINGS) == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_touching_a_file_does_not_change_its_version(file: SourceFile) -> None:
    before = version_of(file, SETTINGS)
    os.utime(file.path, (1, 1))
    assert version_of(file, SETTINGS) == before


def test_a_part_of_a_file_has_the_version_of_the_whole(file: SourceFile) -> None:
    part = dataclasses.replace(file, span=(2, 4))
    assert version_of(part, SETTINGS) == version_of(file, SETTINGS)


def test_a_sidecar_is_read_and_changes_the_version(file: SourceFile) -> None:
    sidecar = Path(file.path + ".meta.yaml")
    sidecar.write_bytes(b"team: hr")
    described = dataclasses.replace(file, sidecar=str(sidecar))
    assert read_sidecar(described, SETTINGS) == b"team: hr"
    first = version_of(described, SETTINGS)
    sidecar.write_bytes(b"team: it")
    assert len({version_of(file, SETTINGS), first, version_of(described, SETTINGS)}) == 3


def test_a_file_without_a_sidecar_has_an_empty_one(file: SourceFile) -> None:
    assert read_sidecar(file, SETTINGS) == b""


def test_versions_of_many_files_come_with_the_reasons_why_some_have_none(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.md").write_text(str(number))
    files = discover([str(tmp_path)], SETTINGS).files
    Path(files[7].path).unlink()
    done: list[SourceFile] = []
    found = versions(files, SETTINGS, done.append)
    assert sorted(file.uri for file in done) == sorted(found) == [file.uri for file in files]
    error = found.pop(files[7].uri)
    assert isinstance(error, DocumentError)
    assert error.reason == "missing"
    assert found == {file.uri: version_of(file, SETTINGS) for file in files if file is not files[7]}


def test_a_callback_that_ends_the_run_ends_the_hashing(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}.md").touch()

    def stop(file: SourceFile) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        versions(discover([str(tmp_path)], SETTINGS).files, SETTINGS, stop)
