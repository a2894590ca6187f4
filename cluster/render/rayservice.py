"""The RayService: the cluster that serves."""

from __future__ import annotations

from importlib.metadata import version

import yaml

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.fleet import worker_groups
from cluster.render.grace import termination_grace_s
from cluster.render.objects import Manifest, metadata
from cluster.render.places import as_start_param
from cluster.render.pod_parts import CONTAINER_SECURITY, OBJECT_STORE_BYTES, home_variable, scratch_mounts
from cluster.render.pods import head_template, worker_template
from cluster.render.serve_config import render_serve_config
from cluster.render.worker_group import WorkerGroup

POD_IDLE_S = 120  # a replica's own patience comes first; see `autoscaling.downscale_after_s`
STRATEGIES = {"new-cluster": "NewCluster", "none": "None", "incremental": "NewClusterWithIncrementalUpgrade"}


def render_rayservice(config: ClusterConfig) -> Manifest:
    settings = config.kubernetes
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": metadata(settings),
        "spec": {
            "excludeHeadPodFromServeSvc": True,
            "rayClusterDeletionDelaySeconds": termination_grace_s(config),  # connections that are kept must end first
            "upgradeStrategy": _upgrade(settings),
            "serveConfigV2": yaml.safe_dump(render_serve_config(config), sort_keys=False, allow_unicode=True),
            "rayClusterConfig": {
                **cluster_basics(),
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": _autoscaler(settings),
                **_fault_tolerance(settings),
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", **_start_params()},
                    "template": head_template(config),
                },
                "workerGroupSpecs": [_group(config, group) for group in worker_groups(config)],
            },
        },
    }


def cluster_basics() -> Manifest:
    """The same for serving and for jobs: nobody without the token, which KubeRay makes itself, may run code."""
    return {"rayVersion": version("ray"), "authOptions": {"mode": "token"}}


def _group(config: ClusterConfig, group: WorkerGroup) -> Manifest:
    return {
        "groupName": group.name,
        "replicas": group.pods,
        "minReplicas": group.min_pods,
        "maxReplicas": group.max_pods,
        "rayStartParams": {
            "num-cpus": str(group.ray_cpus),
            **({"num-gpus": str(group.gpus)} if group.gpus else {}),
            "resources": as_start_param(group.places),
            **_start_params(),
        },
        "template": worker_template(config, group),
    }


def _start_params() -> dict[str, str]:
    """Vectors do not go through the object store: Ray's default of 30 % of the memory would be wasted."""
    return {"object-store-memory": str(OBJECT_STORE_BYTES)}


def _upgrade(settings: KubernetesSettings) -> Manifest:
    upgrade = settings.upgrade
    strategy: Manifest = {"type": STRATEGIES[upgrade.strategy]}
    if upgrade.strategy == "incremental":
        strategy["clusterUpgradeOptions"] = {
            "gatewayClassName": upgrade.gateway_class,
            "maxSurgePercent": upgrade.max_surge_percent,
            "stepSizePercent": upgrade.step_percent,
            "intervalSeconds": upgrade.interval_s,
        }
    return strategy


def _autoscaler(settings: KubernetesSettings) -> Manifest:
    return {
        "version": "v2",
        "idleTimeoutSeconds": POD_IDLE_S,
        "imagePullPolicy": settings.pull_policy,
        "env": home_variable(),
        "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": scratch_mounts(),
    }


def _fault_tolerance(settings: KubernetesSettings) -> Manifest:
    if settings.redis is None:
        return {}
    password = {"valueFrom": {"secretKeyRef": {"name": settings.redis.secret, "key": "password"}}}
    return {"gcsFaultToleranceOptions": {"redisAddress": settings.redis.address, "redisPassword": password}}
