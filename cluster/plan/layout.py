"""Whether replicas find places on GPUs, and how many do: nodes are alike, a split replica stays within one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GRAIN = 10_000  # Ray counts resources in ten-thousandths


@dataclass(frozen=True, slots=True)
class Unit:
    """The GPUs of one replica: `split` whole ones, or a `part` of one."""

    part: float
    split: int = 1

    @property
    def gpus(self) -> float:
        return self.part * self.split


@dataclass(frozen=True, slots=True)
class Nodes:
    count: int
    gpus: int

    @property
    def all_gpus(self) -> int:
        return self.count * self.gpus


def fits(nodes: Nodes, replicas: Sequence[tuple[Unit, int]]) -> bool:
    """Whether all find a place, the largest first."""
    free = _without_split(nodes, [(unit, count) for unit, count in replicas if unit.split > 1])
    if free is None:
        return False
    rooms: Counter[int] = Counter({GRAIN: free})  # GPUs by the part of them that is free
    for unit, count in sorted(replicas, key=lambda replica: -replica[0].gpus):
        if unit.split == 1 and not _take(rooms, round(unit.part * GRAIN), count):
            return False
    return True


def _without_split(nodes: Nodes, replicas: list[tuple[Unit, int]]) -> int | None:
    """GPUs that are left when these are placed, None if they cannot be."""
    free = [nodes.gpus] * nodes.count
    for unit, count in sorted(replicas, key=lambda replica: -replica[0].split):
        left = count
        for node, gpus in enumerate(free):
            taken = min(left, gpus // unit.split)
            free[node] -= taken * unit.split
            left -= taken
        if left:
            return None
    return sum(free)


def _take(rooms: Counter[int], part: int, count: int) -> bool:
    """Put replicas into the smallest rooms that suffice; `rooms` keeps what is left."""
    for room in sorted(size for size in rooms if size >= part):
        each = room // part
        gpus = min(rooms[room], count // each)  # filled with as many as they hold
        rooms[room] -= gpus
        rooms[room - each * part] += gpus
        count -= gpus * each
        if 0 < count < each and rooms[room]:
            rooms[room] -= 1
            rooms[room - count * part] += 1
            count = 0
    return count == 0


def fill(nodes: Nodes, fixed: Sequence[tuple[Unit, int]], growing: Mapping[int, Unit]) -> dict[int, int] | None:
    """How many replicas each of the `growing` models gets beside the `fixed` ones: equal parts of the GPUs, and the
    rest in turn. None if there is not even one for each.
    """

    def counts(gpus: float) -> dict[int, int]:
        return {key: max(1, int(gpus / unit.gpus + 1e-9)) for key, unit in growing.items()}

    def fit(wanted: Mapping[int, int]) -> bool:
        return fits(nodes, [*fixed, *((growing[key], count) for key, count in wanted.items())])

    if not fit(counts(0)):
        return None
    if not growing:
        return {}
    low, high = 0, 16 * (nodes.all_gpus + 1)  # sixteenths of a GPU for each model: those of `low` fit, of `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fit(counts(middle / 16)) else (low, middle)
    best = counts(low / 16)
    for key in growing:
        while fit(best | {key: best[key] + 1}):
            best[key] += 1
    return best
