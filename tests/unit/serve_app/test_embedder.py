"""The replica on a deterministic engine: its answers, its refusals, its health and its metrics."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray import serve

from serve_app import embedder as module
from serve_app.core.errors import EngineFailed, InputTooLong, InvalidRequest, ReplicaUnavailable, SetupError
from serve_app.core.types import Priority, Slice, TokenIds
from serve_app.embedder import Embedder
from serve_app.model.golden import write_golden
from serve_app.settings import EngineSettings, ModelSettings
from serve_app.telemetry.recorder import Recorder
from tests.engines.deterministic import DeterministicEngine, Vector, unit_vector
from tests.unit.serve_app.core.running import Gate
from tests.unit.serve_app.profiles import QWEN3
from tests.unit.serve_app.slices import FOREVER_S, bulk, interactive, right_vectors, texts_of

DIMENSIONS = 16
PROFILE = replace(QWEN3, native_dimensions=DIMENSIONS, max_tokens=500)
Make = Callable[..., Embedder]


def broken_after_start(ids: TokenIds, dimensions: int) -> Vector:
    """NaN for texts that begin with 666, as none does that is computed before the replica is ready."""
    return np.full(dimensions, np.nan, dtype=np.float32) if ids[0] == 666 else unit_vector(ids, dimensions)


def no_leave() -> None:
    pytest.fail("the process would have ended")


def crash() -> None:
    raise RuntimeError("the device fell off the bus")


@pytest.fixture
def left(make: Make, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set where the process would end, soon after it is decided."""
    event = asyncio.Event()
    monkeypatch.setattr(module, "_leave", event.set)
    monkeypatch.setattr(module, "LEAVE_AFTER_S", 0.01)
    return event


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[Embedder] = []

    def make_embedder(computes: DeterministicEngine, **settings: object) -> Embedder:
        monkeypatch.setattr(module, "VllmEngine", lambda *_: computes)
        made.append(Embedder(ModelSettings(path="m").model_copy(update=settings)))
        return made[-1]

    monkeypatch.setattr(module, "locate", lambda *_, **__: Path())
    monkeypatch.setattr(module, "read_profile", lambda *_: PROFILE)
    monkeypatch.setattr(module, "Recorder", lambda _: Recorder())
    monkeypatch.setattr(module, "_leave", no_leave)
    usual = sys.getswitchinterval()
    yield make_embedder
    sys.setswitchinterval(usual)
    for embedder in made:
        embedder._worker.stop()


def engine(**options: object) -> DeterministicEngine:
    return DeterministicEngine(DIMENSIONS, **options)  # type: ignore[arg-type]


def test_an_answer_says_what_computed_it_and_how_fast(make: Make) -> None:
    slice_ = interactive(10, [3, 4])
    answer = asyncio.run(make(engine()).embed(slice_))
    np.testing.assert_array_equal(answer.vectors, right_vectors(texts_of(slice_), DIMENSIONS))
    assert answer.fingerprint == PROFILE.fingerprint
    assert answer.tokens_per_s > 0
    assert answer.replica


def test_a_replica_tells_its_own_load_and_what_waits_for_it_at_senders(make: Make) -> None:
    async def work() -> dict[str, float]:
        await embedder.record_autoscaling_stats()
        for sender, backlog in (("router 1", 99.0), ("router 1", 20.0), ("router 2", 5.0), ("", 0.0)):
            await embedder.embed(replace(interactive(10, [3, 4]), sender=sender, backlog_tokens=backlog))
        return await embedder.record_autoscaling_stats()

    embedder = make(engine())
    stats = asyncio.run(work())
    assert (stats["queued_tokens"], stats["backlog_tokens"]) == (0.0, 25.0)
    assert stats["done_tokens_per_s"] > 0
    assert stats["speed_tokens_per_s"] > 0


@pytest.mark.parametrize(("capacity", "longest"), [(10**6, 500), (300, 300)])
def test_a_text_that_does_not_fit_model_or_memory_is_refused_with_both_numbers(
    make: Make, capacity: int, longest: int
) -> None:
    embedder = make(engine(capacity_tokens=capacity))
    assert asyncio.run(embedder.embed(bulk(10, [1, longest]))).vectors.shape == (2, DIMENSIONS)
    with pytest.raises(InputTooLong, match=f"has {longest + 1} tokens and at most {longest} fit"):
        asyncio.run(embedder.embed(bulk(10, [1, longest + 1])))


