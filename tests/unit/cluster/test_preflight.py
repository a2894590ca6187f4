"""What is looked at before anything changes in a running cluster."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cluster.config import ClusterConfig
from cluster.running.preflight import (
    NodeLook,
    check_host,
    check_http,
    check_nodes,
    check_resources,
    check_route,
    check_splits,
)
from serve_app.core.errors import SetupError


def config(**model: Any) -> ClusterConfig:
    return ClusterConfig.model_validate({"models": [{"path": "a/b", **model}]})


def test_a_cluster_with_too_few_gpus_is_refused_with_both_numbers() -> None:
    with pytest.raises(SetupError, match=r"asks for 4 GPUs and the cluster has 2: lower"):
        check_resources(config(gpus_per_replica=1, replicas=4), {"CPU": 64, "GPU": 2}, "the cluster")


def test_a_replica_that_fits_no_node_is_refused_although_the_cluster_has_enough() -> None:
    split = config(gpus_per_replica=1, tensor_parallel=4)
    check_splits(split, [{"GPU": 4.0}, {"GPU": 2.0}])
    with pytest.raises(SetupError, match=r"b needs 4 GPUs on one node and the largest node has 2"):
        check_splits(split, [{"GPU": 2.0}, {"GPU": 2.0}])


def test_a_model_without_gpus_needs_none_on_any_node() -> None:
    check_splits(config(), [{"CPU": 4.0}])


def test_a_model_that_sleeps_must_find_room_for_the_replica_that_it_wakes_with() -> None:
    asleep = {"gpus_per_replica": 1, "tensor_parallel": 2, "replicas": 0}
    rare = config(**asleep, autoscaling={"min_replicas": 0, "max_replicas": 1})
    check_resources(rare, {"CPU": 8, "GPU": 2}, "the cluster")
    with pytest.raises(SetupError, match=r"asks for 2 GPUs and the cluster has 1: lower"):
        check_resources(rare, {"CPU": 8, "GPU": 1}, "the cluster")


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 8001), ("0.0.0.0", 8000)])  # noqa: S104
def test_http_that_would_have_to_move_is_refused(host: str, port: int) -> None:
    with pytest.raises(SetupError, match=rf"listens on {re.escape(host)}:{port} and `http` says 127\.0\.0\.1:8000"):
        check_http(config(), {"http_options": {"host": host, "port": port}})
    check_http(config(), {"http_options": {"host": "127.0.0.1", "port": 8000}})
    check_http(config(), None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost", "10.0.0.1"])
def test_several_nodes_do_not_listen_on_the_address_of_one(host: str) -> None:
    listening = ClusterConfig.model_validate({"http": {"host": host}})
    check_host(listening, 1)
    with pytest.raises(SetupError, match=rf"^`http\.host`: {host} is an address of one node, and the 2 nodes"):
        check_host(listening, 2)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "this-node.example.com"])  # noqa: S104
def test_an_address_that_every_node_has_is_fine(host: str) -> None:
    check_host(ClusterConfig.model_validate({"http": {"host": host}}), 3)


def serve_with(route: str | None, status: str = "RUNNING", name: str = "other") -> dict[str, Any]:
    return {"applications": {name: {"status": status, "route_prefix": route, "deployments": {}}}}


def test_another_application_at_our_route_is_named_before_anything_changes() -> None:
    with pytest.raises(SetupError, match=r"The Serve application `other` has the route /, which this one needs"):
        check_route(serve_with("/"))


@pytest.mark.parametrize(
    "details",
    [None, serve_with("/other"), serve_with(None), serve_with("/", "DELETING"), serve_with("/", name="embed")],
)
def test_our_route_is_free_where_nobody_else_has_it(details: dict[str, Any] | None) -> None:
    check_route(details)


def test_a_node_with_another_release_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.running.preflight.product_version", lambda: "2.0")
    check_nodes([NodeLook("10.0.0.1", "2.0", ())])
    with pytest.raises(SetupError, match=r"Node 10\.0\.0\.2 has embed-cluster 1\.9 and this machine has 2\.0"):
        check_nodes([NodeLook("10.0.0.1", "2.0", ()), NodeLook("10.0.0.2", "1.9", ())])


def test_a_node_without_our_environment_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.running.preflight.product_version", lambda: "2.0")
    with pytest.raises(SetupError, match=r"without RAY_SERVE_A .*embedctl env"):
        check_nodes([NodeLook("10.0.0.1", "2.0", ("RAY_SERVE_A", "RAY_SERVE_B"))])
