"""The nightly run: what reaches its shell, which Ray it joins, and that its failure is seen."""

from __future__ import annotations

import re
import shlex

import httpx
import pytest

from cluster.commands import ingest
from cluster.environment import secret_in
from cluster.render.ingest_files import ingest_script
from cluster.render.overlays import BASE, overlay_configs
from tests.unit.k8s.manifests import Manifest, containers, of_kind, templates


def kubectl_steps(objects: list[Manifest]) -> list[list[str]]:
    """In the order in which the CronJob's pod takes them."""
    (cron,) = of_kind(objects, "CronJob")
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]
    return [container["command"] for container in containers(pod)]


def test_what_kuberay_pastes_into_a_shell_has_nothing_for_a_shell_to_change(extras: list[Manifest]) -> None:
    jobs = [one["spec"].get("jobTemplate", one["spec"]) for one in extras if one["kind"] != "Job"]
    assert len(jobs) == 2
    for job in jobs:
        assert re.fullmatch(r"[\w /.-]+", job["entrypoint"])


def test_the_script_it_runs_is_mounted_and_is_a_command_of_ours(
    kustomized: dict[str, list[Manifest]], extras: list[Manifest]
) -> None:
    (job,) = of_kind(extras, "RayJob")
    (template,) = (one for one in templates(job) if one["metadata"]["labels"]["embed-cluster/component"] == "ingest")
    mounts = {one["name"]: one["mountPath"] for one in template["spec"]["containers"][0]["volumeMounts"]}
    (files,) = (one for one in of_kind(kustomized["base"], "ConfigMap") if one["metadata"]["name"] == "embed-ingest")
    folder, _, name = job["spec"]["entrypoint"].split()[1].rpartition("/")
    assert folder == mounts["config"]
    words = shlex.split(files["data"][name])
    assert words[:2] == ["embedctl", "ingest"]
    assert words[words.index("--sink") + 1] == "$EMBED_SINK"
    assert words[words.index("--config") + 1] == f"{folder}/cluster.yaml"


def test_a_source_with_a_space_stays_one_word() -> None:
    config = overlay_configs()[BASE]
    wanted = config.kubernetes.ingest.model_copy(update={"sources": ("s3://b/my docs", "s3://b/$HOME")})
    kubernetes = config.kubernetes.model_copy(update={"ingest": wanted})
    words = shlex.split(ingest_script(config.model_copy(update={"kubernetes": kubernetes})))
    assert words[2:4] == ["s3://b/my docs", "s3://b/$HOME"]


def test_it_works_in_the_ray_whose_metrics_are_read_and_has_all_cores_there(extras: list[Manifest]) -> None:
    config = overlay_configs()[BASE]
    words = shlex.split(ingest_script(config))
    assert words[words.index("--address") + 1] == "auto"
    (job,) = of_kind(extras, "RayJob")
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == str(config.kubernetes.ingest.cpus)


@pytest.mark.parametrize(
    ("address", "endpoint", "joins"),
    [
        ("", "", "auto"),
        ("10.0.0.1:6379", "", "10.0.0.1:6379"),
        ("", "http://embed:8000", "its own"),
        ("auto", "http://embed:8000", "auto"),
    ],
)
def test_with_an_endpoint_the_work_is_done_in_a_ray_of_its_own_unless_one_is_named(
    address: str, endpoint: str, joins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[str] = []
    monkeypatch.setattr(ingest, "connect", joined.append)
    monkeypatch.setattr(ingest, "start_for_jobs", lambda: joined.append("its own"))
    with ingest._joined(address, endpoint):
        assert joined == [joins]


def test_a_key_from_a_file_is_sent_without_its_line_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBED_API_KEY", "ek_0123.secret\n")
    request = httpx.Request("GET", "http://embed", headers={"authorization": f"Bearer {secret_in('EMBED_API_KEY')}"})
    assert request.headers["authorization"] == "Bearer ek_0123.secret"


def test_the_nightly_run_clears_what_is_left_starts_waits_and_tells_of_a_failure(objects: list[Manifest]) -> None:
    (cron,) = of_kind(objects, "CronJob")
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    steps = [command[3:] for command in kubectl_steps(objects)]
    assert [step[0] for step in steps] == ["delete", "create", "wait", "wait"]
    assert {"--ignore-not-found", "--cascade=foreground"} <= set(steps[0])
    assert "--for=jsonpath={.status.endTime}" in steps[2]  # there after a failure too
    assert "--for=jsonpath={.status.jobDeploymentStatus}=Complete" in steps[3]
    assert {step[1] for step in steps if step[0] != "create"} == {"rayjob/embed-ingest"}


def test_it_waits_as_long_as_the_run_and_its_repetition_may_take(
    objects: list[Manifest], extras: list[Manifest]
) -> None:
    (job,) = of_kind(extras, "RayJob")
    attempts = job["spec"]["backoffLimit"] + 1
    longest = attempts * (job["spec"]["activeDeadlineSeconds"] + job["spec"]["preRunningDeadlineSeconds"])
    (timeout,) = (word for word in kubectl_steps(objects)[2] if word.startswith("--timeout="))
    assert int(timeout.removeprefix("--timeout=").removesuffix("s")) >= longest
    (cron,) = of_kind(objects, "CronJob")
    assert cron["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] > longest
    assert of_kind(extras, "RayCronJob")[0]["spec"]["schedule"] == cron["spec"]["schedule"]


def test_what_is_created_by_hand_gets_a_name_of_its_own(extras: list[Manifest]) -> None:
    by_hand = [one["metadata"] for one in extras if one["kind"] != "RayCronJob"]
    assert [about.get("name") for about in by_hand] == [None, None]
    assert {about["generateName"] for about in by_hand} == {"embed-ingest-", "embed-dead-letters-"}


def test_pods_of_a_run_stay_to_be_scraped_and_go_before_its_log(extras: list[Manifest]) -> None:
    (job,) = of_kind(extras, "RayJob")
    rules = job["spec"]["deletionStrategy"]["deletionRules"]
    pods = [rule["condition"]["ttlSeconds"] for rule in rules if rule["policy"] == "DeleteCluster"]
    log = [rule["condition"]["ttlSeconds"] for rule in rules if rule["policy"] == "DeleteSelf"]
    assert min(pods) >= 10 * 15  # scrapes are 15 s apart
    assert max(pods) < min(log)


def test_the_list_of_dead_letters_reads_the_ledger_that_the_run_writes(extras: list[Manifest]) -> None:
    (listing,), (job,) = of_kind(extras, "Job"), of_kind(extras, "RayJob")

    def places(manifest: Manifest, component: str) -> dict[str, str]:
        (pod,) = (
            one for one in templates(manifest) if one["metadata"]["labels"]["embed-cluster/component"] == component
        )
        return {one["name"]: one["mountPath"] for one in pod["spec"]["containers"][0]["volumeMounts"]}

    run, read = places(job, "ingest"), places(listing, "dead-letters")
    assert {name: run[name] for name in ("config", "ledger")} == {name: read[name] for name in ("config", "ledger")}


def test_alerts_can_tell_two_clusters_apart(objects: list[Manifest]) -> None:
    (monitor,) = of_kind(objects, "PodMonitor")
    assert "ray.io/cluster" in monitor["spec"]["podTargetLabels"]
