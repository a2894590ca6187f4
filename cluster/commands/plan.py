"""`embedctl plan`: what the hardware implies for every model, and why."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from cluster import presets
from cluster.commands.options import ConfigOption
from cluster.config import ConfigError, planned
from cluster.plan.plans import DOCUMENT_TOKENS, ModelPlan, Plan, Totals, totals

console = Console()

LIST = "list"
VALID = (
    "is valid. It describes no `hardware`, so that nothing follows from that: add `hardware`, or look at a preset with "
    "--preset (`list` shows them)."
)
ASSUMED = (
    "Speed is an estimate from data sheets, and list prices are orders of magnitude: measure yours before you buy."
)


def plan(
    config: ConfigOption = None,
    preset: Annotated[str, typer.Option("--preset", "-p", help="A configuration to start from, or `list`.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The whole plan as one JSON object.")] = False,
) -> None:
    """Show what the hardware implies: replicas, GPUs of each, batch sizes, Routers, speed and cost; and why.

    Nothing is started. Keys that the configuration sets itself are taken as they are. A configuration without
    `hardware` is only checked. Exit code 2 for a wrong one.

    Example: `embedctl plan --preset fleet`
    """
    if preset == LIST:
        _list(as_json)
        return
    path, made = _planned(config, preset)
    if as_json:
        sys.stdout.write(json.dumps(document(made), ensure_ascii=False) + "\n")
    elif made.hardware is None:
        console.print(f"{escape(str(path or 'The default configuration'))} {VALID}", soft_wrap=True, highlight=False)
    else:
        show(console, made)


def document(made: Plan) -> dict[str, object]:
    """The plan as JSON objects: decisions, models, and totals at the fewest and at the most nodes."""
    found = {"nodes": totals(made, most=False), "max_nodes": totals(made, most=True)}
    return {
        "decisions": [asdict(decision) for decision in made.decisions],
        "models": [asdict(model) for model in made.models],
        "totals": {name: _total(total) for name, total in found.items() if total is not None},
    }


def show(target: Console, made: Plan) -> None:
    """Tables for people: decisions with their reasons, models, totals."""
    table = Table(Column("key", no_wrap=True), Column("value", no_wrap=True), "why")
    for decision in made.decisions:
        style = "dim" if decision.given else None
        table.add_row(escape(decision.key), escape(_number(decision.value)), escape(decision.why), style=style)
    target.print(table)
    target.print(_models(made))
    least, most = totals(made, most=False), totals(made, most=True)
    for total in dict.fromkeys(total for total in (least, most) if total is not None):
        target.print(escape(_sentence(total)), soft_wrap=True, highlight=False)
    target.print(f"[dim]{ASSUMED}[/dim]", soft_wrap=True)


def _planned(config: Path | None, preset: str) -> tuple[Path | None, Plan]:
    if config is not None and preset:
        raise ConfigError("Give either --config or --preset: a preset is a whole configuration.")
    path = Path(presets.PREFIX + preset) if preset else config
    _, made = planned(path)
    return path, made


def _list(as_json: bool) -> None:
    known = {name: presets.summary(name) for name in presets.names()}
    if as_json:
        sys.stdout.write(json.dumps(known, ensure_ascii=False) + "\n")
        return
    table = Table("preset", "what it is for")
    for name, summary in known.items():
        table.add_row(escape(name), escape(summary))
    console.print(table)
    console.print("Use one with any command: --config preset:NAME", highlight=False)


def _models(made: Plan) -> Table:
    table = Table("model", "replicas", "GPUs of one", "GiB of one", "tokens/s of one")
    for model in made.models:
        table.add_row(*map(escape, _row(model)))
    return table


def _row(model: ModelPlan) -> tuple[str, ...]:
    many = model.most_replicas
    return (
        model.name,
        f"{many}" if model.replicas == many else f"{model.replicas} to {many}",
        f"{model.gpus:g}",
        "not known" if model.memory is None else f"{model.memory.total:.1f}",
        "not known" if model.tokens_per_s is None else f"about {model.tokens_per_s:,.0f}",
    )


def _sentence(total: Totals) -> str:
    words = [f"{total.nodes} node{'s' if total.nodes > 1 else ''}, {total.gpus} GPUs"]
    if total.tokens_per_s is not None and total.documents_per_hour is not None:
        words.append(f"about {total.tokens_per_s:,.0f} tokens/s")
        words.append(f"{total.documents_per_hour:,.0f} documents of {DOCUMENT_TOKENS} tokens an hour")
    if total.cost_per_hour is not None:
        words.append(f"{total.currency}{total.cost_per_hour:,.2f} an hour")
    if total.cost_per_million_tokens is not None:
        words.append(f"{total.currency}{total.cost_per_million_tokens:.4f} for a million tokens at full load")
    return ", ".join(words)


def _total(total: Totals) -> dict[str, object]:
    return {
        **asdict(total),
        "documents_per_hour": total.documents_per_hour,
        "cost_per_million_tokens": total.cost_per_million_tokens,
    }


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else f"{value:,}"
