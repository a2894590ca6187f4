"""What docs/kubernetes.md says is there: files, commands, secrets, keys of the configuration."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
import yaml

from cluster.cli import app
from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from tests.unit.k8s.manifests import OVERLAYS, ROOT, Manifest, of_kind, templates

GUIDE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", GUIDE) + re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = sorted(
    {
        line.strip().partition(" > ")[0]
        for text in CODE
        for line in text.splitlines()
        if line.strip().startswith("embedctl ")
    }
)
SECRETS = re.findall(r"^\| `([a-z-]+)` \| `", GUIDE.partition("### Secrets")[2].partition("```")[0], re.MULTILINE)


def options_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the options given to it."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return command, [word for word in rest if word.startswith("-")]


def secrets_in(value: Any) -> Iterator[str]:
    """Names of Secrets, also inside the manifest that the CronJob creates."""
    if isinstance(value, dict):
        yield from (value[key]["name"] for key in ("secretKeyRef", "secretRef") if key in value)
        yield from ([value["secretName"]] if "secretName" in value else [])
        for name, member in value.items():
            yield from secrets_in(yaml.safe_load(member) if name == "rayjob.yaml" else member)
    elif isinstance(value, list):
        for item in value:
            yield from secrets_in(item)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_the_options_it_is_given(command: str) -> None:
    found, options = options_of(shlex.split(command)[1:])
    known = {name for parameter in found.params for name in parameter.opts}
    assert set(options) <= known


def test_commands_are_found_in_the_guide() -> None:
    assert {"embedctl render kuberay --config cluster.yaml --out ./manifests", "embedctl drain"} <= set(COMMANDS)


def test_every_file_it_names_is_there() -> None:
    named = set(re.findall(r"(?:k8s|tests)/[\w./-]*\w", GUIDE))
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_it_describes_the_overlays_that_there_are() -> None:
    assert set(re.findall(r"^\| `k8s/([a-z/-]+)` \|", GUIDE, re.MULTILINE)) == set(OVERLAYS)


def test_it_lists_the_secrets_that_manifests_name(kustomized: dict[str, list[Manifest]]) -> None:
    needed = set(secrets_in(list(kustomized.values())))
    assert needed <= set(SECRETS)
    assert set(SECRETS) - needed == {"embed-mask"}  # only with masking


def test_the_names_it_gives_are_those_of_the_manifests(kustomized: dict[str, list[Manifest]]) -> None:
    names = {one["metadata"]["name"] for one in kustomized["base"]}
    assert "embed" in names
    assert any(name.startswith("embed-weights-") for name in names)
    settings = KubernetesSettings()
    endpoint = f"http://{settings.name}-serve-svc:8000"
    assert "embed-serve-svc" in GUIDE
    assert any(endpoint in str(one) for one in of_kind(kustomized["base"], "ConfigMap"))
    assert any(template["metadata"]["labels"] for template in templates(kustomized["base"]))


def test_the_keys_it_names_are_in_the_configuration() -> None:
    keys = re.findall(r"`((?:kubernetes|hardware|ingest)\.[a-z_.]+)`", GUIDE)
    assert len(keys) >= 8
    for key in keys:
        model = ClusterConfig
        for part in key.split("."):
            assert part in model.model_fields, key
            annotation = model.model_fields[part].annotation
            choices = [annotation, *getattr(annotation, "__args__", ())]
            model = next((one for one in choices if hasattr(one, "model_fields")), model)
