"""Who may import whom. The rules are data, the checker reads source code, and both are tested on small sources."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("serve_app", "cluster", "ingest")


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str) -> Iterator[str]:
    """Every module or name that the source imports, wherever it does so; relative imports as they are written.

    `from a import b` gives `a.b`: b may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def touches_environment(source: str) -> bool:
    names = {"environ", "environb", "getenv", "putenv", "unsetenv"}
    tree = ast.parse(source)
    by_attribute = any(isinstance(node, ast.Attribute) and node.attr in names for node in ast.walk(tree))
    return by_attribute or any(name.startswith("os.") and name[3:] in names for name in imports(source))


def is_within(module: str, *roots: str) -> bool:
    return any(module == root or module.startswith(root + ".") for root in roots)


def is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


@dataclass(frozen=True, slots=True)
class Rule:
    """Of the modules inside `of`, every import must pass `allows`."""

    of: str
    allows: Callable[[str], bool]


def only_from(package: str, *allowed: str) -> Callable[[str], bool]:
    """Of `package` nothing but `allowed`; other packages are not this rule's business."""
    return lambda imported: not is_within(imported, package) or is_within(imported, *allowed)


INGEST_RULE = "ingestion uses of serving the core, the slice client, the tokenizer and what records metrics"
CLUSTER_RULE = "the cluster uses of serving the core and what reads settings, checkpoints, keys and golden vectors"
RULES = {
    "core imports the standard library, numpy and itself": Rule(
        "serve_app.core", lambda imported: is_standard(imported) or is_within(imported, "numpy", "serve_app.core")
    ),
    "serving knows no ingestion": Rule("serve_app", only_from("ingest")),
    "serving knows no cluster": Rule("serve_app", only_from("cluster")),
    "ingestion knows no cluster": Rule("ingest", only_from("cluster")),
    INGEST_RULE: Rule(
        "ingest",
        only_from(
            "serve_app",
            "serve_app.core",
            "serve_app.dispatch.slice_client",
            "serve_app.model.tokenizer",
            "serve_app.telemetry.metrics",
            "serve_app.telemetry.recorder",
            "serve_app.telemetry.ray_metrics",
        ),
    ),
    CLUSTER_RULE: Rule(
        "cluster",
        only_from(
            "serve_app",
            "serve_app.core",
            "serve_app.settings",
            "serve_app.model.checkpoint",
            "serve_app.http.keys",
            "serve_app.model.golden",
        ),
    ),
    "imports are absolute": Rule("", lambda imported: not imported.startswith(".")),
}
VLLM_HOME = "serve_app.engines.vllm_engine"
ENVIRONMENT_HOMES = {
    "cluster.environment",  # Serve's switches, before it is imported
    VLLM_HOME,  # vLLM's switches, before it is imported
    "ingest.sinks.lite_process",  # Milvus Lite's switches, before it is imported, in a process of its own
    "ingest.sinks.lite_server",  # hands its own environment on to the server it starts, and reads nothing from it
}


def violations(rule: Rule, sources: dict[str, str]) -> list[str]:
    """`module imports what` for every import that breaks the rule."""
    return [
        f"{module} imports {imported}"
        for module, source in sources.items()
        if not rule.of or is_within(module, rule.of)
        for imported in imports(source)
        if not rule.allows(imported)
    ]


