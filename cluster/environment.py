"""The environment of every process of the cluster: what Ray and Serve read when they are imported, ports and secrets.

A local cluster takes it over by itself. A node that is started by `ray start` needs it in its shell, as printed by
`embedctl env`; a pod needs it in its manifest.
"""

from __future__ import annotations

import os
import resource
import shlex
import socket
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

TOKEN_FILE = Path.home() / ".ray" / "auth_token"  # where a local cluster leaves it for this user
GRPC_MESSAGE_BYTES = 64 * 2**20  # Serve's default of 4 MiB is smaller than one slice of wide vectors
MOST_CONNECTIONS = 100_000
SPARE_FILES = 1024  # of HAProxy itself: sockets to listen on, health checks, logs

# The same in every process of a cluster, on all of its nodes.
SERVE_ENVIRONMENT = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(GRPC_MESSAGE_BYTES),
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # a line of log parsed in Python for every request; ours count it already
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",  # lines of log it keeps in memory: 1,000 by the first
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # ten looks a second cost a laptop 5 % of a core
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.http.ingress.middlewares",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",  # after the default of 5 a slow machine starts it anew, and so on
    "RAY_worker_niceness": "0",  # Ray's default of 15 would let any other process of the machine go first
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
}

# HAProxy's own ports and those of Serve's fallback proxy. Clusters, or nodes, on one machine need some of their own.
PORT_VARIABLES = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
CLIENT_ENVIRONMENT = {
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "1",  # a client has no event loop of its own
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a handle that reports once more after the client has left would start a cluster
}


def cluster_environment() -> dict[str, str]:
    """What is the same on every node; the same on every machine that asks."""
    return dict(SERVE_ENVIRONMENT)


def node_environment() -> dict[str, str]:
    """What a node on a machine like this one needs."""
    return {**SERVE_ENVIRONMENT, "RAY_SERVE_HAPROXY_MAXCONN": str(_connections())}


def free_ports() -> dict[str, str]:
    """A free port for each of PORT_VARIABLES."""
    with ExitStack() as stack:  # all are held at once, so that no two are the same
        probes = {variable: stack.enter_context(socket.socket()) for variable in PORT_VARIABLES}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {variable: str(probe.getsockname()[1]) for variable, probe in probes.items()}


def export_lines(variables: dict[str, str]) -> str:
    """For a shell to read: `eval "$(embedctl env)"`."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def prepare_environment() -> None:
    """Must run before `ray.serve` is imported, in every command that talks to the cluster."""
    _set_defaults(node_environment())


def prepare_local_environment() -> None:
    """For a cluster that this process starts: beside others on the machine it gets ports of its own."""
    _set_defaults(free_ports())
    prepare_environment()


def prepare_job_environment() -> None:
    """For a Ray that this process starts for its own work and that serves nothing."""
    _set_defaults({"RAY_BACKEND_LOG_LEVEL": "fatal"})
    prepare_environment()


def prepare_client_environment() -> None:
    """For a process that joins a running cluster."""
    _set_defaults(CLIENT_ENVIRONMENT)
    if TOKEN_FILE.is_file():  # left to itself, Ray sends the token to `auto` only, and not to an address it is given
        _set_defaults({"RAY_AUTH_MODE": "token"})
    prepare_environment()


def missing_here() -> list[str]:
    """Serve's variables that this process has not got, whatever their values: those are the operator's."""
    return [name for name in SERVE_ENVIRONMENT if name.startswith("RAY_SERVE_") and name not in os.environ]


def product_version() -> str:
    """Of the package installed here."""
    return version("embed-cluster")


def secret_in(variable: str) -> str:
    """What an environment variable holds: secrets come that way, since a command line is there for all to read.

    Without the line break that a file leaves at the end of a secret: no header may hold one.
    """
    return os.environ.get(variable, "").strip()


def _set_defaults(variables: dict[str, str]) -> None:
    """An operator's own setting goes before ours."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def _connections() -> int:
    """Clients that HAProxy lets in at once. Its default of 4,096 would keep the others waiting unanswered, where our
    admission answers them. HAProxy sets two and a half open files aside for each, and does not start if it
    cannot have them all.
    """
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most_files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, (most_files - SPARE_FILES) * 2 // 5))
