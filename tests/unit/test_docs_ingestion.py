"""What docs/ingestion.md says is what the code does: its commands, settings, reasons, fields and limits."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from cluster.cli import app
from cluster.config import ClusterConfig, load_config
from ingest.chunk import BY_TITLE
from ingest.commit import PASSING
from ingest.filters import FIELDS, parse_filter
from ingest.mask.recognizers import RULES
from ingest.metadata import MAX_FIELDS, MAX_VALUE_BYTES, read_sidecar
from ingest.parse import docling_adapter, unstructured_adapter
from ingest.parse.reasons import MEANINGS
from ingest.parse.registry import parse
from ingest.receipts import NOT_EMBEDDED
from ingest.settings import IngestSettings, ParseSettings
from ingest.sinks.milvus_schema import abilities
from ingest.sources.base import SourceFile
from ingest.sources.bucket import EXTRAS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "ingestion.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
NO_VERSION = {"refused"}  # nothing was read, so no version of the file is known to have failed
COMMAND = re.compile(r"^(?:15 2 .*&& )?(embedctl .+?)(?: >> .*)?$", re.MULTILINE)
COMMANDS = [command for text in (GUIDE, README) for command in COMMAND.findall(text)]
FILTERS = re.findall(r'--filter "(.+?)"', GUIDE + README)
EXAMPLES = re.findall(r"^```yaml\n(ingest:.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def section(name: str) -> str:
    return GUIDE.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]


def table(header: str) -> list[list[str]]:
    """The cells of the table that begins with this header cell."""
    rows = GUIDE.partition(f"| {header} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows if row.startswith("|")]


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key below the model, dotted, with its default."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from leaves(type(field.default), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.get_default(call_default_factory=True)


def as_written(default: object) -> str:
    words = {"None": "unset", "": "unset", "True": "true", "False": "false", "()": "none", "{}": "none"}
    return words.get(str(default), f"{default:g}" if isinstance(default, float) else str(default))


def raised_reasons() -> set[str]:
    """The second argument or `reason` of every DocumentError and Trouble that `ingest` makes."""
    makers = {"DocumentError", "Trouble"}
    calls = [
        call
        for path in (ROOT / "ingest").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in makers
    ]
    named = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "reason"]
    placed = [argument for call in calls for argument in call.args[1:2]]
    return {str(node.value) for node in (*named, *placed) if isinstance(node, ast.Constant)} | {NOT_EMBEDDED[0]}


def test_the_guide_and_the_readme_hold_commands() -> None:
    assert len(COMMANDS) > 25


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_every_command_can_be_parsed_by_the_real_command_line(line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]

    with command.make_context(line, words) as context:
        assert context.params


@pytest.mark.parametrize("name", ["ingest", "search", "eval", "dlq list", "dlq retry", "collections drop"])
def test_the_commands_of_the_guide_have_a_help_text(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"])

    assert shown.exit_code == 0
    assert name in shown.output


@pytest.mark.parametrize("text", FILTERS)
def test_every_filter_can_be_read(text: str) -> None:
    assert parse_filter(text)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_of_a_configuration_is_valid(text: str) -> None:
    assert ClusterConfig.model_validate(yaml.safe_load(text)).ingest != IngestSettings()


def test_the_example_configuration_is_valid() -> None:
    assert load_config(ROOT / "examples" / "cluster.yaml").ingest.dimensions == 1024


def test_the_table_of_settings_has_every_key_with_its_default() -> None:
    rows = [row for row in section("settings").splitlines() if row.startswith("| `")]
    written = {cells[1].strip(" `"): cells[2].strip() for row in rows if (cells := row.split("|"))}

    assert written == {key: as_written(default) for key, default in leaves(IngestSettings)}


def test_every_key_named_in_the_text_exists() -> None:
    keys = {key for key, _ in leaves(IngestSettings)}
    named = set(re.findall(r"`ingest\.([a-z_.]+?)(?:: true)?`", GUIDE))
    short = set(re.findall(r"`((?:parse|chunks|mask|sources)\.[a-z_.]+)`", GUIDE))

    assert len(named) > 5
    assert (named | short) <= keys


def test_the_by_title_example_is_the_preset() -> None:
    text = section("by-title").strip().removeprefix("```yaml").removesuffix("```")

    assert ClusterConfig.model_validate(yaml.safe_load(text)).ingest.chunks == BY_TITLE


def test_the_table_of_reasons_has_every_reason_that_the_code_gives_and_no_other() -> None:
    written = {cells[0].strip("`") for cells in table("reason")}

    assert written == raised_reasons() | set(MEANINGS)


def test_the_table_of_reasons_says_what_the_next_run_tries_again() -> None:
    assert {cells[0].strip("`") for cells in table("reason") if cells[2] == "yes"} == PASSING | NO_VERSION


def test_the_fields_are_those_of_the_filters() -> None:
    assert tuple(re.findall(r"`(\w+)`", section("fields"))) == FIELDS


def test_the_front_matter_of_the_guide_fills_title_and_metadata_whoever_says_it() -> None:
    said = GUIDE.partition("```yaml\ntitle:")[1] + GUIDE.partition("```yaml\ntitle:")[2].partition("```")[0]
    fields = said.removeprefix("```yaml\n")
    file = SourceFile("file:///lease.md", "/lease.md", "lease.md", "md")

    document = parse(file, f"---\n{fields}---\n# Lease\n\nThe rent is due.\n".encode(), ParseSettings())

    assert document.metadata == read_sidecar(fields.encode(), "lease.md.meta.yaml")
    assert document.metadata["year"] == 2024
    assert document.metadata["public"] is False


def test_the_limits_of_metadata_are_the_codes() -> None:
    assert f"At most {MAX_FIELDS} fields of {MAX_VALUE_BYTES:,} bytes" in GUIDE


@pytest.mark.parametrize(
    ("parser", "formats"), [("unstructured", unstructured_adapter._INPUTS), ("docling", docling_adapter._INPUTS)]
)
def test_the_formats_of_the_other_parsers_are_the_codes(parser: str, formats: dict[str, object]) -> None:
    text = " ".join(GUIDE.split())
    listed = re.search(rf"`{parser}` \(([a-z, ]+)\)", text)

    assert listed is not None
    assert listed[1].split(", ") == sorted(formats)


def test_the_entities_of_the_example_are_known() -> None:
    named = {name for text in EXAMPLES for name in yaml.safe_load(text)["ingest"].get("mask", {}).get("entities", {})}

    assert named
    assert named <= set(RULES)


def test_the_extras_are_those_that_the_code_asks_for() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "ingest").rglob("*.py"))
    asked = set(re.findall(r"embed-cluster\[(\w+)\]", source)) | set(EXTRAS.values())

    assert set(re.findall(r"embed-cluster\[(\w+)\]", GUIDE)) <= asked


def test_the_versions_of_milvus_in_the_table_of_stores_are_the_codes() -> None:
    assert "BM25, jieba; from 2.5" in GUIDE
    assert [abilities(version).has_bm25 for version in ("2.4.9", "2.5.0")] == [False, True]
    assert "partition key from 2.4" in GUIDE
    assert [abilities(version).has_partition_key for version in ("2.3.5", "2.4.0")] == [False, True]


def test_the_limits_of_pgvector_in_the_table_of_stores_are_the_codes() -> None:
    schema = pytest.importorskip("ingest.sinks.pgvector_schema")
    connection = pytest.importorskip("ingest.sinks.pgvector_connection")

    assert f"`vector` up to {schema.MAX_VECTOR:,} dimensions" in GUIDE
    assert f"HNSW holds the first {schema.MAX_HALFVEC:,}" in GUIDE
    assert f"| longest collection name | 255 | 255 | {schema.MAX_NAME} |" in GUIDE
    assert "pgvector {}.{} or later".format(*connection.OLDEST_PGVECTOR) in GUIDE


def test_every_page_that_the_guide_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+?)\)", GUIDE)

    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
