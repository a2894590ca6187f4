"""How a running cluster is: from what Serve says of it and what its processes have counted, to words and figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from cluster.running.serve_state import ApplicationState, DeploymentState, application_state, sick_proxies
from serve_app.settings import APP_NAME, LiveSettings, embedder_deployment

NOTHING_DEPLOYED = "nothing is deployed: start it with `embedctl deploy`"
ROUTER = "Router"
# as serve_app.telemetry.metrics declares them; a test holds the two together
REQUESTS = "embed_requests_total"
REQUEST_SECONDS = "embed_request_seconds_bucket"
QUEUE_TOKENS = ("embed_queue_tokens", "embed_engine_queue_tokens")
TOKENS_PER_SECOND = "embed_engine_tokens_per_second"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests of one class since the Routers started. Seconds; None before the first request."""

    requests: int
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class ModelState:
    """One served model."""

    name: str
    fingerprint: str
    running: int  # replicas
    wanted: int
    tokens_per_s: float  # computed lately, by all replicas
    queued_tokens: int  # in Routers and replicas
    classes: dict[str, Latency]


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The cluster at one moment; well if it has no problems."""

    application: str
    live_version: str
    routers_running: int
    routers_wanted: int
    models: tuple[ModelState, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what is under way and no problem

    @property
    def is_well(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Figures:
    """Samples of an exposition, summed over all processes."""

    values: dict[str, list[tuple[Labels, float]]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, text: str) -> Figures:
        figures = cls()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                figures.values[sample.name].append((sample.labels, sample.value))
        return figures

    def total(self, names: Iterable[str], **labels: str) -> float:
        """The sum of all samples that have these labels."""
        return sum(
            value
            for name in names
            for own, value in self.values.get(name, ())
            if all(own.get(label) == wanted for label, wanted in labels.items())
        )

    def words(self, name: str, label: str, **labels: str) -> list[str]:
        """The values of one label."""
        found = (own for own, _ in self.values.get(name, ()) if all(own.get(k) == v for k, v in labels.items()))
        return sorted({own[label] for own in found if label in own})

    def quantile(self, name: str, part: float, **labels: str) -> float | None:
        """As `histogram_quantile` has it: linear between the bounds of a bucket, and the last bound above them all."""
        bounds = sorted((float(le), self.total([name], le=le, **labels)) for le in self.words(name, "le", **labels))
        return quantile(bounds, part)


def quantile(bounds: Sequence[tuple[float, float]], part: float) -> float | None:
    """`bounds` are (upper bound, observations up to it), ascending, +Inf last; None without any observation."""
    if not bounds or not bounds[-1][1]:
        return None
    rank = part * bounds[-1][1]
    for (low, below), (high, up_to) in pairwise([(0.0, 0.0), *bounds]):
        if up_to >= rank and up_to > below:
            return low if high == float("inf") else low + (high - low) * (rank - below) / (up_to - below)
    return bounds[-2][0] if len(bounds) > 1 else None


def cluster_status(
    details: Mapping[str, Any] | None, exposition: str | None, cards: Sequence[Mapping[str, Any]]
) -> ClusterStatus:
    """`details` as Serve gives them, None where it does not run; `exposition` as `GET /metrics` does, None if nothing
    answered; `cards` as `GET /v1/models` does.
    """
    state = application_state(details)
    if details is None or state is None:
        return ClusterStatus("NOT_DEPLOYED", "", 0, 0, (), (NOTHING_DEPLOYED,))
    problems = [*state.problems(), *sick_proxies(details)]
    if exposition is None:
        problems.append("no Router answers: figures are missing")
    figures = Figures.of(exposition or "")
    models = tuple(_model(card, state, figures) for card in cards)
    router = state.deployments.get(ROUTER)
    return ClusterStatus(
        application=state.status,
        live_version=live_version(details),
        routers_running=router.running if router is not None else 0,
        routers_wanted=router.wanted if router is not None else 0,
        models=models,
        problems=tuple(problems),
        notes=tuple(state.notes()),
    )


def live_version(details: Mapping[str, Any]) -> str:
    """The version of the settings that the Routers were last told; empty if there are none."""
    router = details["applications"].get(APP_NAME, {}).get("deployments", {}).get(ROUTER, {})
    told = router.get("deployment_config", {}).get("user_config")
    return LiveSettings.model_validate(told).version if told else ""


def _model(card: Mapping[str, Any], state: ApplicationState, figures: Figures) -> ModelState:
    name = str(card["id"])
    deployment = state.deployments.get(embedder_deployment(name))
    return ModelState(
        name=name,
        fingerprint=str(card.get("fingerprint") or ""),
        running=_count(deployment, lambda d: d.running),
        wanted=_count(deployment, lambda d: d.wanted),
        tokens_per_s=figures.total([TOKENS_PER_SECOND], model=name),
        queued_tokens=int(figures.total(QUEUE_TOKENS, model=name)),
        classes={word: _latency(figures, name, word) for word in figures.words(REQUEST_SECONDS, "class", model=name)},
    )


def _count(deployment: DeploymentState | None, of: Callable[[DeploymentState], int]) -> int:
    return of(deployment) if deployment is not None else 0


def _latency(figures: Figures, model: str, word: str) -> Latency:
    labels = {"model": model, "class": word}
    return Latency(
        requests=int(figures.total([REQUESTS], **labels)),
        p50_s=figures.quantile(REQUEST_SECONDS, 0.50, **labels),
        p99_s=figures.quantile(REQUEST_SECONDS, 0.99, **labels),
    )
