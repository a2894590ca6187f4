from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from cluster.config import ClusterConfig, load_config
from cluster.running.watch import LIVE_KEYS, ConfigWatch, compare, follow
from serve_app.core.errors import SetupError
from serve_app.settings import LiveSettings

BASE: dict[str, Any] = {"models": [{"path": "a/b"}], "presets": {"legal": "Find the clause", "faq": "Find the answer"}}


class Cluster:
    """A cluster that follows its file and writes down what happens to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self.applied: list[ClusterConfig] = []
        self.write(BASE)
        self.watch = ConfigWatch(path, load_config(path), lambda: load_config(path))

    def write(self, content: object) -> None:
        self.write_text(yaml.safe_dump(content, sort_keys=False))

    def write_text(self, text: str) -> None:
        """A new file in the place of the old one: its inode differs, whatever the clock's resolution."""
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(self.path)

    def look(self, times: int = 2) -> list[str]:
        """What is said during so many looks; two are enough to see a change at rest."""
        self.lines.clear()
        for _ in range(times):
            follow(self.watch, self.applied.append, self.lines.append)
        return list(self.lines)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "cluster.yaml")


def test_an_unchanged_file_is_never_read_again(cluster: Cluster) -> None:
    cluster.watch._load = lambda: pytest.fail("read an unchanged file")
    assert cluster.look(5) == []


def test_changed_presets_are_applied_once_and_named(cluster: Cluster) -> None:
    presets = {"legal": "Find the paragraph", "faq": "Find the answer", "code": "Find the function"}
    cluster.write({**BASE, "presets": presets})
    assert cluster.look(5) == ["Applied cluster.yaml: presets legal, code"]
    assert [config.presets for config in cluster.applied] == [presets]


def test_changed_limits_are_applied_beside_presets(cluster: Cluster) -> None:
    cluster.write({**BASE, "presets": {}, "limits": {"max_inputs": 7, "max_wait_s": 3}})
    assert cluster.look() == ["Applied cluster.yaml: limits max_inputs, max_wait_s; presets legal, faq"]
    assert cluster.applied[-1].limits.max_inputs == 7


def test_a_removed_preset_is_named(cluster: Cluster) -> None:
    cluster.write({"models": BASE["models"]})
    assert cluster.look() == ["Applied cluster.yaml: presets legal, faq"]
    assert cluster.applied[-1].presets == {}


def test_a_change_that_is_taken_back_is_applied_too(cluster: Cluster) -> None:
    cluster.write({**BASE, "presets": {}})
    cluster.look()
    cluster.write(BASE)
    assert cluster.look() == ["Applied cluster.yaml: presets legal, faq"]
    assert cluster.applied[-1].presets == BASE["presets"]


def test_other_changes_are_named_and_not_applied(cluster: Cluster) -> None:
    cluster.write({**BASE, "models": [{"path": "a/b", "replicas": 2}], "router": {"cache_mib": 7}})
    assert cluster.look(5) == ["cluster.yaml changed; restart to apply: models.0.replicas, router.cache_mib"]
    assert cluster.applied == []


def test_presets_are_applied_without_what_changed_beside_them(cluster: Cluster) -> None:
    cluster.write({"models": [{"path": "c/d"}], "presets": {"faq": "Find the answer"}})
    assert cluster.look() == [
        "cluster.yaml changed; restart to apply: models.0.path",
        "Applied cluster.yaml: presets legal",
    ]
    assert [model.path for model in cluster.applied[-1].models] == ["a/b"]


@pytest.mark.parametrize("text", ["models: [", "presets: {legal: ''}\n", "prests: {}\n", "- a\n"])
def test_a_broken_file_is_said_in_one_line_and_changes_nothing(cluster: Cluster, text: str) -> None:
    cluster.write_text(text)
    lines = cluster.look(5)
    assert len(lines) == 1
    assert lines[0].startswith("cluster.yaml was not applied, the settings stay as they are: ")
    assert "\n" not in lines[0]
    assert cluster.applied == []

    cluster.write({**BASE, "presets": {"legal": "Find the clause"}})
    assert cluster.look() == ["Applied cluster.yaml: presets faq"]


