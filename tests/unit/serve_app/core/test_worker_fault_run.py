"""When faulty vectors put an engine under suspicion."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.inbox import Job
from serve_app.core.step_results import Ledger, StepRows
from serve_app.core.types import Slice
from tests.unit.serve_app.slices import interactive, right_vectors, texts_of

DIMENSIONS = 8
ends = st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=12)


def ended(slice_: Slice, *faulty_rows: int) -> Job:
    """A computed job of which these rows are not finite."""
    job = Job.of(slice_, DIMENSIONS, now=0.0)
    job.vectors[:] = right_vectors(texts_of(slice_))
    job.vectors[list(faulty_rows)] = np.nan
    return job


def is_suspect_after(*jobs: Job) -> bool:
    ledger = Ledger()
    for job in jobs:
        ledger.close_step(StepRows(ended=[job]), 2, 0.01)
    return ledger.is_engine_suspect


def test_three_slices_in_a_row_without_a_good_vector_make_an_engine_suspect() -> None:
    jobs = [ended(interactive(10, [2]), 0), ended(interactive(10, [2]), 0), ended(interactive(20, [2, 2]), 0, 1)]
    assert not is_suspect_after(*jobs[1:])
    assert is_suspect_after(*jobs)


def test_a_slice_with_a_good_vector_ends_the_suspicion() -> None:
    jobs = [ended(interactive(name, [2]), 0) for name in (10, 20, 30)]
    assert not is_suspect_after(*jobs, ended(interactive(40, [2, 2, 2]), 0, 2))


def test_slices_that_end_in_one_step_count_one_by_one() -> None:
    ledger = Ledger()
    jobs = [ended(interactive(10, [2, 2]), 0, 1), ended(interactive(20, [2]), 0), ended(interactive(30, [2]), 0)]
    outcomes, report = ledger.close_step(StepRows(ended=jobs), 8, 0.01)
    assert outcomes == [(job, None) for job in jobs]
    assert [job.faulty for job in jobs] == [{0, 1}, {0}, {0}]
    assert report.faults == 4
    assert ledger.is_engine_suspect


@given(ends)
def test_an_engine_is_suspect_exactly_when_the_last_three_slices_had_no_good_vector(ends: list[list[bool]]) -> None:
    jobs = [
        ended(interactive(10, [2] * len(rows)), *[row for row, is_good in enumerate(rows) if not is_good])
        for rows in ends
    ]
    assert is_suspect_after(*jobs) == (len(ends) >= 3 and not any(map(any, ends[-3:])))
