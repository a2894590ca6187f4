"""The nouns that cross a boundary inside the cluster. This module knows no wire format and no engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

InputType = Literal["document", "query"]
TokenIds = NDArray[np.int32]  # (tokens,)
Vectors = NDArray[np.float32]  # (texts, dimensions), one row a text
NO_ROWS: frozenset[int] = frozenset()


class Priority(IntEnum):
    """The traffic class of a slice; a lower value is served first."""

    INTERACTIVE = 0
    BULK = 1

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Slice:
    """Some texts of one class on their way to one replica: the unit of the hop between Router and Embedder.

    `ids` holds the token ids of all texts back to back; text i is `ids[offsets[i]:offsets[i + 1]]`.
    `timeout_s` is the time left when the slice was sent: clocks differ between hosts, durations do not.
    `backlog_tokens` is the replica's part of what still waits at `sender` for the model, of both classes: all that
    waits, divided by the replicas that the sender knows. A sender without a name tells nothing.
    """

    ids: TokenIds
    offsets: NDArray[np.int64]  # (texts + 1,), offsets[0] == 0, offsets[-1] == len(ids)
    priority: Priority
    timeout_s: float
    sender: str = ""
    backlog_tokens: float = 0.0

    @property
    def texts(self) -> int:
        return len(self.offsets) - 1

    @property
    def tokens(self) -> int:
        return int(self.offsets[-1])

    @classmethod
    def of(cls, texts: list[TokenIds], priority: Priority, timeout_s: float) -> Slice:
        """Join the token ids of `texts` (at least one) into a slice, in order."""
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        return cls(texts[0] if len(texts) == 1 else np.concatenate(texts), offsets, priority, timeout_s)


@dataclass(frozen=True, slots=True)
class SliceAnswer:
    """What a replica gives back for a slice.

    `fingerprint` says which weights, tokenizer, pooling and dtype computed the vectors, so that a Router notices when
    replicas change under it. `tokens_per_s` is what this replica computed lately, 0.0 until it knows. `replica` is a
    short name of the process, by which a sender counts those that answer. `faulty` are the rows that failed the checks:
    what stands in them means nothing, and the texts of the others must not suffer for it.
    """

    vectors: Vectors  # (texts, native dimensions), unit norm but for the faulty rows
    fingerprint: str
    tokens_per_s: float
    replica: str = ""
    faulty: frozenset[int] = NO_ROWS


@dataclass(frozen=True, slots=True)
class ReplicaCounters:
    """What one Embedder replica has done since it started, per class label ("interactive", "bulk")."""

    replica: str
    texts: dict[str, int]
    tokens: dict[str, int]
    queued_tokens: int
    steps: int
