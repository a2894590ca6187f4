"""What docs/operations.md and docs/threat-model.md say is there: commands, keys, metrics, alerts, figures, tests."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cluster.cli import app
from tests.unit.cluster.configuration_tables import tables
from tests.unit.operations_tables import table, written

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE = (DOCS / "operations.md").read_text(encoding="utf-8")
THREATS = (DOCS / "threat-model.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
METRICS = (DOCS / "metrics.md").read_text(encoding="utf-8")
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

FOREIGN = {"ray", "kubectl", "git", "export"}  # programs that are not this product's
STRIDE = {"S", "T", "R", "I", "D", "E"}
PIECE = re.compile(r"&&|\|\||[|;]")
THREAT = re.compile(r"^\| ([A-F]\d+) \| (\w) \| (.+?) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)
TESTED = re.compile(r"^- ([A-F]\d+(?:, [A-F]\d+)*): (.+(?:\n  .+)*)", re.MULTILINE)


def shell(text: str) -> list[list[str]]:
    """The words of every command in the fenced shell blocks, those in `$(…)` too, without where output goes."""
    blocks = re.findall(r"^\s*```(?:bash|sh)\n(.*?)^\s*```", text, re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"(^|\s)#.*", "", line) for block in blocks for line in block.replace("\\\n", "").splitlines()]
    inner = [command for line in lines for command in re.findall(r"\$\((.*?)\)", line)]
    outer = [re.sub(r'eval "\$\(.*?\)"', "", line) for line in lines]
    pieces = [piece.partition(" > ")[0] for line in (*outer, *inner) for piece in PIECE.split(line)]
    return [words for piece in pieces if (words := shlex.split(piece))]


def spoken(text: str) -> list[str]:
    """Commands of ours that stand in running text, such as `embedctl keys revoke`."""
    return sorted(set(re.findall(r"`embedctl ([a-z][a-z -]*[a-z])`", text)))


def known_keys() -> set[str]:
    """Every key of cluster.yaml with all ways to say it: `models[].engine.dtype`, `engine.dtype`, `dtype`."""
    keys, section = set(), ""
    for heading, key in re.findall(r"^### `(.+?)`$|^\| `(\w+)` \|", tables(), re.MULTILINE):
        section = heading or section
        keys.add(f"{section}.{key}".strip("."))
    parts = [key.split(".") for key in keys]
    return {".".join(words[start:]) for words in parts for start in range(len(words))}


def anchors(page: Path) -> set[str]:
    """Where links into the page may lead, as GitHub names its headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def all_tests() -> set[str]:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)}


COMMANDS = shell(GUIDE) + shell(README.partition("## Run it for real")[2].partition("\n## ")[0])
OURS = sorted({shlex.join(words[1:]) for words in COMMANDS if words[0] == "embedctl"})


def test_commands_are_found_also_inside_others() -> None:
    assert ["embedctl", "env"] in COMMANDS
    assert ["kubectl", "apply", "-f", "-"] in COMMANDS
    assert {"status --json", "down", "plan --preset list"} <= set(OURS)
    assert {"drain", "monitor", "ingest", "verify"} <= set(spoken(GUIDE)) | {line.split()[0] for line in OURS}


@pytest.mark.parametrize("line", OURS)
def test_every_command_can_be_parsed_by_the_real_command_line(line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]

    with command.make_context(line, words) as context:
        assert context.command is command


@pytest.mark.parametrize("line", spoken(GUIDE + THREATS))
def test_every_command_in_the_text_exists(line: str) -> None:
    command: Any = typer.main.get_command(app)
    for word in line.split():
        command = command.commands[word]
    assert command.help


def test_other_programs_are_make_with_its_verbs_or_well_known() -> None:
    verbs = set(re.findall(r"^([a-z]+):.*##", MAKEFILE, re.MULTILINE))
    called = [words for words in shell(GUIDE) if words[0] != "embedctl"]
    assert {words[0] for words in called} <= FOREIGN | {"make"}
    assert {words[1] for words in called if words[0] == "make"} <= verbs


