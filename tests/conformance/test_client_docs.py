"""The Python in docs/clients.md runs as it stands, at another address and with another model's name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.vectors import PlainEndpoint

pytestmark = [pytest.mark.usefixtures("left_open"), pytest.mark.filterwarnings("ignore::ResourceWarning")]
DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
CALLS = [  # what a reader does next with each, and how many numbers a vector of the test model then has
    ("answer.data[0].embedding", 256),
    ("embeddings.embed_query('a')", 256),
    ("embedding.get_query_embedding('a')", 256),
    ("query.run('a')['embedding']", 256),
]


@pytest.mark.parametrize(("snippet", "call"), list(zip(SNIPPETS, CALLS, strict=True)), ids=["openai", "lc", "li", "hs"])
def test_a_snippet_runs(snippet: str, call: tuple[str, int], plain: PlainEndpoint) -> None:
    names: dict[str, object] = {}
    here = snippet.replace("http://127.0.0.1:8000", plain.url).replace("qwen3-embedding-4b", plain.model)

    exec(here, names)  # noqa: S102  # our own text
    vector = eval(call[0], names)  # noqa: S307

    assert len(vector) == call[1]
