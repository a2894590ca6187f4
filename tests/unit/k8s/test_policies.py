"""What every pod must keep to, whatever it is for: rights, pins, secrets, time to leave."""

from __future__ import annotations

import re

import pytest

from tests.unit.k8s.manifests import (
    K8S,
    ROOT,
    Manifest,
    cluster_of,
    containers,
    labels,
    of_kind,
    serve_config,
    strings,
    templates,
    worker_groups,
)

RESTRICTED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
PINNED = re.compile(r"\S+(:[\w][\w.-]*|@sha256:[0-9a-f]{64})")
LONG_SECRET = re.compile(r"(?=[A-Za-z0-9+/=_-]*\d)(?=[A-Za-z0-9+/=_-]*[A-Z])[A-Za-z0-9+/=_-]{24,}")
ASKS_KUBERNETES = {"head", "starter"}  # the autoscaler, and who creates the nightly RayJob


def pods(objects: list[Manifest]) -> list[Manifest]:
    return list(templates(objects))


def all_containers(objects: list[Manifest]) -> list[Manifest]:
    return [one for template in pods(objects) for one in containers(template)]


def test_the_namespace_enforces_the_restricted_profile(objects: list[Manifest]) -> None:
    namespace = of_kind(objects, "Namespace")[0]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    outside = {one["kind"]: one["metadata"].get("namespace") for one in objects if one is not namespace}
    assert set(outside.values()) == {namespace["metadata"]["name"]}


