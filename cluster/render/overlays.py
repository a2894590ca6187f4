"""The manifests that come with the product: a base, and one overlay for each situation it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cluster.config import ClusterConfig, load_config
from cluster.kubernetes import ExposureSettings, UpgradeSettings
from cluster.render.tree import Tree, flat_tree, overlay_tree

COMMAND = "embedctl render overlays --out k8s"
BASE = "base"


def overlay_configs() -> dict[str, ClusterConfig]:
    """`base` and every overlay: presets, and what Kubernetes asks beside."""
    node, fleet = _preset("node-8-gpu"), _preset("fleet")
    return {
        BASE: node,
        "cpu-dev": _with(
            _preset("laptop-cpu"),
            {"redis": None, "exposure": ExposureSettings(kind="none"), "head_cpus": 1, "head_memory_gib": 2},
        ),
        "gpu": _with(fleet, {"exposure": ExposureSettings(kind="gateway")}),
        "gpu-scarce": _with(node, {"upgrade": UpgradeSettings(strategy="none")}),
        "incremental": _with(fleet, {"upgrade": UpgradeSettings(strategy="incremental")}),
    }


def overlays_tree() -> Tree:
    """Everything under k8s/ that is generated."""
    configs = overlay_configs()
    base = configs.pop(BASE)
    tree = _below(BASE, flat_tree(base, COMMAND))
    for name, config in configs.items():
        tree |= _below(f"overlays/{name}", overlay_tree(base, config, "../../base", COMMAND))
    return tree


def _preset(name: str) -> ClusterConfig:
    return load_config(Path(f"preset:{name}"))


def _with(config: ClusterConfig, changes: Mapping[str, object]) -> ClusterConfig:
    """`changes` of the section `kubernetes`."""
    return config.model_copy(update={"kubernetes": config.kubernetes.model_copy(update=changes)})


def _below(folder: str, tree: Tree) -> Tree:
    return {f"{folder}/{name}": text for name, text in tree.items()}
