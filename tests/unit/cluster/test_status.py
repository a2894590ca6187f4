from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.running.serve_state import application_state, cause_of, replaced, sick_proxies
from cluster.running.status import ClusterStatus, Figures, cluster_status, quantile
from serve_app.settings import LiveSettings
from serve_app.telemetry import metrics
from serve_app.telemetry.recorder import Recorder

INF = float("inf")
CARD = {"id": "tiny", "fingerprint": "tiny-0011"}
EXPOSITION = """
# HELP embed_requests_total Answered requests.
# TYPE embed_requests_total counter
embed_requests_total{replica="r1",model="tiny",class="interactive",status="200"} 6.0
embed_requests_total{replica="r2",model="tiny",class="interactive",status="429"} 4.0
embed_requests_total{replica="r2",model="other",class="interactive",status="200"} 50.0
# HELP embed_request_seconds x
# TYPE embed_request_seconds histogram
embed_request_seconds_bucket{replica="r1",model="tiny",class="interactive",le="0.1"} 2.0
embed_request_seconds_bucket{replica="r1",model="tiny",class="interactive",le="0.5"} 5.0
embed_request_seconds_bucket{replica="r1",model="tiny",class="interactive",le="+Inf"} 5.0
embed_request_seconds_bucket{replica="r2",model="tiny",class="interactive",le="0.1"} 3.0
embed_request_seconds_bucket{replica="r2",model="tiny",class="interactive",le="0.5"} 5.0
embed_request_seconds_bucket{replica="r2",model="tiny",class="interactive",le="+Inf"} 5.0
# HELP embed_queue_tokens x
# TYPE embed_queue_tokens gauge
embed_queue_tokens{replica="r1",model="tiny",class="interactive"} 10.0
embed_queue_tokens{replica="r1",model="tiny",class="bulk"} 20.0
# HELP embed_engine_queue_tokens x
# TYPE embed_engine_queue_tokens gauge
embed_engine_queue_tokens{replica="e1",model="tiny",class="bulk"} 5.0
# HELP embed_engine_tokens_per_second x
# TYPE embed_engine_tokens_per_second gauge
embed_engine_tokens_per_second{replica="e1",model="tiny"} 100.0
embed_engine_tokens_per_second{replica="e2",model="tiny"} 150.0
"""


def deployment(*states: str, wanted: int = 1, status: str = "HEALTHY", message: str = "", first: int = 0) -> Any:
    replicas = [{"replica_id": f"r{first + index}", "state": state} for index, state in enumerate(states)]
    return {"status": status, "message": message, "target_num_replicas": wanted, "replicas": replicas}


def details(status: str = "RUNNING", *, proxy: str = "HEALTHY", **deployments: Any) -> dict[str, Any]:
    """As Serve gives them; `Embedder_tiny` stands for the deployment `Embedder-tiny`."""
    known = {"Router": deployment("RUNNING"), "Embedder_tiny": deployment("RUNNING"), **deployments}
    named = {name.replace("_", "-"): entry for name, entry in known.items()}
    return {
        "applications": {"embed": {"status": status, "message": "", "deployments": named}},
        "proxies": {"ab12": {"status": proxy, "node_ip": "10.0.0.2"}},
    }


def read(found: dict[str, Any] | None) -> ClusterStatus:
    return cluster_status(found, EXPOSITION, [CARD])


def test_a_cluster_without_anything_wrong_is_well() -> None:
    status = read(details())
    assert (status.is_well, status.application, status.routers_running, status.routers_wanted) == (
        True,
        "RUNNING",
        1,
        1,
    )


def test_figures_of_a_model_are_summed_over_its_processes_and_leave_other_models_out() -> None:
    (model,) = read(details(Embedder_tiny=deployment("RUNNING", "RUNNING", wanted=2))).models
    assert (model.name, model.fingerprint, model.running, model.wanted) == ("tiny", "tiny-0011", 2, 2)
    assert (model.tokens_per_s, model.queued_tokens) == (250.0, 35)
    latency = model.classes["interactive"]
    assert latency.requests == 10
    assert latency.p50_s == pytest.approx(0.1)
    assert latency.p99_s == pytest.approx(0.1 + 0.4 * (9.9 - 5) / 5)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "nothing is deployed: start it with `embedctl deploy`"),
        ({"applications": {"other": {"status": "RUNNING"}}}, "nothing is deployed: start it with `embedctl deploy`"),
        (details(proxy="UNHEALTHY"), "the HTTP proxy of node 10.0.0.2 is unhealthy"),
        (
            details(Embedder_tiny=deployment("RUNNING", "STARTING", wanted=2)),
            "Embedder-tiny: 1 of 2 replicas run, the others are on their way",
        ),
        (
            details(
                "UNHEALTHY",
                Embedder_tiny=deployment(
                    "RUNNING",
                    wanted=2,
                    status="UNHEALTHY",
                    message="Traceback:\n  somewhere\nEngineFailed: x\nserve_app.SetupError: No GPU.",
                ),
            ),
            "Embedder-tiny: 1 of 2 replicas run, it is unhealthy: serve_app.SetupError: No GPU.",
        ),
        (
            details("DEPLOYING", Embedder_tiny=deployment("RUNNING", "STARTING", status="UPDATING")),
            "Embedder-tiny: 1 of 1 replicas run, it is being updated",
        ),
    ],
)
def test_a_problem_is_said_in_words(found: dict[str, Any] | None, problem: str) -> None:
    status = read(found)
    assert status.problems == (problem,)
    assert not status.is_well


