"""Every object is what the API server and KubeRay's operator accept; each validator finds a mistake made on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from tests.unit.k8s import crds, foreign, operator_rules
from tests.unit.k8s.manifests import K8S, Manifest, documents, of_kind

KUBERNETES = ("1.29", "1.33")
needs_crds = pytest.mark.skipif(not crds.are_here(), reason=crds.WHY_NOT)


def is_built_in(manifest: Manifest) -> bool:
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io")


def built_in_problems(manifest: Manifest, version: str) -> list[str]:
    return _built_in_problems(json.dumps(manifest), version)


@cache
def _built_in_problems(text: str, version: str) -> list[str]:
    """Most overlays share most objects."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


def test_no_object_is_of_a_kind_that_nobody_validates(objects: list[Manifest], extras: list[Manifest]) -> None:
    strange = [
        one["kind"]
        for one in [*objects, *extras]
        if not is_built_in(one) and one["apiVersion"] != "ray.io/v1" and one["apiVersion"] not in foreign.GROUPS
    ]
    assert strange == []


@pytest.mark.parametrize("version", KUBERNETES)
def test_objects_of_kubernetes_are_valid(objects: list[Manifest], extras: list[Manifest], version: str) -> None:
    chosen = [one for one in [*objects, *extras] if is_built_in(one)]
    assert chosen
    assert [(one["kind"], found) for one in chosen if (found := built_in_problems(one, version))] == []


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_example_of_redis_is_valid(version: str) -> None:
    for one in documents((K8S / "examples" / "redis.yaml").read_text(encoding="utf-8")):
        assert built_in_problems(one, version) == []


@needs_crds
def test_objects_of_kuberay_are_valid(objects: list[Manifest], extras: list[Manifest]) -> None:
    chosen = [one for one in [*objects, *extras] if one["apiVersion"] == "ray.io/v1"]
    assert {one["kind"] for one in chosen} == {"RayService", "RayJob", "RayCronJob"}
    assert {one["kind"]: found for one in chosen if (found := crds.problems(one))} == {}


def test_the_operator_accepts_them_too(objects: list[Manifest], extras: list[Manifest]) -> None:
    chosen = [one for one in [*objects, *extras] if one["apiVersion"] == "ray.io/v1"]
    assert {one["kind"]: found for one in chosen if (found := operator_rules.problems(one))} == {}


def test_objects_of_other_projects_are_valid(objects: list[Manifest]) -> None:
    chosen = [one for one in objects if one["apiVersion"] in foreign.GROUPS]
    assert {"PodMonitor", "PrometheusRule"} <= {one["kind"] for one in chosen}
    assert {one["kind"]: found for one in chosen if (found := foreign.problems(one))} == {}


def broken(manifest: Manifest, *path: Any, value: Any) -> Manifest:
    copy = deepcopy(manifest)
    target: Any = copy
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return copy


CLUSTER = ("spec", "rayClusterConfig")
CRD_MISTAKES = [  # kind, path, wrong value
    ("RayService", (*CLUSTER, "workerGroups"), []),
    ("RayService", (*CLUSTER, "autoscalerOptions", "version"), "v3"),
    ("RayService", (*CLUSTER, "workerGroupSpecs", 0, "maxReplicas"), "4"),
    ("RayService", (*CLUSTER, "headGroupSpec", "template", "spec", "containers", 0, "resource"), {}),
    ("RayService", (*CLUSTER, "authOptions", "mode"), "password"),
    ("RayJob", ("spec", "submissionmode"), "K8sJobMode"),
    ("RayJob", ("spec", "deletionStrategy"), {"onSuccess": {"policy": "DeleteSelf"}}),  # a CEL rule asks for both
    ("RayCronJob", ("spec", "concurrencyPolicy"), "Forbid"),
]
OPERATOR_MISTAKES = [
    ("RayService", ("metadata", "name"), "e" * 48),
    ("RayService", ("metadata", "name"), "1embed"),
    ("RayService", ("spec", "upgradeStrategy"), {"type": "NewClusterWithIncrementalUpgrade"}),
    ("RayService", (*CLUSTER, "rayVersion"), "2.51.0"),
    ("RayService", (*CLUSTER, "workerGroupSpecs", 0, "minReplicas"), 99),
    ("RayService", (*CLUSTER, "headGroupSpec", "rayStartParams", "labels"), "a=b"),
    ("RayService", (*CLUSTER, "headGroupSpec", "template", "spec", "restartPolicy"), "Always"),
    ("RayJob", ("spec", "activeDeadlineSeconds"), 0),
    ("RayJob", ("spec", "shutdownAfterJobFinishes"), True),
    ("RayJob", ("spec", "deletionStrategy", "deletionRules", 0, "condition", "ttlSeconds"), 10**6),
    ("RayJob", ("metadata", "generateName"), "e" * 43),
    ("RayService", (*CLUSTER, "workerGroupSpecs", 0, "rayStartParams", "resources"), '{"place": 1}'),
    ("RayCronJob", ("metadata", "name"), "e" * 37),
    ("RayCronJob", ("spec", "schedule"), "TZ=UTC 1 2 * * *"),
]
BUILT_IN_MISTAKES = [
    ("PodDisruptionBudget", ("spec", "minAvailble"), 1),
    ("NetworkPolicy", ("spec", "podSelector"), "all"),
    ("PersistentVolumeClaim", ("spec", "accessModes"), "ReadWriteMany"),
    ("CronJob", ("spec", "jobTemplate", "spec", "template", "spec", "container"), []),
    ("Ingress", ("spec", "rules", 0, "http", "paths", 0, "pathType"), None),
]
FOREIGN_MISTAKES = [
    ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "portNumber"), 8080),
    ("PrometheusRule", ("spec", "groups", 0, "rules", 0), {"alert": "X"}),
    ("PodMonitor", ("apiVersion",), "gateway.networking.k8s.io/v1"),
]
Finder = Callable[[Manifest], list[str]]
VALIDATORS: list[tuple[str, Finder, list[tuple[str, tuple[Any, ...], Any]]]] = [
    ("crds", crds.problems, CRD_MISTAKES),
    ("operator", operator_rules.problems, OPERATOR_MISTAKES),
    ("built in", lambda manifest: built_in_problems(manifest, KUBERNETES[-1]), BUILT_IN_MISTAKES),
    ("foreign", foreign.problems, FOREIGN_MISTAKES),
]
MISTAKES = [
    pytest.param(find, kind, path, value, id=f"{name}: {kind} {path[-1]}", marks=needs_crds if name == "crds" else [])
    for name, find, mistakes in VALIDATORS
    for kind, path, value in mistakes
]


@pytest.mark.parametrize(("find", "kind", "path", "value"), MISTAKES)
def test_a_mistake_is_found(
    find: Finder,
    kind: str,
    path: tuple[Any, ...],
    value: Any,
    kustomized: dict[str, list[Manifest]],
    extras: list[Manifest],
) -> None:
    manifest = of_kind([*kustomized["base"], *extras], kind)[0]
    assert find(manifest) == []
    assert find(broken(manifest, *path, value=value)) != []


@needs_crds
@pytest.mark.parametrize("kind", crds.KINDS)
def test_the_definitions_hold_rules_to_run(kind: str) -> None:
    assert list(crds.rules_of(crds.schema_of(kind)))
