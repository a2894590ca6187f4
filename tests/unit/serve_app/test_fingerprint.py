from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.model.fingerprint import BLOCK_BYTES, BLOCKS, fingerprint

LARGE = 3 * BLOCKS * BLOCK_BYTES


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "model-00001.safetensors").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "model-00002.safetensors").write_bytes(b"\1" * LARGE)
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def change(file: Path, offset: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(b"\2")


def test_the_same_files_have_the_same_fingerprint_wherever_they_lie(checkpoint: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    for file in checkpoint.glob("*.*"):
        (elsewhere / file.name).write_bytes(file.read_bytes())
    assert fingerprint(elsewhere, "last", "bfloat16") == fingerprint(checkpoint, "last", "bfloat16")


@pytest.mark.parametrize("offset", [0, 2047])
def test_one_byte_of_a_small_file_changes_it(checkpoint: Path, offset: int) -> None:
    before = fingerprint(checkpoint, "last", "bfloat16")
    change(checkpoint / "model-00001.safetensors", offset)
    assert fingerprint(checkpoint, "last", "bfloat16") != before


@pytest.mark.parametrize("offset", [0, LARGE - 1, LARGE])
def test_the_ends_and_the_size_of_a_large_file_change_it(checkpoint: Path, offset: int) -> None:
    before = fingerprint(checkpoint, "last", "bfloat16")
    change(checkpoint / "model-00002.safetensors", offset)
    assert fingerprint(checkpoint, "last", "bfloat16") != before


def test_tokenizer_pooling_and_dtype_are_parts_of_it(checkpoint: Path) -> None:
    weights, tokenizer, *rest = fingerprint(checkpoint, "last", "bfloat16").split("-")
    assert rest == ["last", "bfloat16"]
    (checkpoint / "tokenizer.json").write_text("[]")
    other = fingerprint(checkpoint, "mean", "fp8").split("-")
    assert (other[0], other[2:]) == (weights, ["mean", "fp8"])
    assert other[1] != tokenizer


def test_without_weights_there_is_none(tmp_path: Path) -> None:
    assert fingerprint(tmp_path, "last", "bfloat16") == ""
