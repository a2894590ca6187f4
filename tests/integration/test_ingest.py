"""Real files through the real pipeline into a real Milvus Lite, embedded by the replicas that also answer HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from serve_app.core.types import ReplicaCounters
from tests.clusters import RunningCluster, embedctl

KNOWLEDGE_BASE = Path(__file__).parents[2] / "examples" / "knowledge_base"
GOOD_FILES = ("leave_policy.md", "contract.pdf", "采购合同.docx", "price_list.xlsx", "faq.html", "meeting_minutes.txt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for name in GOOD_FILES:
        shutil.copy(KNOWLEDGE_BASE / name, folder / name)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is not the rest of a PDF")
    (folder / "nothing.md").write_bytes(b"")
    (folder / "picture.txt").write_bytes(bytes(range(256)) * 40)
    (folder / "archive.zip").write_bytes(b"PK")
    return folder


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"milvus-lite:{tmp_path_factory.mktemp('milvus') / 'data'}"


@pytest.fixture(scope="module")
def before_first_run(counters: Callable[[], ReplicaCounters]) -> ReplicaCounters:
    return counters()


@pytest.fixture(scope="module")
def first_run(
    before_first_run: ReplicaCounters, cluster: RunningCluster, folder: Path, sink: str
) -> subprocess.CompletedProcess[str]:
    return _ingest(cluster, folder, sink)


def _ingest(cluster: RunningCluster, folder: Path, sink: str, *more: str) -> subprocess.CompletedProcess[str]:
    return embedctl(
        "ingest", str(folder), "--sink", sink, "--model", cluster.model, "--address", cluster.address, *more
    )


def _search(cluster: RunningCluster, sink: str, text: str, *more: str) -> list[dict[str, object]]:
    options = ("--sink", sink, "--model", cluster.model, "--endpoint", cluster.endpoint, "--json")
    found = embedctl("search", text, *options, *more)
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def _row(output: str, name: str) -> str:
    line = next(line for line in output.splitlines() if name in line)
    return line.strip("│ ").split("│")[-1].strip()


def test_bad_files_are_named_with_a_reason_and_the_others_are_ingested(
    first_run: subprocess.CompletedProcess[str],
) -> None:
    output = first_run.stdout

    assert first_run.returncode == 3, first_run.stderr
    assert _row(output, "files  ").startswith(f"{len(GOOD_FILES)} of {len(GOOD_FILES) + 3}")
    reasons = {"broken.pdf": "corrupt", "nothing.md": "empty", "picture.txt": "binary"}
    told = {name: line for line in output.splitlines() for name in reasons if name in line}
    assert all(reasons[name] in line for name, line in told.items())
    assert set(told) == set(reasons)
    assert "archive.zip" in output


def test_the_same_replicas_served_both_classes(
    before_first_run: ReplicaCounters,
    first_run: subprocess.CompletedProcess[str],
    client: openai.OpenAI,
    cluster: RunningCluster,
    counters: Callable[[], ReplicaCounters],
) -> None:
    client.embeddings.create(model=cluster.model, input="one interactive text")

    texts = counters().texts

    assert texts["interactive"] > 0
    embedded = int(_row(first_run.stdout, "embedded now").replace(",", ""))
    assert texts["bulk"] - before_first_run.texts["bulk"] == embedded


def test_a_second_run_embeds_nothing_and_changes_nothing(
    first_run: subprocess.CompletedProcess[str], cluster: RunningCluster, folder: Path, sink: str
) -> None:
    again = _ingest(cluster, folder, sink)

    assert again.returncode == 3
    assert _row(again.stdout, "embedded now") == "0"
    assert _row(again.stdout, "unchanged, skipped") == str(len(GOOD_FILES))
    assert _row(again.stdout, "in the collection") == _row(first_run.stdout, "in the collection")
    assert "3 files failed before in this version" in again.stdout


@pytest.mark.usefixtures("first_run")
def test_hybrid_search_finds_an_exact_chinese_term_with_its_provenance(cluster: RunningCluster, sink: str) -> None:
    hits = _search(cluster, sink, "乙方逾期交货 违约金", "--hybrid", "--limit", "5")

    assert "采购合同.docx" in [hit["source_file"] for hit in hits]
    assert all(hit["heading_path"] and hit["chunk_id"] for hit in hits)


@pytest.mark.usefixtures("first_run")
def test_a_filter_keeps_to_one_file_and_pages_are_known(cluster: RunningCluster, sink: str) -> None:
    hits = _search(
        cluster, sink, "late delivery penalty", "--filter", "source_file = 'contract.pdf' and page_number >= 2"
    )

    assert {hit["source_file"] for hit in hits} == {"contract.pdf"}
    assert all(isinstance(hit["page_number"], int) and hit["page_number"] >= 2 for hit in hits)


def test_two_folders_with_files_of_the_same_name_keep_each_their_own(
    cluster: RunningCluster, tmp_path: Path, sink: str
) -> None:
    for folder, text in (("hr", "Ask Zora about leave."), ("it", "Ask Quentin about laptops.")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.md").write_text(f"# Who to ask\n\n{text}\n", encoding="utf-8")
        assert _ingest(cluster, tmp_path / folder, sink, "--collection", "teams").returncode == 0

    hits = _search(cluster, sink, "who to ask", "--collection", "teams", "--limit", "10")

    assert {name for name in ("Zora", "Quentin") if any(name in str(hit["text"]) for hit in hits)} == {
        "Zora",
        "Quentin",
    }


def test_text_taken_out_of_a_file_leaves_the_collection(cluster: RunningCluster, tmp_path: Path, sink: str) -> None:
    page = tmp_path / "notes.md"
    page.write_text("# Pumps\n\nThe quux valve opens at nine bar.\n\n# Motors\n\nMotors turn.\n", encoding="utf-8")
    first = _ingest(cluster, tmp_path, sink, "--collection", "notes")
    page.write_text("# Pumps\n\nThe quux valve opens at eight bar.\n\n# Motors\n\nMotors turn.\n", encoding="utf-8")
    second = _ingest(cluster, tmp_path, sink, "--collection", "notes")

    texts = [str(hit["text"]) for hit in _search(cluster, sink, "quux valve", "--collection", "notes", "--limit", "10")]

    assert (first.returncode, second.returncode) == (0, 0)
    assert any("eight bar" in text for text in texts)
    assert not any("nine bar" in text for text in texts)
