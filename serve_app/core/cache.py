"""Vectors of texts that were computed before, kept by what the model reads: the token ids."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from serve_app.core.types import TokenIds

Vector = NDArray[np.float32]  # (native dimensions,)
Key = bytes
ENTRY_OVERHEAD_BYTES = 288  # the key, the array object, the place in the table and the allocator's own share


def key_of(ids: TokenIds) -> Key:
    """16 bytes that stand for the token ids, the same on every machine."""
    return blake2b(ids.astype("<i4", copy=False).tobytes(), digest_size=16).digest()


class VectorCache:
    """The most recently used full-width vectors, bounded in bytes. One event loop uses it: no locks."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._vectors: OrderedDict[Key, Vector] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, key: Key) -> Vector | None:
        """The vector, read-only, or None."""
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, key: Key, vector: Vector) -> None:
        """Keep a copy: a row that is a view would keep the answer of its whole slice in memory."""
        size = vector.nbytes + ENTRY_OVERHEAD_BYTES
        if size > self._max_bytes:
            return
        old = self._vectors.pop(key, None)
        if old is not None:
            self.bytes -= old.nbytes + ENTRY_OVERHEAD_BYTES
        while self.bytes + size > self._max_bytes:
            _, evicted = self._vectors.popitem(last=False)
            self.bytes -= evicted.nbytes + ENTRY_OVERHEAD_BYTES
        kept = vector.copy()
        kept.flags.writeable = False
        self._vectors[key] = kept
        self.bytes += size

    def clear(self) -> None:
        self._vectors.clear()
        self.bytes = 0
