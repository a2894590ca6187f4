"""`embedctl monitor`: a Prometheus on this machine that looks at the running cluster."""

from __future__ import annotations

import signal
import threading
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console
from rich.markup import escape

from cluster.commands.options import AddressOption, ConfigOption, EndpointOption
from cluster.config import load_config
from cluster.environment import secret_in
from serve_app.core.errors import SetupError

LOOK_EVERY_S = 0.5
SHOWN = ("Requests by status", "Time of interactive requests", "Tokens waiting in replicas", "Computed tokens a second")
console = Console()


def monitor(
    config: ConfigOption = None,
    address: AddressOption = "auto",
    endpoint: EndpointOption = "",
    port: Annotated[int, typer.Option(help="Port of Prometheus on this machine.", min=1, max=65535)] = 9090,
    key_env: Annotated[
        str, typer.Option(help="Environment variable that holds an API key with the scope `admin`, if one is needed.")
    ] = "EMBED_API_KEY",
) -> None:
    """Start Prometheus here and look at the running cluster until Ctrl-C, with the product's rules and alerts.

    It reads the metrics of the Ray nodes there are at the start, and of the endpoint. Its data is not kept.
    """
    url = (endpoint or load_config(config).http.endpoint).rstrip("/")
    from cluster.monitoring.prometheus import HOST, Scraped, endpoint_answers, local_prometheus, node_targets
    from cluster.running.local import connect

    key = secret_in(key_env)
    connect(address)
    import ray

    nodes = node_targets()
    ray.shutdown()  # or this process would end when the cluster does, and just then one looks
    answers = endpoint_answers(url, key)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with local_prometheus(Scraped(nodes, url if answers else "", key), port) as process:
        _show(f"http://{HOST}:{port}", len(nodes), url if answers else "")
        while not stop.wait(LOOK_EVERY_S):
            if process.poll() is not None:
                raise SetupError(f"Prometheus has ended by itself, with exit code {process.returncode}.")


def _show(url: str, nodes: int, endpoint: str) -> None:
    from cluster.monitoring.panels import ROWS

    panels = {panel.title: panel for row in ROWS for panel in row.panels}
    where = f"{nodes} Ray node{'s' if nodes > 1 else ''}"
    console.print(
        f"[green]Ready[/green]: Prometheus at {url} reads {where}{escape(f' and {endpoint}') * bool(endpoint)}."
    )
    console.print(f"Alerts: {url}/alerts")
    for title in SHOWN:
        expression = panels[title].queries[-1].filled_in()
        link = f"{url}/graph?g0.tab=0&g0.range_input=15m&g0.expr={quote(expression, safe='')}"
        console.print(f"{title}: {link}", soft_wrap=True, highlight=False, markup=False)
    if not endpoint:
        console.print("[dim]The endpoint does not answer, or has no metrics: only the nodes are read.[/dim]")
    console.print("[dim]Ctrl-C stops it.[/dim]")
