"""What may reach what, and that selectors find the pods they are for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from serve_app.settings import LimitSettings
from tests.unit.k8s.manifests import Manifest, cluster_of, labels, of_kind, selects, templates, worker_groups

SERVE_PORT = 8000


def pods(objects: list[Manifest]) -> list[Manifest]:
    return list(templates(objects))


def routed_ports(value: Any) -> Iterator[int]:
    """Of every backend that a request from outside is sent to."""
    if isinstance(value, dict):
        yield from (one["port"] for one in value.get("backendRefs", []))
        if "service" in value:
            yield value["service"]["port"]["number"]
        for member in value.values():
            yield from routed_ports(member)
    elif isinstance(value, list):
        for item in value:
            yield from routed_ports(item)


def test_nothing_but_the_port_that_serves_is_routed(objects: list[Manifest]) -> None:
    ways_in = [*of_kind(objects, "Ingress"), *of_kind(objects, "HTTPRoute")]
    assert set(routed_ports(ways_in)) <= {SERVE_PORT}
    services = [one["spec"] for one in of_kind(objects, "Service")]
    assert {port["port"] for service in services for port in service["ports"]} <= {SERVE_PORT}
    assert {service.get("type", "ClusterIP") for service in services} <= {"ClusterIP"}  # not to be reached from outside
    assert "headService" not in cluster_of(objects)["headGroupSpec"]
    assert "ingressOptions" not in cluster_of(objects)["headGroupSpec"]


@pytest.mark.parametrize(
    ("overlay", "kinds"),
    [
        ("base", ["Ingress"]),
        ("overlays/gpu-scarce", ["Ingress"]),
        ("overlays/gpu", ["HTTPRoute"]),
        ("overlays/incremental", []),  # KubeRay makes the Gateway and its route
        ("overlays/cpu-dev", []),
    ],
)
def test_there_is_one_way_in(overlay: str, kinds: list[str], kustomized: dict[str, list[Manifest]]) -> None:
    found = [one["kind"] for one in kustomized[overlay] if one["kind"] in ("Ingress", "HTTPRoute", "Gateway")]
    assert found == kinds
    assert set(routed_ports(kustomized[overlay])) == {SERVE_PORT for _ in kinds}


def test_from_other_namespaces_only_listed_ports_are_reached(objects: list[Manifest]) -> None:
    outside = {
        port["port"]
        for policy in of_kind(objects, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for peer in rule.get("from", [])
        for port in rule.get("ports", [])
        if "namespaceSelector" in peer
    }
    assert outside == {SERVE_PORT, 8080, 8265}  # requests, metrics, and the operator at the dashboard


def test_every_pod_is_denied_what_is_not_listed(objects: list[Manifest]) -> None:
    deny = next(one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["name"].endswith("deny-all"))
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_selectors_find_the_pods_they_are_for(objects: list[Manifest], extras: list[Manifest]) -> None:
    """A policy for pods that are not there protects nobody."""
    ours = [labels(template) for template in pods([*objects, *extras])]
    by_kuberay = [labels(group["template"]) | {"ray.io/node-type": "worker"} for group in worker_groups(objects)]
    gateway = {"gateway.networking.k8s.io/gateway-name": "embed-gateway"}  # of the pods of KubeRay's Gateway
    selectors = [
        *(one["spec"]["selector"] for kind in ("PodDisruptionBudget", "PodMonitor") for one in of_kind(objects, kind)),
        *(one["spec"]["podSelector"] for one in of_kind(objects, "NetworkPolicy")),
        *({"matchLabels": one["spec"]["selector"]} for one in of_kind(objects, "Service")),
        *(
            spread["labelSelector"]
            for one in pods(objects)
            for spread in one["spec"].get("topologySpreadConstraints", [])
        ),
    ]
    missing = [one for one in selectors if not any(selects(one, pod) for pod in [*ours, *by_kuberay, gateway])]
    assert [one for one in missing if "weights" not in str(one)] == []  # none to fetch where the image holds the model


def test_metrics_are_asked_of_every_ray_pod_on_a_port_it_names(objects: list[Manifest], extras: list[Manifest]) -> None:
    monitor = of_kind(objects, "PodMonitor")[0]["spec"]
    ray = [one for one in pods([*objects, *extras]) if one["spec"]["containers"][0]["name"].startswith("ray-")]
    assert len(ray) >= 2
    for template in ray:
        names = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert selects(monitor["selector"], labels(template))
        assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= names


def test_ingestion_is_sent_to_a_service_that_is_there(kustomized: dict[str, list[Manifest]]) -> None:
    """KubeRay makes `embed-serve-svc`, but for incremental upgrades one with a new name each time."""
    for overlay, objects in kustomized.items():
        script = next(one for one in of_kind(objects, "ConfigMap") if "ingest.sh" in one["data"])["data"]["ingest.sh"]
        (endpoint,) = re.findall(r"--endpoint http://([a-z-]+):8000", script)
        ours = {one["metadata"]["name"] for one in of_kind(objects, "Service")}
        incremental = overlay == "overlays/incremental"
        assert endpoint in (ours if incremental else {"embed-serve-svc"}), overlay


def test_nginx_lets_through_what_the_product_takes(kustomized: dict[str, list[Manifest]]) -> None:
    (ingress,) = of_kind(kustomized["base"], "Ingress")
    given = {key.rpartition("/")[2]: value for key, value in ingress["metadata"]["annotations"].items()}
    limits = LimitSettings()
    assert int(given["proxy-body-size"].removesuffix("m")) > limits.max_body_mib
    assert int(given["proxy-read-timeout"]) > limits.request_timeout_s
