from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ingest.embedding.patience import LONGEST_WAIT_S, Patience
from serve_app.core.errors import Overloaded, ReplicaUnavailable, SetupError

REFUSED = Overloaded("Full.", retry_after_s=3.0)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 10))


def test_silence_counts_and_being_refused_does_not() -> None:
    async def work() -> list[float]:
        patience = Patience(10.0)
        patience.begin()
        await asyncio.sleep(0.05)
        before = patience.begin()
        patience.after_refusal(REFUSED)
        await asyncio.sleep(0.05)
        return [before, patience.begin()]

    before, after = run(work())
    assert before <= 9.95
    assert after == 10.0


def test_only_what_was_sent_before_is_a_retry() -> None:
    async def work() -> list[bool]:
        patience = Patience(10.0)
        seen = [patience.is_retry]
        patience.begin()
        return [*seen, patience.is_retry]

    assert run(work()) == [False, True]


def test_it_waits_as_long_as_it_is_asked_to_or_twice_as_long_every_time() -> None:
    async def work() -> list[float]:
        patience = Patience(1e6)
        patience.begin()
        asked = [None, None, 7.0, None, None, None, None, 1e9]
        return [patience.after_failure(ReplicaUnavailable("None.", retry_after_s=seconds)) for seconds in asked]

    assert run(work()) == [1.0, 2.0, 7.0, 8.0, 16.0, 32.0, LONGEST_WAIT_S, LONGEST_WAIT_S]


def test_a_wait_beyond_the_end_is_not_begun() -> None:
    async def work() -> None:
        patience = Patience(5.0)
        patience.begin()
        patience.after_failure(ReplicaUnavailable("None.", retry_after_s=4.0))
        patience.after_failure(ReplicaUnavailable("No cluster answers.", retry_after_s=6.0))

    with pytest.raises(SetupError, match=r"for 5 s \(`ingest\.slice_timeout_s`\) .* No cluster answers"):
        run(work())
