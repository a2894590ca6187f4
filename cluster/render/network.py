"""Who may talk to whom: nothing but what is listed."""

from __future__ import annotations

from urllib.parse import urlsplit

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.objects import (
    COMPONENT_LABEL,
    DASHBOARD_PORT,
    METRICS_PORT,
    NAME_LABEL,
    SERVE_PORT,
    Manifest,
    metadata,
)

DNS_PORT = 53
KUBERNETES_PORTS = (443, 6443)  # a policy sees the API server's own port, which providers choose
HTTPS_PORT = 443
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
WORKERS = {"key": COMPONENT_LABEL, "operator": "In", "values": ["embedder", "router"]}


def render_policies(config: ClusterConfig) -> list[Manifest]:
    settings = config.kubernetes
    serving, jobs = {NAME_LABEL: settings.name}, {NAME_LABEL: f"{settings.name}-jobs"}
    head = {**serving, COMPONENT_LABEL: "head"}
    job_head = {**jobs, COMPONENT_LABEL: "ingest"}
    workers: Manifest = {"matchLabels": serving, "matchExpressions": [WORKERS]}
    web = [_namespace(name) for name in settings.exposure.from_namespaces]
    operator = [_namespace(settings.operator_namespace)]
    monitoring = [_namespace(settings.monitoring_namespace)]
    gateway = {GATEWAY_LABEL: f"{settings.name}-gateway"}  # KubeRay's; some kinds run in the namespace of their Gateway
    if settings.upgrade.strategy == "incremental":
        web.append({"podSelector": {"matchLabels": gateway}})
    ingest_pods = [{"podSelector": {"matchLabels": job_head}}]
    policies = [
        _policy(settings, "deny-all", {}),
        _policy(settings, "dns", {}, outgoing=[_rule("to", [_namespace("kube-system")], (DNS_PORT,), ("UDP", "TCP"))]),
        _within(settings, "ray", serving),
        _within(settings, "jobs", jobs),
        _policy(settings, "requests", workers, incoming=[_rule("from", [*web, *ingest_pods], (SERVE_PORT,))]),
        _policy(
            settings,
            "operator",
            {"matchLabels": head},
            incoming=[_rule("from", operator, (DASHBOARD_PORT, SERVE_PORT))],
        ),
        _policy(
            settings,
            "operator-jobs",
            {"matchLabels": job_head},
            incoming=[_rule("from", operator, (DASHBOARD_PORT,))],
        ),
        _policy(settings, "metrics", _ray_pods(settings), incoming=[_rule("from", monitoring, (METRICS_PORT,))]),
        _policy(settings, "head", {"matchLabels": head}, outgoing=_head_out(settings)),
        _policy(settings, "ingest", {"matchLabels": job_head}, outgoing=_ingest_out(settings, workers)),
        _policy(
            settings,
            "fetch",
            {"matchLabels": {**jobs, COMPONENT_LABEL: "weights"}},
            outgoing=[_rule("to", [], (HTTPS_PORT,))],
        ),
        _policy(
            settings,
            "starter",
            {"matchLabels": {**jobs, COMPONENT_LABEL: "starter"}},
            outgoing=[_rule("to", [], KUBERNETES_PORTS)],
        ),
    ]
    if settings.upgrade.strategy == "incremental":
        policies.append(_policy(settings, "gateway", {"matchLabels": gateway}, incoming=[{}], outgoing=[{}]))
    collector = config.observability.otlp_endpoint
    if collector is not None:
        port = urlsplit(collector).port or HTTPS_PORT
        policies.append(_policy(settings, "traces", workers, outgoing=[_rule("to", [], (port,))]))
    return policies


def _head_out(settings: KubernetesSettings) -> list[Manifest]:
    """To whatever listens on these ports: addresses of the API server and of Redis are not known here."""
    ports = KUBERNETES_PORTS if settings.redis is None else (*KUBERNETES_PORTS, settings.redis.port)
    return [_rule("to", [], ports)]


def _ingest_out(settings: KubernetesSettings, workers: Manifest) -> list[Manifest]:
    """To the models, to the store and the ledger, and to where documents are."""
    return [
        _rule("to", [{"podSelector": workers}], (SERVE_PORT,)),
        _rule("to", [], (HTTPS_PORT, *settings.ingest.sink_ports)),
    ]


def _within(settings: KubernetesSettings, name: str, labels: dict[str, str]) -> Manifest:
    """Ray's processes of one cluster talk on ports they choose."""
    peers = [{"podSelector": {"matchLabels": labels}}]
    return _policy(settings, name, {"matchLabels": labels}, incoming=[{"from": peers}], outgoing=[{"to": peers}])


def _ray_pods(settings: KubernetesSettings) -> Manifest:
    return {
        "matchExpressions": [
            {"key": NAME_LABEL, "operator": "In", "values": [settings.name, f"{settings.name}-jobs"]},
            {"key": COMPONENT_LABEL, "operator": "In", "values": ["head", "embedder", "router", "ingest"]},
        ]
    }


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _rule(
    direction: str, peers: list[Manifest], ports: tuple[int, ...], protocols: tuple[str, ...] = ("TCP",)
) -> Manifest:
    """Without peers: any, for what lies outside the cluster or at an address that nobody can foresee."""
    rule: Manifest = {"ports": [{"protocol": protocol, "port": port} for port in ports for protocol in protocols]}
    return {direction: peers, **rule} if peers else rule


def _policy(
    settings: KubernetesSettings,
    name: str,
    pods: Manifest,
    incoming: list[Manifest] | None = None,
    outgoing: list[Manifest] | None = None,
) -> Manifest:
    """Without any rule it denies both directions."""
    types = [kind for kind, rules in (("Ingress", incoming), ("Egress", outgoing)) if rules is not None]
    spec: Manifest = {"podSelector": pods, "policyTypes": types or ["Ingress", "Egress"]}
    if incoming is not None:
        spec["ingress"] = incoming
    if outgoing is not None:
        spec["egress"] = outgoing
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(settings, name),
        "spec": spec,
    }
