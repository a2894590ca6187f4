"""`embedctl deploy | status | down | env`: the application on a Ray cluster that runs already."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.commands.options import AddressOption, ConfigOption
from cluster.config import load_config
from cluster.environment import export_lines, node_environment, secret_in
from cluster.running.serve_state import ApplicationState, application_state
from cluster.running.status import ClusterStatus, ModelState, cluster_status
from serve_app.core.errors import SetupError

SCRAPE_TIMEOUT_S = 15.0
console = Console()

TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for it.")]


def deploy(config: ConfigOption = None, address: AddressOption = "auto", timeout: TimeoutOption = 1800) -> None:
    """Start the application on a running Ray cluster, or bring the one that runs there up to date.

    Only what changed is replaced, new replicas first; presets and limits change in place. A version that does not start
    is taken back. Exit code 2 for a wrong configuration, 1 if the cluster cannot run it; both leave it as it was.
    Example: `embedctl deploy --config cluster.yaml --address 10.0.0.1:6379`
    """
    from cluster.running import lifecycle

    settings = load_config(config)
    with console.status("Looking at the cluster") as spinner:

        def report(state: ApplicationState) -> None:
            spinner.update(escape("; ".join(map(str, state.deployments.values())) or "Deploying"))

        done = lifecycle.deploy(settings, address, timeout, report)
    console.print(f"[green]Deployed[/green] in {done.seconds:.0f} s: {escape(done.replicas)}.", soft_wrap=True)
    if done.changed:
        console.print(f"Changed: {escape(', '.join(done.changed))}.", soft_wrap=True, highlight=False)


def status(
    address: AddressOption = "auto",
    endpoint: Annotated[str, typer.Option(help="Take the figures from this HTTP address instead of over Ray.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    key_env: Annotated[
        str, typer.Option(help="Environment variable that holds the API key (`admin`) for --endpoint.")
    ] = "EMBED_API_KEY",
) -> None:
    """Say how the application on a Ray cluster is. Exit code 0 if it is well, 1 if not."""
    from cluster.running.local import connect, serve_details

    connect(address)
    details = serve_details()
    if application_state(details) is None:
        found = cluster_status(details, None, ())
    else:
        found = cluster_status(details, _scraped(endpoint, secret_in(key_env)) if endpoint else _exposition(), _cards())
    if as_json:
        sys.stdout.write(json.dumps({**asdict(found), "is_well": found.is_well}) + "\n")
    else:
        _print(found)
    raise typer.Exit(0 if found.is_well else 1)


def down(address: AddressOption = "auto", timeout: TimeoutOption = 120) -> None:
    """Remove the application and Serve from a Ray cluster, once the requests under way are answered."""
    from cluster.running.removal import take_down

    with console.status("Finishing what is under way"):
        said = take_down(address, timeout)
    console.print(escape(said), soft_wrap=True, highlight=False)


def env() -> None:
    """Print the environment that every node needs before `ray start`.

    Example: `eval "$(embedctl env)" && ray start --head`
    """
    sys.stdout.write(export_lines(node_environment()))


def _exposition() -> str | None:
    """What all processes have counted, over Ray; None if no Router answers."""
    content = _asked("scrape")
    return content.decode() if isinstance(content, bytes) else None


def _cards() -> list[dict[str, object]]:
    cards = _asked("cards")
    return [card.content() for card in cards] if isinstance(cards, list) else []


def _asked(method: str) -> object:
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    from cluster.running.lifecycle import ask_router

    try:
        return ask_router(method, SCRAPE_TIMEOUT_S)
    except (RayError, RayServeException, TimeoutError):
        return None


def _scraped(endpoint: str, key: str) -> str:
    """Raises SetupError."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{endpoint.rstrip('/')}/metrics", headers=headers, timeout=SCRAPE_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SetupError(
            f"{endpoint} does not answer ({type(error).__name__}): is it the cluster's address?"
        ) from error
    if answer.status_code != 200:
        raise SetupError(f"{endpoint}/metrics answered {answer.status_code}: does the key have the scope `admin`?")
    return answer.text


def _print(found: ClusterStatus) -> None:
    color = "green" if found.is_well else "yellow"
    routers = f"{found.routers_running} of {found.routers_wanted} Routers"
    console.print(f"[{color}]{found.application}[/{color}]  {routers}  settings {found.live_version or '-'}")
    for model in found.models:
        fingerprint = model.fingerprint or "no replica has answered yet"
        work = f"{model.tokens_per_s:,.0f} tokens/s, {model.queued_tokens:,} tokens wait"
        console.print(f"[bold]{escape(model.name)}[/bold]  {model.running} of {model.wanted} replicas  {work}")
        console.print(f"[dim]{escape(fingerprint)}[/dim]", highlight=False)
        if model.classes:
            console.print(_latencies(model))
    for note in found.notes:
        console.print(f"[dim]{escape(note)}[/dim]", soft_wrap=True, highlight=False)
    for problem in found.problems:
        console.print(f"[yellow]{escape(problem)}[/yellow]", soft_wrap=True, highlight=False)


def _latencies(model: ModelState) -> Table:
    table = Table("class", "requests", "p50", "p99")
    for word, latency in model.classes.items():
        table.add_row(word, f"{latency.requests:,}", _milliseconds(latency.p50_s), _milliseconds(latency.p99_s))
    return table


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:,.0f} ms"
