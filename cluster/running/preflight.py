"""What is looked at before anything changes in a running cluster: its nodes, its resources, its HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from cluster.config import EVERY_ADDRESS, ClusterConfig
from cluster.environment import missing_here, product_version
from serve_app.core.errors import SetupError
from serve_app.settings import APP_NAME, EMBEDDER_CPUS, ROUTER_CPUS

LOOK_TIMEOUT_S = 60.0  # a process on every node has to start
ROUTE = "/"
DELETING = "DELETING"  # an application that goes; its route is free
RAISE_OR_LOWER = "lower `replicas`, `gpus_per_replica` or `tensor_parallel`"


@dataclass(frozen=True, slots=True)
class NodeLook:
    """One node as a process on it sees it."""

    address: str
    version: str  # of this product
    missing: tuple[str, ...]  # variables that nodes need and this one was started without


def check_resources(config: ClusterConfig, there_is: Mapping[str, float], where: str) -> None:
    """Serve would wait for ever for what is not there. A model that sleeps must find room for a replica when it wakes.

    Raises SetupError.
    """
    routers = ROUTER_CPUS * config.router.replicas
    cpus = routers + max(sum(EMBEDDER_CPUS * m.replicas for m in config.models), EMBEDDER_CPUS)
    each = [(m.gpus_per_replica * m.tensor_parallel, m.replicas) for m in config.models]
    gpus = max(sum(gpus * replicas for gpus, replicas in each), *(gpus for gpus, _ in each))
    for kind, wanted in (("CPU", cpus), ("GPU", gpus)):
        if wanted > there_is.get(kind, 0):
            raise SetupError(
                f"The configuration asks for {wanted:g} {kind}s and {where} has {there_is.get(kind, 0):g}: "
                f"{RAISE_OR_LOWER}."
            )


def check_splits(config: ClusterConfig, nodes: Sequence[Mapping[str, float]]) -> None:
    """A replica split over GPUs stands on one node. `nodes` are the resources of each. Raises SetupError."""
    largest = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
    for model in config.models:
        if model.tensor_parallel > max(1.0, largest):
            raise SetupError(
                f"One replica of {model.served_name} needs {model.tensor_parallel} GPUs on one node and the largest "
                f"node has {largest:g}: lower its `tensor_parallel` or add larger nodes."
            )


def check_nodes(looks: Sequence[NodeLook]) -> None:
    """Every node must run what is deployed, the way it is meant to. Raises SetupError."""
    mine = product_version()
    for look in looks:
        if look.version != mine:
            raise SetupError(
                f"Node {look.address} has embed-cluster {look.version} and this machine has {mine}: "
                "install the same version on both."
            )
        if look.missing:
            raise SetupError(
                f"Node {look.address} was started without {look.missing[0]} and {len(look.missing) - 1} more variables "
                'that serving needs: start it again with `eval "$(embedctl env)"` before `ray start`.'
            )


def check_http(config: ClusterConfig, details: Mapping[str, Any] | None) -> None:
    """Serve's HTTP listens where it was started until Serve is removed. Raises SetupError."""
    options = details.get("http_options") if details is not None else None
    if options is None:
        return
    host, port = options.get("host"), options.get("port")
    if (host, port) != (config.http.host, config.http.port):
        raise SetupError(
            f"The cluster's HTTP listens on {host}:{port} and `http` says {config.http.host}:{config.http.port}, which "
            "cannot change while it runs: set `http` back, or remove the application with `embedctl down` first."
        )


def check_host(config: ClusterConfig, nodes: int) -> None:
    """HAProxy of one node reaches the Routers of another where these listen: on `http.host`. Raises SetupError."""
    if nodes > 1 and _is_of_one_node(config.http.host):
        raise SetupError(
            f"`http.host`: {config.http.host} is an address of one node, and the {nodes} nodes of the cluster reach "
            "each other's Routers there: set it to 0.0.0.0, behind a firewall."
        )


def check_route(details: Mapping[str, Any] | None) -> None:
    """The application answers at `/`, which only one can. Raises SetupError."""
    applications = details["applications"] if details is not None else {}
    for name, application in applications.items():
        if name != APP_NAME and application.get("route_prefix") == ROUTE and application["status"] != DELETING:
            raise SetupError(
                f"The Serve application `{name}` has the route {ROUTE}, which this one needs: give `{name}` another "
                "`route_prefix`, or remove it."
            )


def _is_of_one_node(host: str) -> bool:
    """A name may be another node's address on each of them, an address is not."""
    try:
        return str(ip_address(host)) not in EVERY_ADDRESS
    except ValueError:
        return host == "localhost"


def alive_nodes() -> list[dict[str, Any]]:
    """Of the connected cluster, as Ray describes them."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def look_at_nodes() -> list[NodeLook]:
    """Ask a process on every node of the connected cluster. Raises SetupError."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in alive_nodes()}
    asked = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(address)
        for node, address in addresses.items()
    ]
    try:
        looks: list[NodeLook] = ray.get(asked, timeout=LOOK_TIMEOUT_S)
    except GetTimeoutError:
        raise SetupError(f"Not every node of the cluster answered within {LOOK_TIMEOUT_S:g} s: is one lost?") from None
    except RayError as error:
        line = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise SetupError(
            f"A node of the cluster cannot run this product ({line.strip()}): is embed-cluster installed on all nodes?"
        ) from error
    return looks


def _look(address: str) -> NodeLook:
    """Runs on the node."""
    return NodeLook(address, product_version(), tuple(missing_here()))
