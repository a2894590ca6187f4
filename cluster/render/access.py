"""The namespace, who pods are, what they may ask of Kubernetes, and how many of them may go at a time."""

from __future__ import annotations

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.fleet import worker_groups
from cluster.render.objects import COMPONENT_LABEL, NAME_LABEL, PART_OF, Manifest, metadata

ACCOUNTS = ("head", "worker", "jobs", "starter")
LEVELS = ("enforce", "audit", "warn")


def render_access(config: ClusterConfig) -> list[Manifest]:
    settings = config.kubernetes
    return [
        _namespace(settings),
        *(_account(settings, name) for name in ACCOUNTS),
        *_starter_rights(settings),
        *_budgets(config),
    ]


def _namespace(settings: KubernetesSettings) -> Manifest:
    security = {f"pod-security.kubernetes.io/{level}": "restricted" for level in LEVELS}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": settings.namespace, "labels": {**PART_OF, **security}},
    }


def _account(settings: KubernetesSettings, name: str) -> Manifest:
    """The head's gets its rights from KubeRay, which binds it to a role for the autoscaler; the others have none."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(settings, name),
        "automountServiceAccountToken": False,
    }


def _starter_rights(settings: KubernetesSettings) -> list[Manifest]:
    """Kubernetes cannot bind `create` to one name; what is read is bound to the one RayJob."""
    role = metadata(settings, "starter")
    rayjobs = {"apiGroups": ["ray.io"], "resources": ["rayjobs"]}
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": role,
            "rules": [
                {**rayjobs, "verbs": ["create"]},
                {**rayjobs, "verbs": ["get", "list", "watch"], "resourceNames": [f"{settings.name}-ingest"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": role,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": role["name"], "namespace": settings.namespace}],
        },
    ]


def _budgets(config: ClusterConfig) -> list[Manifest]:
    """All but one pod of a group stay. A group of one has no budget: nobody could ever drain its node.

    Kubernetes takes `maxUnavailable` only for pods of kinds it knows the size of.
    """
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(config.kubernetes, group.name),
            "spec": {
                "minAvailable": group.min_pods - 1,
                "selector": {"matchLabels": {NAME_LABEL: config.kubernetes.name, COMPONENT_LABEL: group.name}},
            },
        }
        for group in worker_groups(config)
        if group.min_pods > 1
    ]
