"""Whether replicas find places on GPUs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.plan.layout import Nodes, Unit, fill, fits

UNITS = st.one_of(
    st.builds(Unit, st.sampled_from([1.0, 0.5, 0.25, 0.125, 0.3])),
    st.builds(Unit, st.just(1.0), st.sampled_from([2, 4, 8])),
)
NODES = st.builds(Nodes, st.integers(1, 20), st.integers(1, 16))


@pytest.mark.parametrize(
    ("nodes", "replicas", "expected"),
    [
        (Nodes(1, 8), [(Unit(1.0), 8)], True),
        (Nodes(1, 8), [(Unit(1.0), 9)], False),
        (Nodes(2, 3), [(Unit(1.0, 2), 2)], True),
        (Nodes(2, 3), [(Unit(1.0, 2), 3)], False),  # six GPUs, but one is left on each node
        (Nodes(2, 3), [(Unit(1.0, 2), 2), (Unit(0.5), 4)], True),
        (Nodes(2, 3), [(Unit(1.0, 2), 2), (Unit(0.5), 5)], False),
        (Nodes(1, 1), [(Unit(0.3), 3)], True),
        (Nodes(1, 1), [(Unit(0.3), 4)], False),
        (Nodes(1, 1), [(Unit(0.5), 1), (Unit(0.25), 2)], True),
        (Nodes(1, 2), [(Unit(0.6), 2), (Unit(0.4), 2)], True),
        (Nodes(1, 2), [(Unit(0.6), 2), (Unit(0.5), 1)], False),
        (Nodes(1, 1), [(Unit(1.0), 0)], True),
        (Nodes(3, 0), [], True),
    ],
)
def test_replicas_find_a_place_or_do_not(nodes: Nodes, replicas: list[tuple[Unit, int]], expected: bool) -> None:
    assert fits(nodes, replicas) is expected


@given(NODES, st.lists(st.tuples(UNITS, st.integers(0, 40)), max_size=4))
def test_what_fits_never_asks_for_more_gpus_than_there_are(nodes: Nodes, replicas: list[tuple[Unit, int]]) -> None:
    asked = sum(unit.gpus * count for unit, count in replicas)
    assert not fits(nodes, replicas) or asked <= nodes.all_gpus + 1e-6


@given(NODES, st.lists(UNITS, min_size=1, max_size=3))
def test_filling_leaves_no_place_for_another(nodes: Nodes, units: list[Unit]) -> None:
    growing = dict(enumerate(units))
    counts = fill(nodes, [], growing) or {}
    placed = [(growing[key], count) for key, count in counts.items()]
    assert fits(nodes, placed)
    assert not counts or not any(fits(nodes, [*placed, (unit, 1)]) for unit in units)


def test_models_share_the_gpus_equally() -> None:
    assert fill(Nodes(2, 8), [], {0: Unit(1.0), 1: Unit(0.5)}) == {0: 8, 1: 16}
    assert fill(Nodes(1, 3), [], {0: Unit(1.0), 1: Unit(1.0)}) == {0: 2, 1: 1}


def test_fixed_replicas_come_first() -> None:
    assert fill(Nodes(1, 8), [(Unit(1.0, 4), 1)], {3: Unit(1.0)}) == {3: 4}
    assert fill(Nodes(1, 8), [(Unit(1.0), 8)], {3: Unit(1.0)}) is None