@pytest.mark.parametrize(
    "slice_",
    [
        Slice.of([np.array([-1], dtype=np.int32)], Priority.BULK, FOREVER_S),
        Slice.of([np.array([PROFILE.vocab_size], dtype=np.int32)], Priority.BULK, FOREVER_S),
        Slice.of([np.array([1], dtype=np.int32), np.array([], dtype=np.int32)], Priority.BULK, FOREVER_S),
        Slice(np.array([], dtype=np.int32), np.array([0]), Priority.BULK, FOREVER_S),
    ],
    ids=["negative id", "unknown id", "empty text", "no text"],
)
def test_a_slice_that_makes_no_sense_is_refused(make: Make, slice_: Slice) -> None:
    with pytest.raises(InvalidRequest):
        asyncio.run(make(engine()).embed(slice_))


def test_garbage_is_collected_again_once_the_engine_is_built_or_failed_to_be(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def refuse(*_: object) -> None:
        seen.append(gc.isenabled())
        raise SetupError("vLLM cannot run it.")

    monkeypatch.setattr(module, "VllmEngine", refuse)
    with pytest.raises(SetupError):
        Embedder(ModelSettings(path="somewhere"))
    assert seen == [False]
    assert gc.isenabled()


def test_a_replica_whose_engine_fails_its_check_does_not_start(make: Make) -> None:
    with pytest.raises(SetupError, match="unit vectors of 16 dimensions"):
        make(DeterministicEngine(8))


def test_a_replica_that_does_not_reproduce_its_reference_vectors_does_not_start(make: Make, tmp_path: Path) -> None:
    texts = texts_of(interactive(10, [3, 4]))
    write_golden(tmp_path / "golden.json", "qwen3", texts, right_vectors(texts, DIMENSIONS)[::-1])
    with pytest.raises(SetupError, match="does not reproduce"):
        make(engine(), golden=str(tmp_path / "golden.json"))


def test_a_working_replica_is_healthy(make: Make) -> None:
    async def work() -> None:
        await embedder.check_health()
        await embedder.embed(interactive(10, [3]))
        await embedder.check_health()

    embedder = make(engine())
    asyncio.run(work())


def test_a_stuck_replica_fails_what_it_holds_and_is_unhealthy_from_then_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        waiting = [asyncio.create_task(embedder.embed(interactive(name, [3]))) for name in (10, 20)]
        await asyncio.to_thread(gate.await_step)
        await embedder.check_health()
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 31))
        with pytest.raises(EngineFailed, match="computed nothing for too long"):
            await embedder.check_health()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [ReplicaUnavailable] * 2
        with pytest.raises(ReplicaUnavailable):
            await embedder.embed(interactive(30, [3]))
        gate.open()
        embedder._worker.stop()
        with pytest.raises(EngineFailed, match="has stopped"):
            await embedder.check_health()

    gate, stuck = Gate(), engine()
    embedder = make(stuck, engine=EngineSettings(stuck_after_s=30))
    stuck.on_step = gate.hold
    try:
        asyncio.run(work())
    finally:
        gate.open()  # or a failed test would wait for the engine


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_process_ends_after_a_crash_of_the_engine_but_not_before_its_failures_are_out(
    make: Make, left: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(name: int) -> bool:
        with pytest.raises(ReplicaUnavailable, match="has stopped"):
            await embedder.embed(interactive(name, [3]))
        return left.is_set()

    async def work() -> None:
        assert not any(await asyncio.gather(fail(10), fail(20)))
        with pytest.raises(ReplicaUnavailable, match="has stopped"):
            await embedder.describe()
        await asyncio.wait_for(left.wait(), 5.0)

    crashing = engine()
    embedder = make(crashing)
    crashing.on_step = crash
    with caplog.at_level(logging.ERROR, "ray.serve"):
        asyncio.run(work())
    assert [record.message for record in caplog.records if "process ends" in record.message] == [
        "The engine of this replica has stopped: the process ends, so that it gets no more slices."
    ]


def test_a_replica_describes_itself_until_its_engine_is_stuck_and_leaves_when_it_is_given_up(
    make: Make, left: asyncio.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        waiting = asyncio.create_task(embedder.embed(interactive(10, [3])))
        await asyncio.to_thread(gate.await_step)
        assert await embedder.describe() == PROFILE
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 31))
        with pytest.raises(ReplicaUnavailable, match="has stopped"):
            await embedder.describe()
        assert not waiting.done()  # a Router that asks decides nothing
        for _ in range(2):
            with pytest.raises(EngineFailed, match="computed nothing for too long"):
                await embedder.check_health()
        with pytest.raises(ReplicaUnavailable):
            await waiting
        assert not left.is_set()
        await asyncio.wait_for(left.wait(), 5.0)
        assert len([record for record in caplog.records if "process ends" in record.message]) == 1

    gate, stuck = Gate(), engine()
    embedder = make(stuck, engine=EngineSettings(stuck_after_s=30))
    stuck.on_step = gate.hold
    try:
        asyncio.run(work())
    finally:
        gate.open()  # or a failed test would wait for the engine


