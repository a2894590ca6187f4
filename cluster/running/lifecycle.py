"""The application on a Ray cluster that runs already: put there and brought up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from cluster.config import ClusterConfig
from cluster.running.changes import changed_keys
from cluster.running.local import APPLICATION, connect, serve_details, wait_for_http
from cluster.running.preflight import (
    ROUTE,
    alive_nodes,
    check_host,
    check_http,
    check_nodes,
    check_resources,
    check_route,
    check_splits,
    look_at_nodes,
)
from cluster.running.removal import stop_serve, withdraw
from cluster.running.serve_state import FAILED, WELL, ApplicationState, application_state, replaced
from cluster.running.status import ROUTER
from serve_app.core.errors import SetupError
from serve_app.settings import APP_NAME, AppSettings

LOOK_EVERY_S = 0.5
ASK_ROUTER_S = 10.0
Look = Callable[[], ApplicationState | None]
Report = Callable[[ApplicationState], None]


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a deployment came to."""

    replicas: str  # which were replaced, in words
    changed: tuple[str, ...]  # keys of the configuration; none for a first deployment
    seconds: float


def deploy(config: ClusterConfig, address: str, timeout_s: float, report: Report) -> Deployed:
    """Bring the cluster at `address` to `config`; returns when it answers with it.

    Nothing is changed if the cluster cannot run it. If it does not start within `timeout_s`, what ran before is put
    back, or everything is removed again if nothing did. Raises SetupError.
    """
    started = time.monotonic()
    connect(address)
    details = serve_details()
    check_before_deployment(config, details)
    before = application_state(details)
    former = running_settings() if before is not None else None
    _start_serve(config)
    try:
        _run(config.app, timeout_s, report)
    except SetupError as error:
        raise SetupError(f"{error.message} {_take_back(before, former, timeout_s, report)}") from error
    after = application_state(serve_details())
    replicas = replaced(before, after) if after is not None else ""
    changed = changed_keys(former, config.app) if former is not None else ()
    return Deployed(replicas, changed, time.monotonic() - started)


def check_before_deployment(config: ClusterConfig, details: dict[str, Any] | None) -> None:
    """Whether the connected cluster can run the configuration at all. Raises SetupError."""
    nodes = [node["Resources"] for node in alive_nodes()]
    there_is = {kind: sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
    check_http(config, details)
    check_host(config, len(nodes))
    check_route(details)
    check_resources(config, there_is, "the cluster")
    check_splits(config, nodes)
    check_nodes(look_at_nodes())


def running_settings() -> AppSettings | None:
    """What the running Routers were built from and told since; None if none of them says so."""
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    try:
        return AppSettings.model_validate_json(ask_router("running_settings", ASK_ROUTER_S))
    except (RayError, RayServeException, TimeoutError, ValueError):  # ValueError: those of another release
        return None


def ask_router(method: str, timeout_s: float) -> Any:
    """Call one of the Routers. Raises RayError, RayServeException or TimeoutError."""
    from ray import serve

    handle = serve.get_deployment_handle(ROUTER, app_name=APP_NAME).options(method_name=method)
    return handle.remote().result(timeout_s=timeout_s)


def wait_until_running(look: Look, timeout_s: float, report: Report, sleep: Callable[[float], None]) -> None:
    """Raises SetupError with the cause if the application fails, disappears, or is not ready within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        state = look()
        if state is None:
            raise SetupError("The application was removed while it was being deployed.")
        report(state)
        if state.status == WELL:
            return
        if state.status == FAILED:
            raise SetupError(f"The new version did not start: {state.cause.rstrip('.')}.")
        if time.monotonic() >= deadline:
            waits_for = "; ".join(state.problems()).rstrip(".")
            raise SetupError(f"The new version was not ready within {timeout_s:g} s ({waits_for}).")
        sleep(LOOK_EVERY_S)


def _run(settings: AppSettings, timeout_s: float, report: Report) -> None:
    from ray import serve

    application = import_module(APPLICATION).build(settings)
    target = serve.RunTarget(application, name=APP_NAME, route_prefix=ROUTE)
    try:
        serve.run_many([target], wait_for_applications_running=False)
    except TimeoutError as error:
        raise SetupError(f"The HTTP proxies did not start: {str(error).rstrip('.')}. Is the port free?") from error
    wait_until_running(lambda: application_state(serve_details()), timeout_s, report, time.sleep)
    wait_for_http()


def _take_back(before: ApplicationState | None, former: AppSettings | None, timeout_s: float, report: Report) -> str:
    """After a failed deployment; says in a sentence what the cluster serves now."""
    if before is None:
        return withdraw(timeout_s)
    if former is None:
        return (
            "What ran before could not be asked for its settings, so it was not put back: deploy what is meant to run."
        )
    try:
        _run(former, timeout_s, report)
    except SetupError as error:
        return f"What ran before did not come back either: {error.message}"
    return "The cluster is back to what ran before."


def _start_serve(config: ClusterConfig) -> None:
    """HTTP on every node that has replicas; on a cluster that serves already nothing happens."""
    from ray import serve
    from ray.exceptions import RayActorError
    from ray.serve.config import HTTPOptions, ProxyLocation

    if serve_details() is not None:
        return
    options = HTTPOptions(host=config.http.host, port=config.http.port)
    try:
        with suppress(RayActorError):  # a proxy that was not ready in time: Serve starts another, and we wait for it
            serve.start(proxy_location=ProxyLocation.EveryNode, http_options=options)
    except (RuntimeError, TimeoutError) as error:
        stop_serve()
        raise SetupError(
            f"Serve did not start on {config.http.host}:{config.http.port}: {str(error).splitlines()[0]}. "
            "Is the port in use on a node?"
        ) from error
