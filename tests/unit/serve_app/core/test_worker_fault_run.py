"""When faulty vectors are the engine's doing, and when they are their texts'."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.inbox import Job
from serve_app.core.step_results import FaultRun, Ledger, StepRows
from serve_app.core.types import Slice
from tests.unit.serve_app.slices import interactive, right_vectors, texts_of

DIMENSIONS = 8
ends = st.lists(st.tuples(st.integers(1, 4), st.lists(st.booleans(), min_size=1, max_size=3)), max_size=12)


def ended(slice_: Slice, *faulty_rows: int) -> Job:
    """A computed job of which these rows are not finite."""
    job = Job.of(slice_, DIMENSIONS, now=0.0)
    job.vectors[:] = right_vectors(texts_of(slice_))
    job.vectors[list(faulty_rows)] = np.nan
    return job


def run_after(*jobs: Job) -> FaultRun:
    ledger = Ledger()
    for job in jobs:
        ledger.close_step(StepRows(ended=[job]), 0.01)
    return ledger.fault_run


def test_three_slices_of_several_texts_without_a_good_vector_blame_the_engine() -> None:
    jobs = [ended(interactive(10, [2]), 0), ended(interactive(10, [2]), 0), ended(interactive(20, [2, 2]), 0, 1)]
    assert not run_after(*jobs[1:]).blames_engine
    assert run_after(*jobs).blames_engine


def test_one_text_however_often_it_fails_does_not_blame_the_engine() -> None:
    run = run_after(*[ended(interactive(10, [2]), 0) for _ in range(50)])
    assert run.slices == 50
    assert not run.blames_engine


def test_a_slice_with_a_good_vector_ends_the_run() -> None:
    jobs = [ended(interactive(name, [2]), 0) for name in (10, 20, 30)]
    run = run_after(*jobs, ended(interactive(40, [2, 2, 2]), 0, 2))
    assert run.slices == 0
    assert not run.blames_engine


def test_other_texts_of_an_earlier_run_do_not_count() -> None:
    poison = [ended(interactive(10, [2]), 0) for _ in range(3)]
    run = run_after(*[ended(interactive(name, [2]), 0) for name in (20, 30)], ended(interactive(40, [2])), *poison)
    assert run.slices == 3
    assert not run.blames_engine


def test_slices_that_end_in_one_step_count_one_by_one() -> None:
    ledger = Ledger()
    jobs = [ended(interactive(10, [2, 2]), 0, 1), ended(interactive(20, [2]), 0), ended(interactive(30, [2]), 0)]
    outcomes, report = ledger.close_step(StepRows(ended=jobs), 0.01)
    assert outcomes == [(job, None) for job in jobs]
    assert [job.faulty for job in jobs] == [{0, 1}, {0}, {0}]
    assert report.faults == 4
    assert ledger.fault_run.blames_engine


@given(ends)
def test_the_engine_is_blamed_exactly_when_the_last_slices_were_all_bad_and_not_all_one_text(
    ends: list[tuple[int, list[bool]]],
) -> None:
    jobs = [
        ended(interactive(10 * name, [2] * len(rows)), *[row for row, is_good in enumerate(rows) if not is_good])
        for name, rows in ends
    ]
    last_good = max((index for index, (_, rows) in enumerate(ends) if any(rows)), default=-1)
    tail = ends[last_good + 1 :]
    texts = {10 * name + row for name, rows in tail for row in range(len(rows))}
    assert run_after(*jobs).blames_engine == (len(tail) >= 3 and len(texts) >= 2)