def test_no_number_of_texts_that_the_model_cannot_compute_makes_a_replica_unhealthy(make: Make) -> None:
    async def work() -> None:
        for length in range(3, 9):
            assert (await embedder.embed(interactive(666, [length]))).faulty == {0}
            await embedder.check_health()
        for _ in range(20):
            await embedder.embed(interactive(666, [3]))
        await embedder.check_health()

    embedder = make(engine(vector_of=broken_after_start))
    asyncio.run(work())


def test_an_engine_that_no_longer_computes_what_it_could_at_the_start_makes_its_replica_unhealthy(make: Make) -> None:
    async def work() -> None:
        for length in (3, 4):
            await embedder.embed(interactive(10, [length]))
            await embedder.check_health()
        await embedder.embed(interactive(10, [5]))
        with pytest.raises(EngineFailed, match="the texts that it began with"):
            await embedder.check_health()

    ill = engine()
    embedder = make(ill)
    ill._vector_of = lambda _, dimensions: np.full(dimensions, np.nan, dtype=np.float32)
    asyncio.run(work())


def test_an_engine_that_fails_at_long_texts_only_makes_its_replica_unhealthy_too(make: Make) -> None:
    def ill_when_long(ids: TokenIds, dimensions: int) -> Vector:
        return np.zeros(dimensions, dtype=np.float32) if len(ids) >= 50 else unit_vector(ids, dimensions)

    async def work() -> None:
        for name in (10, 20, 30):
            await embedder.embed(interactive(name, [60]))
        with pytest.raises(EngineFailed):
            await embedder.check_health()

    ill = engine()
    embedder = make(ill)
    ill._vector_of = ill_when_long
    asyncio.run(work())


def test_a_replica_that_is_not_under_suspicion_proves_nothing(make: Make) -> None:
    async def work() -> None:
        for name in (10, 666, 667, 20):
            await embedder.embed(interactive(name, [3]))
        before = len(sound.added)
        await embedder.check_health()
        assert len(sound.added) == before

    sound = engine(vector_of=broken_after_start)
    embedder = make(sound)
    asyncio.run(work())


def test_a_bad_vector_among_good_ones_is_named_and_never_makes_a_replica_unhealthy(make: Make) -> None:
    async def work() -> None:
        for length in range(3, 8):
            slice_ = interactive(665, [length, length])
            answer = await embedder.embed(slice_)
            assert answer.faulty == {1}
            np.testing.assert_array_equal(answer.vectors[0], right_vectors(texts_of(slice_), DIMENSIONS)[0])
        await embedder.check_health()

    embedder = make(engine(vector_of=broken_after_start))
    asyncio.run(work())


def test_the_metrics_count_what_was_served_but_not_the_check_before(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="r1"))
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)

    async def work() -> tuple[str, bytes]:
        await embedder.embed(bulk(10, [3, 4]))
        embedder._worker.stop()  # the last step's report follows its answers
        return await embedder.metrics()

    embedder = make(engine())
    samples = asyncio.run(work())[1].decode()
    assert f'embed_engine_texts_total{{class="bulk",model="{PROFILE.name}"}} 2.0' in samples
    assert f'embed_engine_tokens_total{{class="bulk",model="{PROFILE.name}"}} 7.0' in samples
