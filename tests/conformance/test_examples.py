"""Every example runs against the cluster and prints what its reader is told to expect."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conformance.vectors import PlainEndpoint

EXAMPLES = Path(__file__).parents[2] / "examples"
SCORED = r"^-?[01]\.\d{3}  \S.*$"


def run(endpoint: PlainEndpoint, name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), "--endpoint", endpoint.url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_openai_example_embeds_ranks_cuts_and_is_refused(plain: PlainEndpoint) -> None:
    printed = run(plain, "openai_client.py")

    assert "32 to 256 dimensions" in printed
    assert "documents: 3 x 256" in printed
    assert "cut: 32 dimensions, length 1.000" in printed
    assert "refused: 400 dimensions_unsupported in `dimensions`" in printed


@pytest.mark.parametrize("name", ["langchain_search.py", "llamaindex_search.py"])
def test_the_searches_rank_a_document_first_that_is_the_question(name: str, plain: PlainEndpoint) -> None:
    question = "年假未休完的部分可以结转到下一年度第一季度。"

    printed = run(plain, name, "--model", plain.model, "--question", question).splitlines()

    assert all(re.match(SCORED, line) for line in printed)
    assert (len(printed), printed[0]) == (4, f"1.000  {question}")


def test_the_legal_example_prints_the_matrix_and_draws_it(plain: PlainEndpoint, tmp_path: Path) -> None:
    picture = tmp_path / "matrix.png"

    printed = run(plain, "legal_similarity.py", "--heat-map", str(picture))

    assert len(re.findall(r"^Q\den(?: +-?[01]\.\d\d){4}$", printed, re.MULTILINE)) == 4
    assert re.search(r"nearest to their own translation: [0-4] of 4", printed)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_curl_example_shows_models_vectors_and_an_error(plain: PlainEndpoint) -> None:
    command = ["bash", str(EXAMPLES / "curl.sh"), plain.url]

    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert printed.count('{"object":"list"') == 3
    assert f'"id":"{plain.model}"' in printed
    assert printed.endswith("status 400\n")


def test_the_notebook_runs_and_draws(plain: PlainEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBED_ENDPOINT", plain.url)
    notebook = nbformat.read(EXAMPLES / "legal_similarity.ipynb", as_version=4)  # type: ignore[no-untyped-call]

    done = NotebookClient(notebook, timeout=120, kernel_name="python3").execute()

    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    assert re.search(r"nearest to their own translation: [0-4] of 4", printed)
    assert any("image/png" in output.get("data", {}) for output in outputs)
