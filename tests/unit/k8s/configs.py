"""A small configuration with GPUs, and everything that it is rendered to."""

from __future__ import annotations

from typing import Any

from cluster.config import ClusterConfig
from cluster.hardware import HardwareSettings
from cluster.kubernetes import KubernetesSettings
from cluster.render.kuberay import extra_files, render_kuberay
from cluster.render.tree import to_yaml
from serve_app.settings import ModelSettings

HARDWARE = HardwareSettings(gpu="l4", gpus_per_node=1, cpus_per_node=16, memory_gib_per_node=64, nodes=2)
MODEL = ModelSettings(path="Qwen/Qwen3-Embedding-0.6B", gpus_per_replica=1)


def rendered(settings: KubernetesSettings, **others: Any) -> str:
    config = ClusterConfig.model_validate({"models": (MODEL,), "hardware": HARDWARE, "kubernetes": settings, **others})
    extras = [one for objects in extra_files(config).values() for one in objects]
    return to_yaml([*render_kuberay(config), *extras])
