from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.cache import ENTRY_OVERHEAD_BYTES, Vector, VectorCache, key_of

KEYS = [key_of(np.array([name], dtype=np.int32)) for name in range(6)]
Steps = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 40), st.booleans()), max_size=60)


def vector_of(size: int, value: float = 1.0) -> Vector:
    return np.full(size, value, dtype=np.float32)


def bytes_for(entries: int, size: int) -> int:
    return entries * (4 * size + ENTRY_OVERHEAD_BYTES)


@given(Steps, st.integers(0, 1500))
def test_the_bound_holds_and_what_is_found_is_what_was_put_last(
    steps: list[tuple[bytes, int, bool]], max_bytes: int
) -> None:
    cache, latest = VectorCache(max_bytes), dict[bytes, Vector]()
    for number, (key, size, is_put) in enumerate(steps):
        vector = vector_of(size, number)
        if is_put and 4 * size + ENTRY_OVERHEAD_BYTES <= max_bytes:
            latest[key] = vector
            cache.put(key, vector)
        found = cache.get(key)
        assert found is None or np.array_equal(found, latest[key])
        assert cache.bytes <= max_bytes
        assert cache.bytes == sum(bytes_for(1, len(kept)) for kept in map(cache.get, KEYS) if kept is not None)


def test_the_one_used_longest_ago_goes_first() -> None:
    cache = VectorCache(bytes_for(2, 8))
    cache.put(KEYS[0], vector_of(8))
    cache.put(KEYS[1], vector_of(8))
    cache.get(KEYS[0])
    cache.put(KEYS[2], vector_of(8))
    assert [cache.get(key) is not None for key in KEYS[:3]] == [True, False, True]


def test_putting_again_replaces_and_counts_once() -> None:
    cache = VectorCache(bytes_for(2, 8))
    cache.put(KEYS[0], vector_of(8, 1.0))
    cache.put(KEYS[0], vector_of(8, 2.0))
    np.testing.assert_array_equal(cache.get(KEYS[0]), vector_of(8, 2.0))
    assert (len(cache), cache.bytes) == (1, bytes_for(1, 8))


def test_a_vector_larger_than_the_cache_is_not_kept_and_evicts_nothing() -> None:
    cache = VectorCache(bytes_for(1, 8))
    cache.put(KEYS[0], vector_of(8))
    cache.put(KEYS[1], vector_of(9))
    assert [cache.get(key) is not None for key in KEYS[:2]] == [True, False]


def test_a_row_does_not_keep_its_slice_alive_and_cannot_be_written() -> None:
    block = np.ones((100, 8), dtype=np.float32)
    cache = VectorCache(bytes_for(1, 8))
    cache.put(KEYS[0], block[3])
    block[3] = 0.0
    kept = cache.get(KEYS[0])
    assert kept is not None
    assert kept.base is None
    assert kept.tolist() == [1.0] * 8
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 5.0


def test_a_cleared_cache_is_empty() -> None:
    cache = VectorCache(bytes_for(1, 8))
    cache.put(KEYS[0], vector_of(8))
    cache.clear()
    assert (cache.get(KEYS[0]), len(cache), cache.bytes) == (None, 0, 0)


@pytest.mark.parametrize("size", [64, 1024])
def test_the_bytes_counted_are_not_less_than_the_memory_taken(size: int) -> None:
    block = np.ones((1, size), dtype=np.float32)
    tracemalloc.start()
    cache = VectorCache(10**9)
    for name in range(3000):
        cache.put(name.to_bytes(16, "little"), block[0])
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.7 * cache.bytes < taken <= cache.bytes


def test_a_key_depends_on_the_ids_alone() -> None:
    ids = np.array([1, 2, 3], dtype=np.int32)
    assert key_of(ids) == key_of(ids.astype(">i4")) == key_of(np.array([0, 1, 2, 3, 4], dtype=np.int32)[1:4])
    assert len({key_of(ids), key_of(ids[:2]), key_of(ids[::-1])}) == 3
    assert len(key_of(ids)) == 16