def test_the_table_of_sizes_is_the_plans() -> None:
    assert written() == table(), "write it anew: python -m tests.unit.operations_tables"


def test_figures_are_said_to_be_estimates() -> None:
    assert "estimates and no measurements" in GUIDE
    assert table().splitlines()[0].count("estimated") == 2


def test_the_keys_that_are_named_exist() -> None:
    dotted = re.findall(r"`((?:[a-z_]+(?:\[\])?\.)+[a-z_]+)`", GUIDE + THREATS + ARCHITECTURE)
    files = {word for word in dotted if word.rpartition(".")[2] in {"yaml", "md", "log"}}
    assert len(set(dotted) - files) > 15
    assert set(dotted) - files <= known_keys()


def test_the_metrics_and_alerts_that_are_named_exist() -> None:
    metrics = set(re.findall(r"`((?:embed|ingest)_[a-z_]+)`", GUIDE))
    alerts = set(re.findall(r"`((?:Embed|Ingest)[A-Z]\w+)`", GUIDE))
    assert len(metrics) > 7
    assert metrics <= set(re.findall(r"^\| `(\w+)` \|", METRICS, re.MULTILINE))
    assert len(alerts) > 3
    assert alerts <= set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE))


@pytest.mark.parametrize("page", ["operations.md", "threat-model.md", "architecture.md"])
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: str) -> None:
    links = re.findall(r"\]\(([^):#]*)#?([^):]*)\)", (DOCS / page).read_text(encoding="utf-8"))
    targets = [((DOCS / path) if path else DOCS / page, anchor) for path, anchor in links]
    assert targets
    assert [str(path) for path, _ in targets if not path.exists()] == []
    assert [anchor for path, anchor in targets if anchor and anchor not in anchors(path)] == []


def test_threats_have_ids_in_order_a_kind_and_something_against_them() -> None:
    threats = THREAT.findall(THREATS)
    assert len(threats) > 40
    for letter, group in groupby((name for name, *_ in threats), key=lambda name: name[0]):
        names = list(group)
        assert names == [f"{letter}{number}" for number in range(1, len(names) + 1)]
    assert {kind for _, kind, *_ in threats} == STRIDE
    assert all(done for _, _, _, done, _ in threats)


def test_every_threat_says_once_where_it_is_tested_or_that_it_is_not() -> None:
    told = Counter(name for names, _ in TESTED.findall(THREATS) for name in names.split(", "))
    assert told == Counter(name for name, *_ in THREAT.findall(THREATS))


def test_the_tests_that_are_named_exist() -> None:
    named = re.findall(r"`(test_\w+)`", THREATS)
    assert len(named) > 60
    assert sorted(set(named) - all_tests()) == []


def test_a_defence_without_a_test_is_said_to_have_none() -> None:
    without = [said for _, said in TESTED.findall(THREATS) if "`test_" not in said]
    assert without
    assert [said for said in without if not said.startswith("none")] == []


def test_the_files_of_the_map_of_cluster_exist() -> None:
    lines = ARCHITECTURE.partition("**`cluster/`**")[2].partition("\n## ")[0]
    named = {word.rpartition("/")[2] for word in re.findall(r"`([a-z_/]+[a-z_])/?`", lines.replace("`embedctl`", ""))}
    there = {path.stem for path in (ROOT / "cluster").rglob("*") if path.suffix == ".py" or path.is_dir()}
    assert len(named) > 20
    assert named - there == set()


def test_the_map_of_cluster_names_every_file_that_is_not_a_part_of_one() -> None:
    lines = ARCHITECTURE.partition("**`cluster/`**")[2].partition("\n## ")[0]
    parts = {ROOT / "cluster" / folder for folder in ("render", "monitoring", "presets")}
    files = {path for path in (ROOT / "cluster").rglob("*.py") if path.parent not in parts and path.stem != "__init__"}
    assert [path.stem for path in sorted(files) if f"`{path.stem}`" not in lines] == []
