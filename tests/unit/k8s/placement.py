"""How Ray places replicas on the pods of a rendered cluster: by resources and nothing else, in no certain order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.unit.k8s.manifests import Manifest, serve_config, worker_groups

Resources = dict[str, float]


@dataclass
class Pod:
    group: str
    free: Resources

    def takes(self, wanted: Resources) -> bool:
        return all(self.free.get(name, 0) + 1e-6 >= amount for name, amount in wanted.items())


@dataclass
class Cluster:
    """Pods of all groups, as many as autoscaling may make of each, on GPUs that are given."""

    groups: list[Manifest]
    gpus: float
    random: Random
    pods: list[Pod] = field(default_factory=list)

    def start(self) -> None:
        for group in self.groups:
            self.pods += [Pod(group["groupName"], offered(group)) for _ in range(group["replicas"])]
        self.random.shuffle(self.pods)

    def place(self, wanted: Resources) -> bool:
        """On any pod that has room, as Serve's SPREAD may; else on a pod that the autoscaler adds."""
        rooms = [pod for pod in self.pods if pod.takes(wanted)] or list(self._added(wanted))
        if not rooms:
            return False
        pod = self.random.choice(rooms)
        pod.free |= {name: pod.free[name] - amount for name, amount in wanted.items()}
        return True

    def _added(self, wanted: Resources) -> Iterator[Pod]:
        for group in self.groups:
            pod = Pod(group["groupName"], offered(group))
            there = [one for one in self.pods if one.group == pod.group]
            used = sum(offered(self._group(one.group)).get("GPU", 0) for one in self.pods)
            if pod.takes(wanted) and len(there) < group["maxReplicas"] and used + pod.free.get("GPU", 0) <= self.gpus:
                self.pods.append(pod)
                yield pod
                return

    def _group(self, name: str) -> Manifest:
        return next(group for group in self.groups if group["groupName"] == name)


def offered(group: Manifest) -> Resources:
    """By a pod: what `ray start` says in it."""
    params = group["rayStartParams"]
    own: Resources = json.loads(params.get("resources", "'{}'").strip("'"))
    return {"CPU": float(params["num-cpus"]), "GPU": float(params.get("num-gpus", 0)), **own}


def asked(deployment: Manifest) -> Resources:
    """By a replica: its bundles together, which all lie on one node, or its actor's resources."""
    options = deployment["ray_actor_options"]
    alone = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus", 0), **options.get("resources", {})}
    bundles: list[Resources] = deployment.get("placement_group_bundles", [alone])
    return {name: sum(bundle.get(name, 0) for bundle in bundles) for name in {key for one in bundles for key in one}}


def bounds(deployment: Manifest) -> tuple[int, int]:
    """(replicas that it starts with, most)."""
    scaling: dict[str, Any] | None = deployment.get("autoscaling_config")
    if scaling is None:
        return deployment["num_replicas"], deployment["num_replicas"]
    return scaling["min_replicas"], scaling["max_replicas"]


def surge(deployment: Manifest, replicas: int) -> int:
    """Replicas that start before as many old ones leave; in whole numbers, as Serve counts."""
    return (int(deployment["max_surge_percent"]) * replicas + 99) // 100


def unplaced(objects: list[Manifest], gpus: float, seed: int, most: bool = False, surging: bool = False) -> list[str]:
    """Deployments of the replicas that find no room, placed in an order that the seed decides.

    `most`: all deployments with their most replicas. `surging`: and with those that an update starts beside them.
    """
    random = Random(seed)  # noqa: S311
    deployments = serve_config(objects)["applications"][0]["deployments"]
    cluster = Cluster(worker_groups(objects), gpus, random)
    cluster.start()
    waves = [[(one, bounds(one)[most]) for one in deployments]]
    if surging:
        waves.append([(one, surge(one, bounds(one)[most])) for one in deployments])
    missing = []
    for wave in waves:
        replicas = [one for one, count in wave for _ in range(count)]
        random.shuffle(replicas)
        missing += [one["name"] for one in replicas if not cluster.place(asked(one))]
    return missing


def homes(objects: list[Manifest]) -> dict[str, set[str]]:
    """Groups whose empty pods take a replica of each deployment."""
    deployments = serve_config(objects)["applications"][0]["deployments"]
    groups = worker_groups(objects)
    return {
        one["name"]: {group["groupName"] for group in groups if Pod("", offered(group)).takes(asked(one))}
        for one in deployments
    }