def importers_of(package: str, sources: dict[str, str]) -> set[str]:
    return {
        module
        for module, source in sources.items()
        if any(is_within(imported, package) for imported in imports(source))
    }


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {module_name(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}


def test_the_product_is_what_is_checked(sources: dict[str, str]) -> None:
    assert {
        "serve_app.core",
        "serve_app.core.types",
        "cluster.running.local",
        "ingest.records",
        VLLM_HOME,
    } <= sources.keys()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_product_keeps_the_rule(rule: Rule, sources: dict[str, str]) -> None:
    assert violations(rule, sources) == []


def test_vllm_is_imported_in_exactly_one_file(sources: dict[str, str]) -> None:
    assert importers_of("vllm", sources) == {VLLM_HOME}


def test_the_environment_is_touched_in_few_files_that_say_why(sources: dict[str, str]) -> None:
    assert {module for module, source in sources.items() if touches_environment(source)} == ENVIRONMENT_HOMES


def test_the_cluster_names_the_application_by_a_string_that_leads_to_its_builder(sources: dict[str, str]) -> None:
    constants = [
        node.value.value
        for node in ast.parse(sources["cluster.running.local"]).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    ]
    assert "serve_app.app" in constants
    assert "build" in {
        node.name for node in ast.parse(sources["serve_app.app"]).body if isinstance(node, ast.FunctionDef)
    }


BREACHES = [  # rule, module, source
    ("core imports the standard library, numpy and itself", "serve_app.core.x", "import ray"),
    ("core imports the standard library, numpy and itself", "serve_app.core.x", "from serve_app.settings import X"),
    ("core imports the standard library, numpy and itself", "serve_app.core", "from serve_app import core, settings"),
    ("core imports the standard library, numpy and itself", "serve_app.core.x", "import numpy_financial"),
    ("serving knows no ingestion", "serve_app.router", "from ingest.records import Chunk"),
    ("serving knows no ingestion", "serve_app.core.x", "def f():\n    import ingest"),
    ("serving knows no cluster", "serve_app.app", "import cluster.config as c"),
    ("ingestion knows no cluster", "ingest.stages", "from cluster import config"),
    (
        INGEST_RULE,
        "ingest.stages",
        "from serve_app.settings import ModelSettings",
    ),
    (
        INGEST_RULE,
        "ingest.x",
        "from serve_app import checkpoint",
    ),
    (
        INGEST_RULE,
        "ingest.x",
        "import serve_app.tokenizer_tools",
    ),
    (INGEST_RULE, "ingest.x", "from serve_app.telemetry import tracing"),
    (
        CLUSTER_RULE,
        "cluster.running.local",
        "if True:\n    from serve_app.app import build",
    ),
    (
        CLUSTER_RULE,
        "cluster.x",
        "import os, serve_app.router",
    ),
    ("imports are absolute", "ingest.x", "from . import records"),
    ("imports are absolute", "ingest.x", "from ..serve_app.core import types"),
]


@pytest.mark.parametrize(("rule", "module", "source"), BREACHES)
def test_a_breach_of_a_rule_is_found(rule: str, module: str, source: str) -> None:
    assert len(violations(RULES[rule], {module: source})) == 1


def test_every_rule_has_a_breach_above() -> None:
    assert {rule for rule, _, _ in BREACHES} == set(RULES)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("serve_app.core.x", "import json\nimport numpy as np\nfrom numpy.typing import NDArray"),
        ("serve_app.core.x", "from __future__ import annotations\nfrom serve_app.core.types import Slice"),
        ("serve_app.router", "import ray\nfrom serve_app.settings import X"),
        ("ingest.x", "from serve_app.core import dimensions\nfrom serve_app.model.tokenizer import TextTokenizer"),
        ("ingest.x", "import ray\nfrom serve_app.dispatch.slice_client import slice_sender"),
        ("ingest.x", "from serve_app.telemetry.metrics import INGEST_FILES"),
        ("cluster.x", "from ingest.pipeline import run\nfrom serve_app.model.checkpoint import locate"),
        ("cluster.x", "from importlib import import_module\nimport_module('serve_app.app')"),
        ("clusters.x", "from serve_app.app import build"),
    ],
)
def test_allowed_imports_are_no_breach_of_any_rule(module: str, source: str) -> None:
    assert [found for rule in RULES.values() for found in violations(rule, {module: source})] == []


@pytest.mark.parametrize(
    "source",
    ["import vllm", "from vllm.config import X", "import json, vllm.envs", "def f():\n    from vllm import LLM"],
)
def test_an_import_of_vllm_is_found_wherever_it_stands(source: str) -> None:
    assert importers_of("vllm", {"ingest.x": source, "ingest.y": "import vllm_tools\nfind_spec('vllm')"}) == {
        "ingest.x"
    }


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ['X'] = '1'",
        "import os\nx = os.environ",
        "import os\nos.getenv('X')",
        "import os as system\nsystem.environ.get('X')",
        "from os import environ",
        "from os import getenv as read",
        "def f():\n    import os\n    os.putenv('X', '1')",
    ],
)
def test_touching_the_environment_is_found_however_it_is_written(source: str) -> None:
    assert touches_environment(source)


def test_speaking_of_the_environment_is_not_touching_it() -> None:
    assert not touches_environment("import os\n# os.environ\nx = 'os.environ'\nenviron = os.cpu_count()")
