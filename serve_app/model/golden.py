"""Reference vectors: what a model is known to compute for some texts, so that a replica can prove it still does."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serve_app.core.errors import SetupError
from serve_app.core.types import TokenIds, Vectors


@dataclass(frozen=True, slots=True)
class Golden:
    model: str  # the name it was served under
    ids: tuple[TokenIds, ...]  # one array of token ids a text
    vectors: Vectors  # (texts, native dimensions), unit norm


def read_golden(path: str | Path) -> Golden:
    """Raises SetupError if the file cannot be read or is not what `write_golden` writes."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return _golden(content)
    except OSError as error:
        raise SetupError(f"Cannot read the reference vectors {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise SetupError(
            f"{path} does not hold reference vectors: write it anew with `embedctl verify --save {path}`."
        ) from error


def write_golden(path: str | Path, model: str, ids: list[TokenIds], vectors: Vectors) -> None:
    """`ids` are the token ids of each text, `vectors` (texts, native dimensions). Replaces the file at once."""
    content = {
        "model": model,
        "texts": len(ids),
        "ids": [text.tolist() for text in ids],
        "vectors": base64.b64encode(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).decode("ascii"),
    }
    path = Path(path)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(content) + "\n", encoding="utf-8")
    beside.replace(path)


def _golden(content: Any) -> Golden:
    texts = int(content["texts"])
    ids = tuple(np.array(text, dtype=np.int32) for text in content["ids"])
    vectors = np.frombuffer(base64.b64decode(content["vectors"], validate=True), dtype="<f4")
    if texts < 1 or len(ids) != texts or any(text.ndim != 1 or not len(text) for text in ids):
        raise ValueError("the number of texts is not that of their ids")
    return Golden(str(content["model"]), ids, vectors.reshape(texts, -1).astype(np.float32))
