"""The way in: to the port that serves, and to no other."""

from __future__ import annotations

from math import ceil

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.objects import NAME_LABEL, SERVE_PORT, Manifest, endpoint_service, metadata
from serve_app.settings import LimitSettings

KUBERAY_WORKER = {"ray.io/node-type": "worker"}  # KubeRay's own label; a Service cannot select by `In`
SPARE_TIMEOUT_S = 10.0  # for our answer to come through


def render_way_in(config: ClusterConfig) -> list[Manifest]:
    """With incremental upgrades KubeRay makes a Gateway and its route itself; a second way in would pass by it.

    What is missing then is a Service that jobs inside know by name.
    """
    settings = config.kubernetes
    if settings.upgrade.strategy == "incremental":
        return [_service(settings)]
    if settings.exposure.kind == "none":
        return []
    return [_ingress(config) if settings.exposure.kind == "ingress" else _route(settings)]


def _service(settings: KubernetesSettings) -> Manifest:
    """The workers of both clusters; those whose proxy knows no replica yet are not ready and get nothing."""
    name = endpoint_service(settings).removeprefix(f"{settings.name}-")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(settings, name),
        "spec": {
            "selector": {NAME_LABEL: settings.name, **KUBERAY_WORKER},
            "ports": [{"name": "serve", "port": SERVE_PORT}],
        },
    }


def _ingress(config: ClusterConfig) -> Manifest:
    settings = config.kubernetes
    outside = settings.exposure
    backend = {"service": {"name": endpoint_service(settings), "port": {"number": SERVE_PORT}}}
    about = metadata(settings)
    if outside.ingress_class == "nginx":
        about["annotations"] = _nginx(config.limits)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": about,
        "spec": {
            "ingressClassName": outside.ingress_class,
            "tls": [{"hosts": [outside.host], "secretName": outside.tls_secret}],
            "rules": [
                {
                    "host": outside.host,
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }
            ],
        },
    }


def _nginx(limits: LimitSettings) -> dict[str, str]:
    """Its own limits of 1 MiB and 60 s, just beyond ours: ours say no first, in JSON."""
    return {
        "nginx.ingress.kubernetes.io/proxy-body-size": f"{limits.max_body_mib + 1}m",
        "nginx.ingress.kubernetes.io/proxy-read-timeout": str(ceil(limits.request_timeout_s + SPARE_TIMEOUT_S)),
    }


def _route(settings: KubernetesSettings) -> Manifest:
    outside = settings.exposure
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(settings),
        "spec": {
            "parentRefs": [{"name": outside.gateway, "namespace": outside.gateway_namespace}],
            "hostnames": [outside.host],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"name": endpoint_service(settings), "port": SERVE_PORT}],
                }
            ],
        },
    }
