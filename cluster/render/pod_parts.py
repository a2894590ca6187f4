"""What the containers of all pods have in common: what they may do, write and hold."""

from __future__ import annotations

from cluster.environment import cluster_environment
from cluster.kubernetes import KubernetesSettings
from cluster.render.objects import Manifest, plain_variables

USER = 1000
HOME = "/home/embed"
POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
SCRATCH_GIB = 20  # Ray's session with its logs and spilled objects
HOME_GIB = 10  # compiled kernels
SHARED_MEMORY_GIB = 2  # Ray's object store, and what the ranks of a split model exchange
OBJECT_STORE_BYTES = 2**30
MOST_CONNECTIONS = 20_000  # HAProxy opens two and a half files for each: 50,000, which container runtimes allow
POD_ENVIRONMENT = {
    "HOME": HOME,
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "RAY_SERVE_HAPROXY_MAXCONN": str(MOST_CONNECTIONS),
}


def environment() -> list[Manifest]:
    """The same on head and workers: Serve reads it in every process."""
    return plain_variables({**cluster_environment(), **POD_ENVIRONMENT})


def base_spec(settings: KubernetesSettings, account: str) -> Manifest:
    spec: Manifest = {
        "serviceAccountName": account,
        "securityContext": POD_SECURITY,
        "enableServiceLinks": False,
    }
    if settings.pull_secret is not None:
        spec["imagePullSecrets"] = [{"name": settings.pull_secret}]
    return spec


def image(settings: KubernetesSettings) -> Manifest:
    return {"image": settings.image, "imagePullPolicy": settings.pull_policy}


def resources(cpus: int, memory_gib: int, gpus: int = 0) -> Manifest:
    """Memory and GPUs are reserved as they are bounded; cores above the request are taken when they are free."""
    devices = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    bounded = {"memory": f"{memory_gib}Gi", **devices}
    return {"requests": {"cpu": str(cpus), **bounded}, "limits": bounded}


def home_variable() -> list[Manifest]:
    return plain_variables({"HOME": HOME})


def scratch_volumes(shared_memory: bool = True) -> list[Manifest]:
    """Where a container may write: its image is read-only."""
    volumes: list[Manifest] = [
        {"name": "tmp", "emptyDir": {"sizeLimit": f"{SCRATCH_GIB}Gi"}},
        {"name": "home", "emptyDir": {"sizeLimit": f"{HOME_GIB}Gi"}},
    ]
    shared: Manifest = {"medium": "Memory", "sizeLimit": f"{SHARED_MEMORY_GIB}Gi"}
    return [*volumes, {"name": "shared-memory", "emptyDir": shared}] if shared_memory else volumes


def scratch_mounts(shared_memory: bool = True) -> list[Manifest]:
    places = {"tmp": "/tmp", "home": HOME} | ({"shared-memory": "/dev/shm"} if shared_memory else {})  # noqa: S108
    return [{"name": name, "mountPath": path} for name, path in places.items()]
