"""`embedctl render`: the configuration as files for Ray Serve and Kubernetes. Changes nothing that runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cluster.commands.options import ConfigOption
from cluster.config import load_config

commands = typer.Typer(no_args_is_help=True, help="Write what Ray Serve or Kubernetes reads, from one configuration.")
console = Console()

OutOption = Annotated[
    Path, typer.Option("--out", "-o", help="Directory to write; files of the same name are replaced.")
]


@commands.command("serve-config")
def serve_config(
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; default: standard output.")] = None,
) -> None:
    """The configuration of a RayService's `serveConfigV2`, or for `serve deploy` to pods of `render kuberay`.

    On machines of your own use `embedctl deploy`: they have other paths, and none of the places it asks for.

    Example: `embedctl render serve-config --config cluster.yaml > serve.yaml`
    """
    from cluster.render.serve_config import render_serve_config
    from cluster.render.tree import to_yaml, write_tree

    text = to_yaml([render_serve_config(load_config(config))])
    if out is None:
        sys.stdout.write(text)
    else:
        write_tree({out.name: text}, out.parent)


@commands.command()
def kuberay(out: OutOption, config: ConfigOption = None) -> None:
    """All Kubernetes objects, for `kubectl apply -k DIR`.

    Example: `embedctl render kuberay --config cluster.yaml --out ./manifests`
    """
    from cluster.render.tree import flat_tree, write_tree

    tree = flat_tree(load_config(config), "embedctl render kuberay")
    write_tree(tree, out)
    _say(f"Wrote {len(tree)} files. Apply them with: kubectl apply --server-side -k {out}")


@commands.command()
def monitoring(out: OutOption, config: ConfigOption = None) -> None:
    """Prometheus' rules and configuration and Grafana's dashboard, for those of your own.

    Example: `embedctl render monitoring --config cluster.yaml --out ./monitoring`
    """
    from cluster.monitoring.files import monitoring_files
    from cluster.render.tree import write_tree

    files = monitoring_files(load_config(config).kubernetes.runbook_url)
    write_tree(files, out)
    _say(f"Wrote {', '.join(sorted(files))} into {out}")


@commands.command()
def overlays(out: OutOption) -> None:
    """The base and the overlays that come with the product, from its presets.

    Example: `embedctl render overlays --out k8s`
    """
    from cluster.render.overlays import overlays_tree
    from cluster.render.tree import write_tree

    tree = overlays_tree()
    write_tree(tree, out)
    _say(f"Wrote {len(tree)} files under {out}")


def _say(line: str) -> None:
    console.print(escape(line), soft_wrap=True, highlight=False)
