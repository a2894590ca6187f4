from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.core.errors import SetupError
from serve_app.model.golden import read_golden, write_golden
from tests.unit.serve_app.slices import right_vectors, texts

TEXTS = texts(10, [3, 1, 7])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "golden.json"
    write_golden(path, "qwen3", TEXTS, right_vectors(TEXTS))
    return path


def test_reference_vectors_are_read_as_they_were_written(path: Path) -> None:
    golden = read_golden(path)
    assert golden.model == "qwen3"
    assert [ids.tolist() for ids in golden.ids] == [ids.tolist() for ids in TEXTS]
    np.testing.assert_array_equal(golden.vectors, right_vectors(TEXTS))
    assert golden.vectors.dtype == np.float32


def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(path: Path) -> None:
    write_golden(path, "qwen3", TEXTS[:1], right_vectors(TEXTS[:1]))
    assert len(read_golden(path).ids) == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"missing\.json: No such file"):
        read_golden(tmp_path / "missing.json")


@pytest.mark.parametrize(
    "change",
    [
        {"texts": 2},
        {"texts": 0, "ids": [], "vectors": ""},
        {"texts": "many"},
        {"ids": [[1], [], [2]]},
        {"ids": [1, 2, 3]},
        {"ids": [[1], [2], ["three"]]},
        {"ids": None},
        {"vectors": "not base64!"},
        {"vectors": "AAAA"},
        {"vectors": None},
        {"vectors": "AAAAAA=="},  # one number for three texts
    ],
)
def test_a_malformed_file_is_refused_with_the_way_to_write_it(path: Path, change: dict[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SetupError, match=r"golden\.json does not hold reference vectors: write it anew with"):
        read_golden(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"texts": 1}', "null"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "golden.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SetupError, match="does not hold reference vectors"):
        read_golden(path)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SetupError, match="does not hold reference vectors"):
        read_golden(path)
