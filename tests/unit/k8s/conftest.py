"""Objects of the base and of every overlay, as kustomize gives them; rendered once."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.unit.k8s.manifests import K8S, OVERLAYS, Manifest, documents


@pytest.fixture(scope="session")
def kustomized() -> dict[str, list[Manifest]]:
    """By overlay. Skips where kubectl is not there."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed: it carries kustomize")
    rendered = {}
    for overlay in OVERLAYS:
        done = subprocess.run([program, "kustomize", str(K8S / overlay)], capture_output=True, text=True, check=False)
        assert not done.returncode, f"{overlay}: {done.stderr}"
        rendered[overlay] = documents(done.stdout)
    return rendered


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest, kustomized: dict[str, list[Manifest]]) -> list[Manifest]:
    """Of one overlay, and the objects beside it that are applied by hand."""
    return kustomized[str(request.param)]


@pytest.fixture(scope="session")
def extras() -> list[Manifest]:
    files = sorted((K8S / "base" / "extras").glob("*.yaml"))
    return [one for path in files for one in documents(path.read_text(encoding="utf-8"))]
