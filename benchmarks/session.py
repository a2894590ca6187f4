"""One run of loads: who gets which texts, for how long, in which order. It starts and stops nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from rich.progress import Progress

from benchmarks import rows
from benchmarks.cases import Case
from benchmarks.contestants import Contestant
from benchmarks.load import Load
from benchmarks.rows import Facts, Figures, Row
from benchmarks.texts import SERIALS_A_LOAD

WARM_UP_S = 2.0
TRIAL_S = 2.0
TRIAL_TURNS = 2


class Session:
    """Puts loads on contestants and shows how far it is. Only the two loads of a pair have texts in common."""

    def __init__(self, progress: Progress, pairs: int, seconds: float) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)
        self._serials = count(SERIALS_A_LOAD, SERIALS_A_LOAD)
        self._pairs, self._seconds = pairs, seconds

    def say(self, text: str) -> None:
        self._progress.update(self._task, description=text)

    def expect(self, candidates: Sequence[int]) -> None:
        """Tell the progress bar how much will come: the number of candidates of each case."""
        loads = [1 + 2 * self._pairs + number * (1 + TRIAL_TURNS) for number in candidates]
        self._progress.update(self._task, total=sum(loads))

    def choose(self, candidates: Sequence[Contestant], case: Case) -> tuple[Contestant, dict[str, float]]:
        """The contestant that does best at the case, and what each reached: the better of two short loads, in turns."""
        for contestant in candidates:
            self._load(contestant, case, WARM_UP_S)
        better = min if case.is_lower_better else max
        reached: dict[str, float] = {}
        for contestant in [*candidates] * TRIAL_TURNS:
            value: float = getattr(self._load(contestant, case, TRIAL_S), case.metric)
            reached[contestant.label] = better(value, reached.get(contestant.label, value))
        return better(candidates, key=lambda contestant: reached[contestant.label]), reached

    def alone(self, ours: Contestant, case: Case) -> list[Figures]:
        """The case without a peer, as often as there would be pairs."""
        self._load(ours, case, WARM_UP_S)
        return [self._load(ours, case, self._seconds) for _ in range(self._pairs)]

    def pairs(self, ours: Contestant, candidates: Sequence[Contestant], case: Case, facts: Facts) -> Iterator[Row]:
        """One row a pair, as soon as it is measured; both loads of a pair send the very same texts."""
        peer, trial = self.choose(candidates, case)
        self._load(ours, case, WARM_UP_S)
        for pair in range(1, self._pairs + 1):
            serial = next(self._serials)
            mine = self._load(ours, case, self._seconds, serial)
            theirs = self._load(peer, case, self._seconds, serial)
            yield Row(
                facts=facts,
                date=rows.now(),
                case=case.name,
                connections=case.connections,
                pair=pair,
                seconds=self._seconds,
                peer=peer.label,
                peer_trial=trial,
                ours=mine,
                theirs=theirs,
                ratio=getattr(mine, case.metric) / getattr(theirs, case.metric),
            )

    def _load(self, contestant: Contestant, case: Case, seconds: float, serial: int | None = None) -> Figures:
        self.say(f"{case.name}: {contestant.label}")
        serial = next(self._serials) if serial is None else serial
        figures = contestant.run(Load(case.texts, case.connections, seconds, serial))
        self._progress.advance(self._task)
        return figures
