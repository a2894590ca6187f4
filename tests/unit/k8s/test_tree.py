"""The manifests under k8s/ are what the presets render to, and an overlay is exactly what its configuration says."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.render.kuberay import extra_files, render_kuberay
from cluster.render.overlays import BASE, overlay_configs, overlays_tree
from cluster.render.patch import difference
from cluster.render.tree import flat_tree, to_yaml, write_tree
from tests.unit.k8s.manifests import K8S, OVERLAYS, Manifest, documents

HAND_WRITTEN = {"examples", "image", "monitoring"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b/c", "~"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c/d", "~e"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def applied(operations: list[Manifest], document: Any) -> Any:
    """RFC 6902, as far as `difference` uses it."""
    holder = {"": document}
    for operation in operations:
        *parents, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")]
        target: Any = holder
        for step in parents:
            target = target[int(step) if isinstance(target, list) else step]
        key = int(last) if isinstance(target, list) else last
        target.pop(key) if operation["op"] == "remove" else target.__setitem__(key, operation["value"])
    return holder[""]


def as_text(document: Any) -> str:
    """In which `true` is not 1."""
    return json.dumps(document, sort_keys=True)


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return overlays_tree()


def test_the_committed_manifests_are_what_the_presets_render_to(generated: dict[str, str]) -> None:
    committed = {
        str(path.relative_to(K8S)): path.read_text(encoding="utf-8")
        for path in K8S.rglob("*")
        if path.is_file() and path.relative_to(K8S).parts[0] not in HAND_WRITTEN
    }
    assert committed.keys() == generated.keys(), (
        "run `embedctl render overlays --out k8s`, and remove what it does not write"
    )
    for name in sorted(generated):
        assert committed[name] == generated[name], f"{name}: run `embedctl render overlays --out k8s`"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_makes_of_an_overlay_what_its_configuration_renders_to(
    overlay: str, kustomized: dict[str, list[Manifest]]
) -> None:
    config = overlay_configs()[Path(overlay).name]
    assert {identity(one): one for one in kustomized[overlay]} == {
        identity(one): documents(to_yaml([one]))[0] for one in render_kuberay(config)
    }


@given(old=JSON, new=JSON)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_difference_turns_the_old_document_into_the_new(old: Any, new: Any) -> None:
    operations = list(difference(old, new))
    assert as_text(applied(operations, deepcopy(old))) == as_text(new)


def test_equal_documents_have_no_difference() -> None:
    assert list(difference({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]})) == []


def test_a_tree_names_its_files_and_leaves_out_those_to_apply_by_hand(tmp_path: Path) -> None:
    config = overlay_configs()[BASE]
    write_tree(flat_tree(config, "embedctl render kuberay"), tmp_path)
    listed = documents((tmp_path / "kustomization.yaml").read_text(encoding="utf-8"))[0]["resources"]
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.yaml")}
    assert written == {"kustomization.yaml", *listed, *(f"extras/{name}" for name in extra_files(config))}
