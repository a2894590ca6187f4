from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.types import Priority, Slice

texts_of_ids = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9), min_size=1, max_size=9)


def split(slice_: Slice) -> list[list[int]]:
    return [slice_.ids[start:stop].tolist() for start, stop in zip(slice_.offsets, slice_.offsets[1:], strict=False)]


@given(texts_of_ids)
def test_the_texts_of_a_slice_can_be_told_apart_again(texts: list[list[int]]) -> None:
    slice_ = Slice.of([np.array(ids, dtype=np.int32) for ids in texts], Priority.BULK, 3.0)
    assert split(slice_) == texts
    assert (slice_.texts, slice_.tokens) == (len(texts), sum(map(len, texts)))
    assert (slice_.priority, slice_.timeout_s) == (Priority.BULK, 3.0)
    assert (slice_.ids.dtype, slice_.offsets.dtype) == (np.dtype(np.int32), np.dtype(np.int64))


def test_a_slice_survives_pickling() -> None:
    sent = Slice.of([np.array([1, 2], dtype=np.int32), np.array([3], dtype=np.int32)], Priority.INTERACTIVE, 0.5)
    arrived = pickle.loads(pickle.dumps(sent))  # noqa: S301
    assert split(arrived) == [[1, 2], [3]]
    assert (arrived.priority, arrived.timeout_s) == (Priority.INTERACTIVE, 0.5)


def test_a_single_text_is_not_copied() -> None:
    ids = np.array([1, 2, 3], dtype=np.int32)
    assert Slice.of([ids], Priority.INTERACTIVE, 1.0).ids is ids


def test_interactive_comes_before_bulk() -> None:
    assert sorted(Priority) == [Priority.INTERACTIVE, Priority.BULK]
    assert [priority.label for priority in Priority] == ["interactive", "bulk"]
