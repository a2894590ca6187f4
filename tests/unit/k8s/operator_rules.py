"""What KubeRay's operator refuses beyond its CRDs, for the fields that these manifests use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Manifest = dict[str, Any]

MAX_NAMES = {"RayService": 47, "RayJob": 47, "RayCronJob": 36}
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
FORBIDDEN_BESIDE_REDIS = {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD"}
DELETES = {"DeleteNone": 0, "DeleteWorkers": 1, "DeleteCluster": 2, "DeleteSelf": 3}  # how much
QUOTED = re.compile(r"'{[^']*}'")  # a shell takes the quotes away, and Ray's autoscaler counts on them
STRATEGIES = {"NewCluster", "None", "NewClusterWithIncrementalUpgrade"}


def problems(manifest: Manifest) -> list[str]:
    kind, about = manifest["kind"], manifest["metadata"]
    name = about.get("name", f"{about.get('generateName', '')}xxxxx")  # Kubernetes adds five characters
    found = []
    if len(name) > MAX_NAMES[kind]:
        found.append(f"the name has more than {MAX_NAMES[kind]} characters")
    if not LABEL.fullmatch(name):
        found.append("the name is no DNS label")
    return found + list(_OF_KIND[kind](manifest["spec"]))


def _service(spec: Manifest) -> Iterator[str]:
    yield from _cluster(spec["rayClusterConfig"])
    upgrade = spec["upgradeStrategy"]
    if upgrade["type"] not in STRATEGIES:
        yield "unknown upgrade strategy"
    if upgrade["type"] == "NewClusterWithIncrementalUpgrade":
        options = upgrade.get("clusterUpgradeOptions")
        if not spec["rayClusterConfig"].get("enableInTreeAutoscaling"):
            yield "an incremental upgrade needs the autoscaler"
        if options is None:
            yield "an incremental upgrade needs its options"
        elif options["stepSizePercent"] > options["maxSurgePercent"]:
            yield "the step is larger than the surge"
        elif not options["gatewayClassName"] or options["intervalSeconds"] < 1:
            yield "gateway class or interval is missing"
    if spec["rayClusterDeletionDelaySeconds"] < 0:
        yield "the deletion delay is negative"


def _job(spec: Manifest) -> Iterator[str]:
    yield from _cluster(spec["rayClusterSpec"])
    if spec["submissionMode"] == "SidecarMode" and "submitterPodTemplate" in spec:
        yield "the sidecar takes no template"
    if spec.get("shutdownAfterJobFinishes") and "deletionStrategy" in spec:
        yield "shutdownAfterJobFinishes and deletion rules exclude each other"
    seen = [_condition(rule) for rule in spec["deletionStrategy"]["deletionRules"]]
    if len(seen) != len(set(seen)):
        yield "two deletion rules for the same condition"
    for state in {state for _, state in seen}:
        rules = [rule for rule in spec["deletionStrategy"]["deletionRules"] if _condition(rule)[1] == state]
        times = [rule["condition"]["ttlSeconds"] for rule in sorted(rules, key=lambda rule: DELETES[rule["policy"]])]
        if times != sorted(times):
            yield "what deletes more must come later"
    if any(None in one for one in seen):
        yield "a deletion rule needs exactly one of jobStatus and jobDeploymentStatus"
    for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec[key] <= 0:
            yield f"{key} is not positive"


def _condition(rule: Manifest) -> tuple[str, str | None]:
    given = [
        f"{key}={rule['condition'][key]}" for key in ("jobStatus", "jobDeploymentStatus") if key in rule["condition"]
    ]
    return rule["policy"], given[0] if len(given) == 1 else None


def _cron_job(spec: Manifest) -> Iterator[str]:
    yield from _job(spec["jobTemplate"])
    if "TZ=" in spec["schedule"] or len(spec["schedule"].split()) != 5:
        yield "the schedule is not five fields"
    if not spec["timeZone"]:
        yield "the time zone is empty"


def _cluster(spec: Manifest) -> Iterator[str]:
    groups = [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]
    minor = int(spec["rayVersion"].split(".")[1])
    if spec["authOptions"]["mode"] == "token" and minor < 52:
        yield "token authentication needs Ray 2.52"
    for group in groups:
        pod = group["template"]["spec"]
        if "labels" in group["rayStartParams"]:
            yield "rayStartParams.labels is not supported"
        if "resources" in group and "num-cpus" in group["rayStartParams"]:
            yield "resources both in rayStartParams and beside"
        if spec.get("enableInTreeAutoscaling") and pod.get("restartPolicy", "Never") != "Never":
            yield "the autoscaler v2 needs restartPolicy Never"
        if not pod["containers"][0]["name"].startswith("ray-"):
            yield "the first container is not Ray's"
        names = {variable["name"] for variable in pod["containers"][0].get("env", [])}
        if "gcsFaultToleranceOptions" in spec and names & FORBIDDEN_BESIDE_REDIS:
            yield "Redis is named both by options and by variables"
    for group in spec.get("workerGroupSpecs", []):
        if not QUOTED.fullmatch(group["rayStartParams"].get("resources", "'{}'")):
            yield f"group {group['groupName']}: its resources are not quoted"
        if not 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"group {group['groupName']}: its numbers of pods are not in order"


_OF_KIND = {"RayService": _service, "RayJob": _job, "RayCronJob": _cron_job}
