from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ingest.embedding.aimd import AimdWindow
from ingest.embedding.gate import SliceGate


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 10))


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Visitors:
    """Tasks that note when they are let in, and stay until they are told to leave."""

    def __init__(self, most: int) -> None:
        self.window = AimdWindow(most)
        self.gate = SliceGate(self.window)
        self.inside: list[str] = []
        self.leave = {name: asyncio.Event() for name in "abcd"}

    def come(self, name: str, is_retry: bool = False) -> asyncio.Task[None]:
        return asyncio.create_task(self._visit(name, is_retry))

    async def _visit(self, name: str, is_retry: bool) -> None:
        async with self.gate.place(is_retry):
            self.inside.append(name)
            await self.leave[name].wait()


def test_who_was_refused_goes_before_those_who_wait() -> None:
    async def work() -> list[str]:
        visitors = Visitors(1)
        tasks = [visitors.come("a"), visitors.come("b"), visitors.come("c", is_retry=True)]
        await settled()
        assert visitors.inside == ["a"]
        for name in "acb":
            visitors.leave[name].set()
            await settled()
        await asyncio.gather(*tasks)
        return visitors.inside

    assert run(work()) == ["a", "c", "b"]


def test_a_smaller_window_lets_nobody_in_until_enough_have_left() -> None:
    async def work() -> None:
        visitors = Visitors(2)
        tasks = [visitors.come(name) for name in "abc"]
        await settled()
        visitors.window.refused(visitors.window.round)
        visitors.leave["a"].set()
        await settled()
        assert visitors.inside == ["a", "b"]
        visitors.leave["b"].set()
        await settled()
        assert visitors.inside == ["a", "b", "c"]
        visitors.leave["c"].set()
        await asyncio.gather(*tasks)

    run(work())


def test_who_is_cancelled_while_waiting_leaves_no_place_empty() -> None:
    async def work() -> None:
        visitors = Visitors(1)
        first, second, third = (visitors.come(name) for name in "abc")
        await settled()
        second.cancel()
        visitors.leave["a"].set()
        await settled()
        assert visitors.inside == ["a", "c"]
        visitors.leave["c"].set()
        await asyncio.gather(first, third)

    run(work())


def test_who_is_cancelled_in_the_moment_of_being_let_in_leaves_no_place_empty() -> None:
    async def work() -> None:
        visitors = Visitors(1)
        async with visitors.gate.place(is_retry=False):
            second, third = visitors.come("b"), visitors.come("c")
            await settled()
        second.cancel()  # it has been given the place, and has not run since
        await settled()
        assert visitors.inside == ["c"]
        visitors.leave["c"].set()
        await third

    run(work())


def test_a_closed_gate_opens_by_itself() -> None:
    async def work() -> float:
        visitors = Visitors(2)
        visitors.gate.close_for(0.05)
        visitors.gate.close_for(0.01)
        begun = asyncio.get_running_loop().time()
        task = visitors.come("a")
        visitors.leave["a"].set()
        await task
        return asyncio.get_running_loop().time() - begun

    assert run(work()) >= 0.049


def test_a_closed_gate_lets_the_next_one_in_when_a_slice_has_come_back_and_left_its_room() -> None:
    async def work() -> None:
        visitors = Visitors(2)
        first = visitors.come("a")
        await settled()
        visitors.gate.close_for(60)
        second = visitors.come("b")
        await settled()
        assert visitors.inside == ["a"]
        visitors.gate.open()
        visitors.leave["a"].set()
        await first
        await settled()
        assert visitors.inside == ["a", "b"]
        visitors.leave["b"].set()
        await second

    run(work())
