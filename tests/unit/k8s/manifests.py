"""The manifests under k8s/, and ways into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
K8S = ROOT / "k8s"
OVERLAYS = ("base", "overlays/cpu-dev", "overlays/gpu", "overlays/gpu-scarce", "overlays/incremental")

Manifest = dict[str, Any]


def documents(text: str) -> list[Manifest]:
    return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in objects if one["kind"] == kind]


def cluster_of(objects: list[Manifest]) -> Manifest:
    spec: Manifest = of_kind(objects, "RayService")[0]["spec"]["rayClusterConfig"]
    return spec


def worker_groups(objects: list[Manifest]) -> list[Manifest]:
    groups: list[Manifest] = cluster_of(objects)["workerGroupSpecs"]
    return groups


def serve_config(objects: list[Manifest]) -> Manifest:
    config: Manifest = yaml.safe_load(of_kind(objects, "RayService")[0]["spec"]["serveConfigV2"])
    return config


def templates(value: Any) -> Iterator[Manifest]:
    """Every pod template, wherever it stands, also inside the CronJob's ConfigMap."""
    if isinstance(value, dict):
        if "spec" in value and isinstance(value["spec"], dict) and "containers" in value["spec"]:
            yield value
        for name, member in value.items():
            embedded = isinstance(member, str) and name.endswith(".yaml") and member.startswith("apiVersion:")
            yield from templates(yaml.safe_load(member) if embedded else member)
    elif isinstance(value, list):
        for item in value:
            yield from templates(item)


def containers(template: Manifest) -> list[Manifest]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def labels(template: Manifest) -> dict[str, str]:
    found: dict[str, str] = template["metadata"]["labels"]
    return found


def selects(selector: Manifest, pod: dict[str, str]) -> bool:
    """Whether a label selector takes a pod with these labels."""
    equal = all(pod.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return equal and all(pod.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield str(name)
            yield from strings(member)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def gib(quantity: str) -> float:
    """Of a memory quantity."""
    units = {"Ki": 2**-20, "Mi": 2**-10, "Gi": 1.0}
    return float(quantity[:-2]) * units[quantity[-2:]]
