from __future__ import annotations

import pytest

from cluster.running.patience import LOOK_EVERY_S, TROUBLE_LIMIT_S, Patience
from serve_app.core.errors import SetupError


def watch(*states: str) -> list[str]:
    """What is said when the application is found in these states, one look after the other."""
    said: list[str] = []
    rest = iter(states)
    patience = Patience(lambda: next(rest), said.append)
    for number in range(len(states)):
        patience.look(number * LOOK_EVERY_S)
    return said


def test_a_healthy_application_is_not_mentioned() -> None:
    assert watch("", "", "") == []


def test_trouble_is_told_once_and_so_is_its_end() -> None:
    said = watch("", "Embedder-m is unhealthy", "Embedder-m is unhealthy", "", "")
    assert said == ["Trouble: Embedder-m is unhealthy; Ray Serve is replacing it.", "All is well again."]


def test_it_does_not_look_more_often_than_every_few_seconds() -> None:
    looks: list[str] = []

    def problem() -> str:
        looks.append("look")
        return ""

    patience = Patience(problem, print)
    for tenth in range(10 * int(LOOK_EVERY_S)):
        patience.look(tenth / 10)
    assert len(looks) == 1


def test_trouble_that_lasts_ends_the_cluster() -> None:
    looks = int(TROUBLE_LIMIT_S / LOOK_EVERY_S) + 2
    with pytest.raises(SetupError, match="Embedder-m is unhealthy, for more than 300 s"):
        watch(*["Embedder-m is unhealthy"] * looks)


def test_new_trouble_has_its_own_time() -> None:
    half = ["sick"] * int(TROUBLE_LIMIT_S / LOOK_EVERY_S)
    assert len(watch(*half, "", *half)) == 3
