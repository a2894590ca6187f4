"""What Serve says of the application, as plain values: deployments, replicas, and what is wrong with them in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve_app.core.errors import SetupError
from serve_app.settings import APP_NAME

WELL = "RUNNING"  # of an application and of a replica
FAILED = "DEPLOY_FAILED"
SERVING_PROXY = ("HEALTHY", "DRAINING")
GROWING = "UPSCALING"  # of a deployment
IN_TRANSITION = ("UPDATING", GROWING, "DOWNSCALING")


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """One deployment and its replicas."""

    name: str
    status: str
    message: str
    wanted: int  # replicas
    replicas: Mapping[str, str]  # id → state

    @property
    def running(self) -> int:
        return Counter(self.replicas.values())[WELL]

    @property
    def count(self) -> str:
        return f"{self.name}: {self.running} of {self.wanted} replicas run"

    def __str__(self) -> str:
        others = Counter(state.lower() for state in self.replicas.values() if state != WELL)
        words = "".join(f", {count} {state.replace('_', ' ')}" for state, count in sorted(others.items()))
        return f"{self.name} {self.running} of {self.wanted} running{words}"


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """The application as a whole."""

    status: str
    message: str
    deployments: Mapping[str, DeploymentState]

    @property
    def cause(self) -> str:
        """Why it failed, in one line."""
        failed = [d.message for d in self.deployments.values() if d.status in {FAILED, "UNHEALTHY"} and d.message]
        return cause_of(failed or [self.message])

    def problems(self) -> Iterator[str]:
        """What keeps it from being well; nothing while it is."""
        for deployment in self.deployments.values():
            cause = cause_of([deployment.message])
            lack = deployment.count
            if deployment.status in {FAILED, "UNHEALTHY"}:
                yield f"{lack}, it is {deployment.status.lower().replace('_', ' ')}: {cause}"
            elif deployment.status in IN_TRANSITION and self.status != WELL:
                yield f"{lack}, it is being updated{f': {cause}' if cause else ''}"
            elif deployment.running < deployment.wanted and deployment.status != GROWING:
                yield f"{lack}{f': {cause}' if cause else ', the others are on their way'}"
        if self.status != WELL and not any(d.status != "HEALTHY" for d in self.deployments.values()):
            yield f"the application is {self.status.lower().replace('_', ' ')}: {cause_of([self.message])}"

    def notes(self) -> Iterator[str]:
        """What is under way although it is well: replicas that the load has asked for."""
        for deployment in self.deployments.values():
            if self.status == WELL and deployment.status == GROWING:
                cause = cause_of([deployment.message])
                yield f"{deployment.count}{f': {cause}' if cause else ', the others are on their way'}"


def application_state(details: Mapping[str, Any] | None, name: str = APP_NAME) -> ApplicationState | None:
    """From Serve's instance details; None where the application is not deployed."""
    found = details["applications"].get(name) if details is not None else None
    if found is None:
        return None
    deployments = {key: _deployment(key, entry) for key, entry in found.get("deployments", {}).items()}
    return ApplicationState(_word(found["status"]), found.get("message", ""), deployments)


def other_applications(details: Mapping[str, Any], name: str = APP_NAME) -> list[str]:
    """The names of what else runs on this Serve."""
    return [other for other in details["applications"] if other != name]


def sick_proxies(details: Mapping[str, Any]) -> list[str]:
    """Of every node whose proxy takes no requests: that, in words."""
    states = {
        proxy.get("node_ip", node): _word(proxy.get("status", "")) for node, proxy in details.get("proxies", {}).items()
    }
    return [
        f"the HTTP proxy of node {node} is {state.lower()}"
        for node, state in states.items()
        if state not in SERVING_PROXY
    ]


def replaced(before: ApplicationState | None, after: ApplicationState) -> str:
    """Which deployments kept their replicas and which got others, in words."""
    old = before.deployments if before is not None else {}
    words = []
    for name, deployment in after.deployments.items():
        known = set(old[name].replicas) if name in old else set()
        if not known:
            words.append(f"{name} started")
        elif set(deployment.replicas) & known:
            words.append(f"{name} kept its replicas")
        else:
            words.append(f"{name} was replaced")
    words += [f"{name} was removed" for name in old if name not in after.deployments]
    return ", ".join(words)


def cause_of(messages: Iterable[str]) -> str:
    """The line of a failure's text that a person can act on; empty if there is none."""
    lines = [line.strip() for text in messages for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.split(":")[0]]
    return (errors or lines or [""])[-1].removeprefix(f"{SetupError.__module__}.{SetupError.__name__}: ")


def _deployment(name: str, entry: Mapping[str, Any]) -> DeploymentState:
    replicas = {replica["replica_id"]: _word(replica["state"]) for replica in entry.get("replicas", ())}
    return DeploymentState(
        name, _word(entry["status"]), entry.get("message", ""), entry.get("target_num_replicas", 0), replicas
    )


def _word(state: object) -> str:
    """Serve's states are enumerations of strings, in the details and on the wire alike."""
    return str(getattr(state, "value", state))
