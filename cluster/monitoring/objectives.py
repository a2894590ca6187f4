"""Service level objectives, and the alerts on how fast their error budgets burn.

An objective says which part of the requests may be bad in 30 days. The burn rate is how many times faster than
that they go bad now. An alert needs a long window, so that little things wake nobody, and a short one, so that it
ends soon after the trouble does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.monitoring.rule import Alert, Record

LATENCY_LIMIT_S = 1.0  # a bound of the histogram
LEAST_BAD = 5  # below so many bad requests in the long window it may be one client's bad luck
ELIGIBLE = 'status!~"4.."'  # what clients do wrong, and what was refused for being too much, is not ours to answer for


@dataclass(frozen=True, slots=True)
class Objective:
    """`bad` and `all` are PromQL of counters grouped by model, in which `WINDOW` stands for a range."""

    name: str  # in the names of its rules
    budget: float  # part of the requests that may be bad
    bad: str
    all: str
    alert: str  # prefix of its alerts
    means: str  # what a bad request is, in words


ERRORS = Objective(
    "errors",
    0.001,
    'sum by (model) (increase(ray_embed_requests_total{status=~"5.."}[WINDOW]))',
    f"sum by (model) (increase(ray_embed_requests_total{{{ELIGIBLE}}}[WINDOW]))",
    "EmbedErrorBudget",
    "end in a server error",
)
_INTERACTIVE = 'sum by (model) (increase(ray_embed_request_seconds_count{class="interactive"}[WINDOW]))'
SLOW = Objective(
    "slow",
    0.01,
    f"{_INTERACTIVE} - sum by (model)"
    f' (increase(ray_embed_request_seconds_bucket{{class="interactive",le="{LATENCY_LIMIT_S}"}}[WINDOW]))',
    _INTERACTIVE,
    "EmbedLatencyBudget",
    f"of the class interactive take longer than {LATENCY_LIMIT_S:g} s",
)
OBJECTIVES = (ERRORS, SLOW)


@dataclass(frozen=True, slots=True)
class Burn:
    times: float
    long: str
    short: str


PAGE = (Burn(14.4, "1h", "5m"), Burn(6, "6h", "30m"))  # 2 % of a month's budget in an hour, 5 % in six
TICKET = (Burn(1, "3d", "6h"),)
HOURS, DAYS = ("5m", "30m", "1h"), ("6h", "3d")  # the windows; long ones cost more to work out and change slowly


def records(windows: Sequence[str]) -> list[Record]:
    return [
        record
        for objective in OBJECTIVES
        for window in windows
        for record in (
            Record(_bad(objective, window), _bad_expression(objective, window)),
            Record(
                ratio(objective, window),
                f"{_bad(objective, window)} / ({objective.all.replace('WINDOW', window)} > 0)",
            ),
        )
    ]


def ratio(objective: Objective, window: str) -> str:
    """Name of the recorded part of the requests that were bad, by model."""
    return f"model:embed_{objective.name}:ratio{window}"


def fast(objective: Objective) -> Alert:
    """For burning that somebody has to stop now."""
    return Alert(
        f"{objective.alert}Fast",
        "page",
        _burning(objective, PAGE),
        "2m",
        f"Too many requests for {{{{ $labels.model }}}} {objective.means}",
        f"{{{{ $value | humanizePercentage }}}} of the requests {objective.means}; {objective.budget:.1%} may. "
        "A month's error budget would be gone within days.",
    )


def slow(objective: Objective) -> Alert:
    """For burning that a month's budget does not last for."""
    return Alert(
        f"{objective.alert}Slow",
        "ticket",
        _burning(objective, TICKET),
        "1h",
        f"Requests for {{{{ $labels.model }}}} {objective.means} more often than agreed",
        f"Over three days {{{{ $value | humanizePercentage }}}} of the requests {objective.means}; "
        f"{objective.budget:.1%} may.",
    )


def _burning(objective: Objective, burns: tuple[Burn, ...]) -> str:
    return "\nor ".join(
        f"({ratio(objective, burn.long)} > {burn.times * objective.budget:g}"
        f" and {ratio(objective, burn.short)} > {burn.times * objective.budget:g}"
        f" and {_bad(objective, burn.long)} >= {LEAST_BAD})"
        for burn in burns
    )


def _bad(objective: Objective, window: str) -> str:
    return f"model:embed_{objective.name}:increase{window}"


def _bad_expression(objective: Objective, window: str) -> str:
    """Zero, and not nothing, while no request has ever been bad."""
    return f"({objective.bad} or {objective.all} * 0)".replace("WINDOW", window)
