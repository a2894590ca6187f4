"""When ingestion runs: a CronJob that starts it and follows it to its end, or KubeRay's own schedule."""

from __future__ import annotations

import yaml

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.ingest_jobs import RETRIES, START_TIMEOUT_S, job_spec, render_ray_job
from cluster.render.objects import Manifest, job_labels, metadata
from cluster.render.pod_parts import CONTAINER_SECURITY, POD_SECURITY

JOB_FILE = "rayjob.yaml"
CLEAR_TIMEOUT_S = 600


def render_schedule(config: ClusterConfig) -> list[Manifest]:
    return [_starter_files(config), _cron_job(config.kubernetes)]


def render_ray_cron_job(config: ClusterConfig) -> Manifest:
    """The same schedule by KubeRay itself: needs the operator's feature gate RayCronJob, and has no `Forbid`."""
    settings = config.kubernetes
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCronJob",
        "metadata": metadata(settings, "nightly"),
        "spec": {
            "schedule": settings.ingest.schedule,
            "timeZone": settings.ingest.time_zone,
            "jobTemplate": job_spec(config),
        },
    }


def _starter_files(config: ClusterConfig) -> Manifest:
    job = yaml.safe_dump(render_ray_job(config), sort_keys=False, allow_unicode=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(config.kubernetes, "ingest-job"),
        "data": {JOB_FILE: job},
    }


def _cron_job(settings: KubernetesSettings) -> Manifest:
    """Creates the RayJob and waits for its end, so that `Forbid` holds for the run and not just for its start.

    What is left of the run before goes first: a RayJob is kept for some time after its end, and names are unique. The
    CronJob's Job ends with the run, and fails if it has failed.
    """
    wanted = settings.ingest
    job = f"rayjob/{settings.name}-ingest"
    longest = (1 + RETRIES) * (wanted.deadline_s + START_TIMEOUT_S)
    steps = {
        "clear": ["delete", job, "--ignore-not-found", "--cascade=foreground", f"--timeout={CLEAR_TIMEOUT_S}s"],
        "create": ["create", "--filename", f"/job/{JOB_FILE}"],
        "wait": ["wait", job, "--for=jsonpath={.status.endTime}", f"--timeout={longest}s"],
    }
    check = ["wait", job, "--for=jsonpath={.status.jobDeploymentStatus}=Complete", "--timeout=5s"]
    pod = {
        "serviceAccountName": f"{settings.name}-starter",
        "automountServiceAccountToken": True,  # it asks Kubernetes for one RayJob, and may do nothing else
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": POD_SECURITY,
        "initContainers": [_kubectl(settings, name, command) for name, command in steps.items()],
        "containers": [_kubectl(settings, "check", check)],
        "volumes": [{"name": "job", "configMap": {"name": f"{settings.name}-ingest-job"}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(settings, "ingest"),
        "spec": {
            "schedule": wanted.schedule,
            "timeZone": wanted.time_zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": START_TIMEOUT_S,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": longest + START_TIMEOUT_S,
                    "template": {"metadata": {"labels": job_labels(settings, "starter")}, "spec": pod},
                }
            },
        },
    }


def _kubectl(settings: KubernetesSettings, name: str, command: list[str]) -> Manifest:
    return {
        "name": name,
        "image": settings.kubectl_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["kubectl", "--namespace", settings.namespace, *command],
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "volumeMounts": [{"name": "job", "mountPath": "/job", "readOnly": True}],
    }
