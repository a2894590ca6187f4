"""Every series that a rule or a panel asks for is one that somebody exports, with these labels."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from cluster.monitoring.panels import ROWS
from cluster.monitoring.rules import render_rules
from serve_app.telemetry import metrics
from tests.unit.monitoring.expressions import Selector, selectors

SCRAPED = {"ray_io_cluster"}  # a label of the pod, which the PodMonitor adds
RAYS_OWN: Mapping[str, frozenset[str]] = {  # name → the labels that we use
    "ray_serve_application_status": frozenset({"application"}),
    "ray_serve_deployment_status": frozenset({"application", "deployment", *SCRAPED}),
    "ray_serve_deployment_replica_healthy": frozenset({"application", "deployment", *SCRAPED}),
    "ray_serve_deployment_replica_starts_total": frozenset({"application", "deployment"}),
    "ray_serve_autoscaling_target_replicas": frozenset({"application", "deployment", *SCRAPED}),
    "ray_node_cpu_utilization": frozenset(),
    "ray_node_mem_used": frozenset(),
    "ray_node_mem_total": frozenset(),
    "ray_node_gpus_utilization": frozenset(),
    "kuberay_service_condition_upgrade_in_progress": frozenset({"name", "namespace", "condition"}),
}


def exported() -> dict[str, frozenset[str]]:
    """The declared metrics as the Ray nodes export them, and their labels."""
    series: dict[str, frozenset[str]] = {}
    for metric in metrics.ALL:
        labels = frozenset(metric.labels)
        suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_sum", "_count")}[metric.kind]
        series |= {f"ray_{metric.name}{suffix}": labels for suffix in suffixes}
    series |= {f"ray_{m.name}_bucket": frozenset({*m.labels, "le"}) for m in metrics.ALL if m.kind == "histogram"}
    return series


RULES = [rule for group in render_rules()["groups"] for rule in group["rules"]]
RECORDED = {rule["record"]: frozenset({"model"}) for rule in RULES if "record" in rule}
KNOWN = exported() | dict(RAYS_OWN) | RECORDED
EXPRESSIONS = {rule.get("alert") or rule["record"]: rule["expr"] for rule in RULES} | {
    f"{panel.title}, {query.legend}": query.filled_in()
    for row in ROWS
    for panel in row.panels
    for query in panel.queries
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_an_expression_asks_for_nothing_that_nobody_exports(expression: str) -> None:
    asked = selectors(expression)
    assert asked
    assert {one.metric for one in asked} - KNOWN.keys() == set()
    assert [one for one in asked if not one.labels | one.grouped <= KNOWN[one.metric]] == []


@pytest.mark.parametrize("name", ["ray_embed_requests", "embed_requests_total", "ray_embed_tokens_total_total"])
def test_a_name_that_nobody_exports_is_not_known(name: str) -> None:
    assert name not in KNOWN


def test_selectors_are_found_wherever_they_stand() -> None:
    text = 'a{x="1"} / (sum by (y) (rate(b[5m] offset 1h)) > 0) or histogram_quantile(0.9, -c) * time()'
    assert selectors(text) == [
        Selector("a", frozenset({"x"}), frozenset()),
        Selector("b", frozenset(), frozenset({"y"})),
        Selector("c", frozenset(), frozenset()),
    ]


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        selectors("sum by (rate(x)")


def test_a_legend_names_labels_that_its_series_have() -> None:
    added_by_ray = {"ip", "GpuIndex"}
    unknown = {
        (panel.title, label)
        for row in ROWS
        for panel in row.panels
        for query in panel.queries
        for label in re.findall(r"\{\{(\w+)\}\}", query.legend)
        for one in selectors(query.filled_in())
        if label not in KNOWN[one.metric] | added_by_ray
    }
    assert unknown == set()


def test_every_declared_metric_of_ingestion_that_is_told_is_looked_at() -> None:
    asked = {one.metric for expression in EXPRESSIONS.values() for one in selectors(expression)}
    never = {"ray_ingest_chunks_total", "ray_ingest_run_seconds_total"}  # for questions, not for watching
    told = {name for name in exported() if name.startswith("ray_ingest_")}
    assert told - asked == never
