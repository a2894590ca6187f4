"""The namespace, who pods are, what they may ask of Kubernetes, and how many of them may go at a time."""

from __future__ import annotations

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.fleet import worker_groups
from cluster.render.objects import GROUP_LABEL, NAME_LABEL, PART_OF, Manifest, metadata

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
    """Kubernetes cannot bind `create` to one name; all else is bound to the one RayJob."""
    role = metadata(settings, "starter")
    rayjobs = {"apiGroups": ["ray.io"], "resources": ["rayjobs"]}
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": role,
            "rules": [
                {**rayjobs, "verbs": ["create"]},
                {**rayjobs, "verbs": ["get", "list", "watch", "delete"], "resourceNames": [f"{settings.name}-ingest"]},
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
    """So many pods of a group stay that it is one short of its fewest. A group of one has no budget: nobody could ever
    drain its node.

    It keeps a group from vanishing and no more: of one that has grown, and of two clusters during an upgrade, many pods
    may go at once. Kubernetes takes `maxUnavailable`, and parts of a whole, only for kinds whose size it knows.
    """
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(config.kubernetes, group.name),
            "spec": {
                "minAvailable": group.min_pods - 1,
                "selector": {"matchLabels": {NAME_LABEL: config.kubernetes.name, GROUP_LABEL: group.name}},
            },
        }
        for group in worker_groups(config)
        if group.min_pods > 1
    ]
