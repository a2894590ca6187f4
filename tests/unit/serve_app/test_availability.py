"""A gate over a probe that the test answers, on a clock that runs as fast as the test wants."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.core.errors import ReplicaUnavailable
from serve_app.core.profile import ModelProfile
from serve_app.dispatch.availability import ASSUMED_START_S, ReplicaGate
from tests.unit.serve_app.dispatching import CLIENT, MODEL, PROFILE, Probe, on_a_loop, settle
from tests.unit.serve_app.slices import FOREVER_S


@on_a_loop
async def test_a_gate_starts_up() -> None:
    gate = ReplicaGate(Probe().describe, MODEL)
    assert gate.is_up
    gate.check(FOREVER_S)


@on_a_loop
async def test_a_suspicion_that_a_replica_answers_changes_nothing() -> None:
    gate = ReplicaGate(Probe().describe, MODEL)
    assert await gate.suspect()
    gate.check(FOREVER_S)


@on_a_loop
async def test_suspicions_at_the_same_time_share_one_probe() -> None:
    probe = Probe()
    gate = ReplicaGate(probe.describe, MODEL)
    assert await asyncio.gather(*(gate.suspect() for _ in range(5))) == [True] * 5
    assert probe.asked == 1


@on_a_loop
async def test_one_that_asks_and_gives_up_does_not_end_the_probe_of_the_others() -> None:
    probe = Probe()
    probe.park()
    gate = ReplicaGate(probe.describe, MODEL)
    asking = [asyncio.create_task(gate.suspect()) for _ in range(2)]
    await settle()
    asking[0].cancel()
    await settle()
    probe.come_back()
    assert await asking[1]
    assert probe.asked == 1


@on_a_loop
async def test_a_probe_that_hangs_closes_the_gate_until_one_answers() -> None:
    probe = Probe()
    probe.park()
    gate = ReplicaGate(probe.describe, MODEL)
    assert not await gate.suspect()
    with pytest.raises(ReplicaUnavailable, match=f"No replica of {MODEL} answers") as closed:
        gate.check(FOREVER_S)
    assert closed.value.retry_after_s == pytest.approx(ASSUMED_START_S - 1.0, abs=0.5)
    assert not await gate.suspect()  # known already, and answered at once
    probe.come_back()
    await settle()
    gate.check(FOREVER_S)


@on_a_loop
async def test_a_gate_that_nobody_watches_any_more_does_not_stay_shut() -> None:
    async def describe() -> ModelProfile:
        if not asked:
            asked.append("once")
            await asyncio.Event().wait()
        raise AttributeError("a profile of another release")

    asked: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # asyncio tells of the watch that ended so
    gate = ReplicaGate(describe, MODEL)
    assert not await gate.suspect()
    await settle()
    gate.check(FOREVER_S)


@on_a_loop
async def test_the_next_outage_is_expected_to_last_as_long_as_this_one_but_never_less_than_a_second() -> None:
    probe = Probe()
    gate = ReplicaGate(probe.describe, MODEL)
    probe.park()
    await gate.suspect()
    probe.come_back()
    await settle()
    probe.park()
    await gate.suspect()
    assert gate.error().retry_after_s == 1.0


class FlakyProbe(Probe):
    """Fails a number of times, then answers."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self._failures = failures

    async def describe(self) -> ModelProfile:
        self.asked += 1
        while self.asked <= self._failures:
            raise ReplicaUnavailable("Died.")
        return PROFILE


@on_a_loop
async def test_a_probe_that_meets_the_dead_replica_is_repeated() -> None:
    probe = FlakyProbe(failures=1)
    gate = ReplicaGate(probe.describe, MODEL)
    assert await gate.suspect()
    assert probe.asked == 2


@on_a_loop
async def test_probes_that_only_fail_close_the_gate_until_one_answers() -> None:
    gate = ReplicaGate(FlakyProbe(failures=40).describe, MODEL)
    assert not await gate.suspect()
    await asyncio.sleep(10.0)
    gate.check(FOREVER_S)


@on_a_loop
async def test_probes_do_not_run_in_the_context_of_whoever_suspects() -> None:
    probe = Probe()
    probe.park()
    gate = ReplicaGate(probe.describe, MODEL)
    CLIENT.set("somebody")
    assert not await gate.suspect()
    await settle()
    assert probe.clients == ["nobody", "nobody"]  # whether one answers, and when
    probe.come_back()
    await settle()
    assert gate.is_up
