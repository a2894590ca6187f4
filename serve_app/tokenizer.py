"""Text to token ids with the checkpoint's own fast tokenizer. Knows nothing of requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile
from serve_app.core.types import TokenIds


class TextTokenizer:
    """Encodes whole texts: special tokens as the checkpoint wants them, no truncation, no padding."""

    def __init__(self, profile: ModelProfile) -> None:
        path = Path(profile.path) / "tokenizer.json"
        if not path.is_file():
            raise SetupError(f"{profile.name} has no tokenizer.json: convert its tokenizer with transformers first.")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._end = profile.end_token_id

    def encode(self, texts: list[str], prefix: str = "") -> list[TokenIds]:
        """Token ids of every text with `prefix` before it, the end token last where the model has one."""
        whole = [prefix + text for text in texts] if prefix else texts
        if len(whole) == 1:
            return [self.finish(np.array(self._tokenizer.encode(whole[0]).ids, dtype=np.int32))]
        encodings = self._tokenizer.encode_batch_fast(whole)
        return [self.finish(np.array(encoding.ids, dtype=np.int32)) for encoding in encodings]

    def finish(self, ids: TokenIds) -> TokenIds:
        """`ids` with the end token appended unless it is there: last-token pooling reads that very position."""
        if self._end is None or (len(ids) and ids[-1] == self._end):
            return ids
        return np.append(ids, np.int32(self._end))