def test_a_deleted_file_changes_nothing(cluster: Cluster) -> None:
    cluster.path.unlink()
    assert "cannot be read" in " ".join(cluster.look(5))
    assert cluster.applied == []


def test_a_file_that_is_still_being_written_is_left_alone(cluster: Cluster) -> None:
    cluster.write_text("")  # as an editor leaves it for a moment: valid, and without any preset
    assert cluster.look(1) == []
    cluster.write(BASE)
    assert cluster.look(3) == []
    assert cluster.applied == []


def test_a_file_that_was_only_touched_says_nothing(cluster: Cluster) -> None:
    os.utime(cluster.path, (1, 1))
    assert cluster.look(3) == []


def test_what_could_not_be_applied_is_tried_again_with_the_next_change(cluster: Cluster) -> None:
    def fail(_: ClusterConfig) -> None:
        raise SetupError("no replica took it.")

    cluster.write({**BASE, "presets": {}})
    for _ in range(3):
        follow(cluster.watch, fail, cluster.lines.append)
    assert cluster.lines == ["cluster.yaml was not applied, the settings stay as they are: no replica took it."]

    cluster.write({**BASE, "presets": {"new": "Find it"}})
    assert cluster.look() == ["Applied cluster.yaml: presets legal, faq, new"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"http": {"port": 9000}}, "http.port"),
        ({"models": [{"path": "a/b"}, {"path": "c/d"}]}, "models"),
        ({"models": [{"path": "a/b", "engine": {"threads": 2}}]}, "models.0.engine.threads"),
        ({"models": [{"path": "a/b", "aliases": ["x"]}]}, "models.0.aliases"),
        ({"auth": {"keys_file": "/k.yaml"}}, "auth.keys_file"),
        ({"sink": "milvus-lite:./other"}, "sink"),
    ],
)
def test_a_change_is_named_by_its_key(change: dict[str, Any], key: str) -> None:
    old, new = ClusterConfig.model_validate(BASE), ClusterConfig.model_validate({**BASE, **change})
    found = compare(old, new)
    assert (found.fixed, found.live, found.config) == ((key,), (), old)


def test_every_live_setting_is_a_key_of_the_configuration() -> None:
    assert set(ClusterConfig.model_fields) >= LIVE_KEYS


@pytest.fixture
def versions() -> Callable[[ClusterConfig], dict[str, tuple[str | None, object]]]:
    from serve_app.app import build

    def of(config: ClusterConfig) -> dict[str, tuple[str | None, object]]:
        """Version and `user_config` of every deployment of the application."""
        router = build(config.app)._bound_deployment
        _, handles = cast(tuple[Any, dict[str, Any]], router.init_args)
        embedders = [handle._bound_deployment for handle in handles.values()]
        return {d.name: (d.version, d.user_config) for d in (router, *embedders)}

    return of


def test_new_presets_change_no_version_and_reach_the_router_alone(
    versions: Callable[[ClusterConfig], dict[str, tuple[str | None, object]]],
) -> None:
    old, new = (versions(ClusterConfig.model_validate({**BASE, "presets": p})) for p in ({}, {"faq": "Find it"}))
    assert {name: version for name, (version, _) in old.items()} == {
        name: version for name, (version, _) in new.items()
    }
    assert new["Router"][1] == LiveSettings(presets={"faq": "Find it"}).model_dump()
    assert new["Embedder-b"] == old["Embedder-b"]


def test_other_settings_change_the_versions_of_what_they_concern(
    versions: Callable[[ClusterConfig], dict[str, tuple[str | None, object]]],
) -> None:
    old = versions(ClusterConfig.model_validate(BASE))
    cache = versions(ClusterConfig.model_validate({**BASE, "router": {"cache_mib": 1}}))
    engine = versions(ClusterConfig.model_validate({**BASE, "models": [{"path": "a/b", "engine": {"threads": 1}}]}))
    assert old["Router"] != cache["Router"]
    assert old["Embedder-b"] == cache["Embedder-b"]
    assert old["Embedder-b"] != engine["Embedder-b"]
