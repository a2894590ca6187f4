"""What the job takes of machines that it shares with the replicas."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.stages.sharing import most_parsers

NICE = "import os; from ingest.stages.sharing import be_nice; old = os.nice(0); be_nice(7); print(os.nice(0) - old)"
COUNTS = st.integers(1, 64)


@given(COUNTS, COUNTS, st.integers(0, 64), st.booleans())
def test_there_is_a_parser_always_and_never_more_than_are_allowed_or_have_work(
    actors: int, units: int, cpus: int, beside_replicas: bool
) -> None:
    assert 1 <= most_parsers(actors, units, cpus, beside_replicas=beside_replicas) <= min(actors, units)


@pytest.mark.parametrize(("cpus", "beside_replicas", "parsers"), [(2, True, 1), (8, True, 4), (2, False, 2)])
def test_where_the_replicas_may_compute_half_of_the_cores_are_left_to_them(
    cpus: int, beside_replicas: bool, parsers: int
) -> None:
    assert most_parsers(16, 100, cpus, beside_replicas=beside_replicas) == parsers


def test_a_process_that_is_nice_yields_the_cores() -> None:
    done = subprocess.run([sys.executable, "-c", NICE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "7"