def test_every_pod_keeps_to_the_restricted_profile(objects: list[Manifest], extras: list[Manifest]) -> None:
    for template in pods([*objects, *extras]):
        spec = template["spec"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert {key for volume in spec.get("volumes", []) for key in volume if key != "name"} <= RESTRICTED_VOLUMES
    for container in [
        *all_containers([*objects, *extras]),
        {**cluster_of(objects)["autoscalerOptions"], "name": "autoscaler"},
    ]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, container["name"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not any("hostPort" in port for port in container.get("ports", []))


def test_containers_name_what_they_need_and_bound_their_memory(objects: list[Manifest], extras: list[Manifest]) -> None:
    for container in all_containers([*objects, *extras]):
        needs = container["resources"]
        assert {"cpu", "memory"} <= needs["requests"].keys(), container["name"]
        assert "memory" in needs["limits"]


def test_only_who_asks_kubernetes_has_a_token_for_it(objects: list[Manifest], extras: list[Manifest]) -> None:
    accounts = of_kind(objects, "ServiceAccount")
    assert all(one["automountServiceAccountToken"] is False for one in accounts)
    for template in pods([*objects, *extras]):
        component = labels(template)["embed-cluster/component"]
        assert template["spec"]["automountServiceAccountToken"] is (component in ASKS_KUBERNETES), component
        assert template["spec"]["serviceAccountName"] in {one["metadata"]["name"] for one in accounts}


def test_rights_are_for_rayjobs_alone(objects: list[Manifest]) -> None:
    assert of_kind(objects, "ClusterRole") == of_kind(objects, "ClusterRoleBinding") == []
    rules = [rule for role in of_kind(objects, "Role") for rule in role["rules"]]
    assert {(*rule["apiGroups"], *rule["resources"]) for rule in rules} == {("ray.io", "rayjobs")}
    assert {verb for rule in rules for verb in rule["verbs"]} == {"create", "get", "list", "watch", "delete"}
    unnamed = [rule["verbs"] for rule in rules if rule.get("resourceNames") != ["embed-ingest"]]
    assert unnamed == [["create"]]  # which Kubernetes cannot bind to a name


def test_images_are_pinned(objects: list[Manifest], extras: list[Manifest]) -> None:
    images = {container["image"] for container in all_containers([*objects, *extras])}
    assert images
    assert [one for one in images if not PINNED.fullmatch(one) or one.endswith(":latest")] == []


def test_ray_is_the_version_that_the_image_installs(objects: list[Manifest], extras: list[Manifest]) -> None:
    pin = re.search(r"^ray==(\S+)$", (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pin is not None
    jobs = [one["spec"].get("jobTemplate", one["spec"])["rayClusterSpec"] for one in extras if "ray.io" in str(one)]
    assert {cluster["rayVersion"] for cluster in [cluster_of(objects), *jobs]} == {pin[1]}
    assert "requirements/base.txt" in (K8S / "image" / "Dockerfile").read_text(encoding="utf-8")


def test_a_budget_never_keeps_the_last_pod(objects: list[Manifest]) -> None:
    groups = {group["groupName"]: group for group in worker_groups(objects)}
    for budget in of_kind(objects, "PodDisruptionBudget"):
        name = budget["spec"]["selector"]["matchLabels"]["embed-cluster/group"]
        assert budget["spec"]["minAvailable"] == groups[name]["minReplicas"] - 1 >= 1


def test_head_and_workers_have_the_same_environment(objects: list[Manifest]) -> None:
    spec = cluster_of(objects)
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    environments = [group["template"]["spec"]["containers"][0]["env"] for group in groups]
    assert all(one == environments[0] for one in environments)
    assert {"name": "RAY_SERVE_ENABLE_HA_PROXY", "value": "1"} in environments[0]


def test_a_pod_may_finish_its_requests_before_it_must_go(objects: list[Manifest]) -> None:
    application = serve_config(objects)["applications"][0]
    slowest = max(one["graceful_shutdown_timeout_s"] for one in application["deployments"])
    for group in worker_groups(objects):
        pod = group["template"]["spec"]
        command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert command[:3] == ["embedctl", "drain", "--seconds"]
        assert slowest < int(command[3]) < pod["terminationGracePeriodSeconds"]


def test_a_pod_stays_until_its_replicas_can_be_up_elsewhere(objects: list[Manifest]) -> None:
    """Serve stops them that much before the end, whether they are or not."""
    for one in serve_config(objects)["applications"][0]["deployments"]:
        scaling = one.get("autoscaling_config", {}).get("policy", {}).get("policy_kwargs", {"cold_start_s": 60})
        for group in worker_groups(objects):
            command = group["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            assert int(command[3]) - one["graceful_shutdown_timeout_s"] >= scaling["cold_start_s"]


def test_no_secret_stands_in_a_manifest(objects: list[Manifest], extras: list[Manifest]) -> None:
    assert of_kind(objects, "Secret") == []
    texts = [text for text in strings([*objects, *extras]) if "\n" not in text and not text.startswith("/")]
    words = [word for text in texts for word in text.split() if "/" not in word]
    assert [word for word in words if LONG_SECRET.fullmatch(word)] == []
    sensitive = re.compile(r"PASSWORD|TOKEN|SECRET|_KEY$|SINK")
    for container in all_containers([*objects, *extras]):
        for variable in container.get("env", []):
            is_secret = bool(sensitive.search(variable["name"])) and variable["name"] != "TOKENIZERS_PARALLELISM"
            assert ("valueFrom" in variable) is is_secret, variable["name"]


def test_the_search_for_secrets_finds_one() -> None:
    assert LONG_SECRET.fullmatch("sk9dKqP2mZ7vB4nX8cL1tR6yW3")


@pytest.mark.parametrize(
    ("overlay", "strategy"),
    [
        ("base", "NewCluster"),
        ("overlays/gpu", "NewCluster"),
        ("overlays/cpu-dev", "NewCluster"),
        ("overlays/gpu-scarce", "None"),
        ("overlays/incremental", "NewClusterWithIncrementalUpgrade"),
    ],
)
def test_an_overlay_upgrades_as_its_name_says(
    overlay: str, strategy: str, kustomized: dict[str, list[Manifest]]
) -> None:
    service = of_kind(kustomized[overlay], "RayService")[0]
    assert service["spec"]["upgradeStrategy"]["type"] == strategy
