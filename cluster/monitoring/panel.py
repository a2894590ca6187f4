"""What a dashboard is made of, before it is Grafana's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["reqps", "s", "percentunit", "bytes", "short", "dtdurations", "percent"]  # Grafana's names
MODEL, RANGE = "$model", "$__rate_interval"  # Grafana fills them in
OF_MODEL = f'model=~"{MODEL}"'


@dataclass(frozen=True, slots=True)
class Query:
    """`legend` may hold labels of the result in double braces."""

    expression: str
    legend: str

    def filled_in(self, model: str = ".*", window: str = "1m") -> str:
        """PromQL without Grafana's variables. `model` is a regular expression."""
        return self.expression.replace(MODEL, model).replace(RANGE, window)


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    unit: Unit
    queries: tuple[Query, ...]
    about: str
    empty_while: str = ""  # on a sound cluster that answers requests it still has no data while this is so


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def rate_of(metric: str, by: str, matching: str = OF_MODEL) -> str:
    """How fast a counter grows in a second, summed over processes."""
    return f"sum by ({by}) (rate({metric}{{{matching}}}[{RANGE}]))"


def quantiles_of(metric: str, by: str, matching: str = OF_MODEL) -> tuple[Query, ...]:
    """Median and 99th percentile of a histogram, by the labels `by`, such as `model, class`."""
    buckets = rate_of(f"{metric}_bucket", f"le, {by}", matching)
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return tuple(
        Query(f"histogram_quantile({quantile}, {buckets})", f"p{quantile * 100:g} {legend}") for quantile in (0.5, 0.99)
    )
