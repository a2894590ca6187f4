"""Objects → files that kustomize reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cluster.config import ClusterConfig
from cluster.render.kuberay import Files, extra_files, kuberay_files
from cluster.render.objects import Manifest
from cluster.render.patch import difference
from serve_app.core.errors import SetupError

Tree = dict[str, str]  # path → content

HEADER = "# Made by `{command}`. A change belongs into the configuration; made here, it is lost.\n"
KUSTOMIZATION = "kustomization.yaml"
EXTRAS = "extras"  # beside the tree: applied by hand, if at all


class _Dumper(yaml.CSafeDumper):
    """Text of several lines as a block, and every node in full: anchors would puzzle readers."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def _text(dumper: yaml.CSafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def flat_tree(config: ClusterConfig, command: str) -> Tree:
    """One directory with everything, and the files that are applied by hand. Raises SetupError."""
    files = kuberay_files(config)
    extras = {f"{EXTRAS}/{name}": objects for name, objects in extra_files(config).items()}
    written = {name: to_yaml(objects, command) for name, objects in {**files, **extras}.items()}
    return {KUSTOMIZATION: _kustomization({"resources": sorted(files)}, command), **written}


def overlay_tree(base: ClusterConfig, other: ClusterConfig, base_path: str, command: str) -> Tree:
    """What turns the objects of `base` into those of `other`: patches, and files of its own. Raises SetupError."""
    old, new = _by_identity(kuberay_files(base)), _by_identity(kuberay_files(other))
    patches: list[Manifest] = []
    files: dict[str, list[Any]] = {}
    for identity in sorted(old.keys() | new.keys()):
        kind, name = identity
        if identity not in old:
            files.setdefault("additional.yaml", []).append(new[identity])
        elif identity not in new:
            patches.append({"patch": to_yaml([_deletion(old[identity])])})
        elif operations := list(difference(old[identity], new[identity])):
            path = f"patch-{kind.lower()}-{name}.yaml"
            patches.append({"path": path, "target": {"kind": kind, "name": f"^{name}$"}})
            files[path] = [operations]
    content = {"resources": [base_path, *sorted(set(files) & {"additional.yaml"})], "patches": patches}
    written = {name: to_yaml(objects, command) for name, objects in files.items()}
    return {KUSTOMIZATION: _kustomization(content, command), **written}


def _deletion(manifest: Manifest) -> Manifest:
    identity = {key: manifest["metadata"][key] for key in ("name", "namespace")}
    return {"$patch": "delete", "apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": identity}


def to_yaml(documents: list[Any], command: str = "") -> str:
    text = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return (HEADER.format(command=command) if command else "") + text


def write_tree(tree: Tree, out: Path) -> None:
    """Raises SetupError if the disk does not take it."""
    for name, text in tree.items():
        path = out / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SetupError(f"{path} cannot be written: {error.strerror}.") from error


def _kustomization(content: Manifest, command: str) -> str:
    return to_yaml([{"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content}], command)


def _by_identity(files: Files) -> dict[tuple[str, str], Manifest]:
    return {(one["kind"], one["metadata"]["name"]): one for objects in files.values() for one in objects}
