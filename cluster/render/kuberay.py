"""Everything the cluster is on Kubernetes, file by file, in the order to apply it."""

from __future__ import annotations

from itertools import chain

from cluster.config import ClusterConfig
from cluster.monitoring.rules import render_rules
from cluster.render.access import render_access
from cluster.render.dead_letters import render_dead_letters
from cluster.render.ingest_files import render_ingest
from cluster.render.ingest_jobs import render_ray_job_by_hand
from cluster.render.ingest_schedule import render_ray_cron_job, render_schedule
from cluster.render.monitoring import render_monitoring
from cluster.render.network import render_policies
from cluster.render.objects import Manifest
from cluster.render.rayservice import render_rayservice
from cluster.render.storage import render_storage
from cluster.render.way_in import render_way_in

Files = dict[str, list[Manifest]]


def render_kuberay(config: ClusterConfig) -> list[Manifest]:
    """All objects that run. Raises SetupError where pods cannot have what is configured, or nodes do not suffice."""
    return list(chain.from_iterable(kuberay_files(config).values()))


def kuberay_files(config: ClusterConfig) -> Files:
    """The same by file name. Raises SetupError likewise."""
    files = {
        "access.yaml": render_access(config),
        "network.yaml": [*render_policies(config), *render_way_in(config)],
        "storage.yaml": render_storage(config),
        "rayservice.yaml": [render_rayservice(config)],
        "ingest.yaml": [*render_ingest(config), *render_schedule(config)],
        "monitoring.yaml": render_monitoring(config, render_rules(config.kubernetes.runbook_url)),
    }
    return {name: objects for name, objects in files.items() if objects}


def extra_files(config: ClusterConfig) -> Files:
    """What is not applied with the rest: to be created by hand, and KubeRay's own schedule in place of the CronJob."""
    files = {
        "ingest-now.yaml": [render_ray_job_by_hand(config)],
        "dead-letters.yaml": render_dead_letters(config),
        "ray-cron-job.yaml": [render_ray_cron_job(config)],
    }
    return {name: objects for name, objects in files.items() if objects}
