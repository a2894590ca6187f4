"""`embedctl drain`: this node leaves its Ray cluster, its replicas first. For a pod's preStop hook."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cluster.environment import prepare_client_environment
from cluster.running.local import NOT_LET_IN
from cluster.running.native_output import without_announcements
from serve_app.core.errors import SetupError

REASON = "DRAIN_NODE_REASON_PREEMPTION"
ASK_TIMEOUT_S = 30.0


def drain(
    seconds: Annotated[int, typer.Option(min=1, help="Time until the node is gone.")] = 120,
) -> None:
    """Tell the Ray cluster that this node goes, and wait. Serve starts its replicas elsewhere, and stops them here when
    those are up; at the latest it does so one request's longest time before the end.

    Example: `embedctl drain --seconds 120`
    """
    until = time.monotonic() + seconds
    _announce(_this_node(), seconds)
    time.sleep(max(0.0, until - time.monotonic()))  # Ray ends the node, and with it this wait, as soon as it is idle


def _this_node() -> str:
    """`ray drain-node` finds its own node only inside a Ray driver.

    Raises SetupError if no Ray runs here, or if it wants a token that is not there.
    """
    prepare_client_environment()
    import logging

    import ray
    from ray.exceptions import AuthenticationError

    try:
        with without_announcements():
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise SetupError("No Ray node runs here: there is nothing to drain.") from error
    except AuthenticationError as error:
        raise SetupError(NOT_LET_IN) from error
    node = ray.get_runtime_context().get_node_id()
    ray.shutdown()
    return node


def _announce(node: str, seconds: int) -> None:
    """Raises SetupError if the cluster does not accept it."""
    command = [str(Path(sys.executable).with_name("ray")), "drain-node", "--node-id", node, "--reason", REASON]
    command += ["--reason-message", "the node is being stopped", "--deadline-remaining-seconds", str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"The cluster does not answer within {ASK_TIMEOUT_S:g} s.") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise SetupError(f"The cluster does not let the node go: {lines[-1] if lines else 'it gave no reason'}")