def test_replicas_that_the_load_has_asked_for_are_no_problem_and_are_told_of() -> None:
    growing = deployment("RUNNING", "STARTING", wanted=2, status="UPSCALING", message="Upscaling from 1 to 2 replicas.")
    status = read(details(Embedder_tiny=growing))
    assert status.is_well
    assert status.notes == ("Embedder-tiny: 1 of 2 replicas run: Upscaling from 1 to 2 replicas.",)


def test_a_deployment_that_brings_more_replicas_is_not_done_before_they_run() -> None:
    growing = deployment("RUNNING", "STARTING", wanted=2, status="UPSCALING")
    status = read(details("DEPLOYING", Embedder_tiny=growing))
    assert (status.problems, status.notes) == (("Embedder-tiny: 1 of 2 replicas run, it is being updated",), ())


def test_a_model_that_sleeps_is_well() -> None:
    assert read(details(Embedder_tiny=deployment(wanted=0))).is_well


def test_a_cluster_that_answers_no_scrape_has_that_problem_and_no_figures() -> None:
    status = cluster_status(details(), None, [CARD])
    assert status.problems == ("no Router answers: figures are missing",)
    assert (status.models[0].tokens_per_s, status.models[0].classes) == (0.0, {})


def test_the_live_version_is_that_of_what_the_routers_were_told() -> None:
    live = LiveSettings(presets={"faq": "Find the answer"})
    router = {**deployment("RUNNING"), "deployment_config": {"user_config": live.model_dump()}}
    assert read(details(Router=router)).live_version == live.version


def test_the_names_of_metrics_are_those_that_serving_declares() -> None:
    recorder = Recorder()
    recorder.inc(metrics.REQUESTS, 1, "tiny", "bulk", "200")
    recorder.observe(metrics.REQUEST_SECONDS, 0.2, "tiny", "bulk")
    recorder.set(metrics.QUEUE_TOKENS, 1, "tiny", "bulk")
    recorder.set(metrics.ENGINE_QUEUE_TOKENS, 2, "tiny", "bulk")
    recorder.set(metrics.ENGINE_TOKENS_PER_SECOND, 7, "tiny")
    (model,) = cluster_status(details(), recorder.samples().decode(), [CARD]).models
    assert (model.queued_tokens, model.tokens_per_s, model.classes["bulk"].requests) == (3, 7.0, 1)
    assert model.classes["bulk"].p50_s == pytest.approx(0.15)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_higher_quantile_is_never_lower_and_none_is_beyond_the_bounds(
    counts: list[int], low: float, high: float
) -> None:
    low, high = sorted((low, high))
    bounds = [(float(index + 1), float(sum(counts[: index + 1]))) for index in range(len(counts))]
    bounds.append((INF, bounds[-1][1] + 3))
    lower, higher = quantile(bounds, low), quantile(bounds, high)
    assert lower is not None
    assert higher is not None
    assert 0 <= lower <= higher <= len(counts)


def test_there_is_no_quantile_of_nothing() -> None:
    assert (quantile([], 0.5), quantile([(1.0, 0.0), (INF, 0.0)], 0.5)) == (None, None)


def test_what_was_replaced_and_what_stayed_is_told_apart() -> None:
    before = application_state(details(Gone=deployment("RUNNING", first=5)))
    after = application_state(
        details(Router=deployment("RUNNING", first=7), New=deployment("RUNNING", first=8)),
    )
    assert after is not None
    assert (
        replaced(before, after) == "Router was replaced, Embedder-tiny kept its replicas, New started, Gone was removed"
    )
    assert replaced(None, after) == "Router started, Embedder-tiny started, New started"


def test_the_cause_is_the_last_line_that_names_an_error() -> None:
    assert cause_of(["Traceback\nValueError: a\nSetupError: no model\n  more text"]) == "SetupError: no model"
    assert cause_of(["x\nserve_app.core.errors.SetupError: No model at /m."]) == "No model at /m."
    assert cause_of(["waiting for resources"]) == "waiting for resources"
    assert cause_of([""]) == ""


def test_a_proxy_that_drains_is_not_sick() -> None:
    assert sick_proxies(details(proxy="DRAINING")) == []


def test_samples_without_labels_count() -> None:
    assert Figures.of("up 2\n").total(["up"]) == 2
