"""transformers in float32 on the same checkpoint: what every served vector is compared to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

Matrix = NDArray[np.float32]  # (texts, dimensions)
PARITY = 0.999  # bfloat16 against float32
SAME = 0.9999  # the same text in another batch: bfloat16 sums in another order


def cosines(left: Matrix, right: Matrix) -> Matrix:
    """Row by row."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    result: Matrix = (left * right).sum(axis=1) / norms
    return result


class Reference:
    """Last hidden state of the last token, cut, normalised; one text at a time, so without any padding."""

    def __init__(self, checkpoint: Path) -> None:
        from transformers import AutoModel

        self._model = AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self._tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))

    def texts(self, texts: list[str], dimensions: int) -> Matrix:
        return self.ids([self._tokenizer.encode(text).ids for text in texts], dimensions)

    def ids(self, texts: list[list[int]], dimensions: int | None = None) -> Matrix:
        rows = []
        for ids in texts:
            with torch.no_grad():
                hidden = self._model(input_ids=torch.tensor([ids])).last_hidden_state
            rows.append(hidden[0, -1, :dimensions].numpy())
        matrix = np.stack(rows)
        result: Matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        return result
