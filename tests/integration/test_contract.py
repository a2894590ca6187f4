"""What the endpoint adds to OpenAI's, over HTTP against real replicas: parity, names, cutting, metrics, privacy."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve_app.core.instructions import prefix
from serve_app.core.types import ReplicaCounters
from serve_app.model.checkpoint import read_profile
from serve_app.model.tokenizer import TextTokenizer
from serve_app.settings import ModelSettings
from tests.clusters import RunningCluster
from tests.private_requests import CANARY, WRONG_KEY, assert_hidden, send_canaries
from tests.reference import PARITY, SAME, Matrix, Reference, cosines

FRESH = {"cache-control": "no-cache"}
TEXTS = [
    "Annual leave may be carried over into the first quarter.",
    "年假未休完的部分可以结转到下一年度第一季度。",
    "x",
    "The supplier pays a penalty of half a percent for every started day of delay. " * 12,
]
TASK = "Given a question about a contract, find the clause that answers it"  # the preset `contracts`


@pytest.fixture(scope="module")
def http(cluster: RunningCluster) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cluster.endpoint, timeout=60) as opened:
        yield opened


@pytest.fixture(scope="module")
def tokenizer(cluster: RunningCluster) -> TextTokenizer:
    return TextTokenizer(read_profile(ModelSettings(path=str(cluster.checkpoint)), cluster.checkpoint))


def embed(http: httpx.Client, cluster: RunningCluster, headers: Any = None, **body: object) -> Matrix:
    response = http.post("/v1/embeddings", json={"model": cluster.model, **body}, headers=headers)
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]], dtype=np.float32)


INSTRUCTIONS: dict[str, tuple[dict[str, str], str]] = {
    "document": ({}, ""),
    "default query": (
        {"input_type": "query"},
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    ),
    "own instruction": ({"instruction": "Find the clause 条款"}, "Instruct: Find the clause 条款\nQuery:"),
    "preset": ({"instruction": "@contracts"}, f"Instruct: {TASK}\nQuery:"),
}


@pytest.mark.parametrize(("kind", "dimensions"), list(product(INSTRUCTIONS, [32, 33, 255, 256])))
def test_every_dimension_and_instruction_matches_transformers(
    kind: str, dimensions: int, http: httpx.Client, cluster: RunningCluster, reference: Reference
) -> None:
    fields, before = INSTRUCTIONS[kind]

    got = embed(http, cluster, FRESH, input=TEXTS, dimensions=dimensions, **fields)

    assert got.shape == (len(TEXTS), dimensions)
    assert cosines(got, reference.texts([before + text for text in TEXTS], dimensions)).min() >= PARITY
    assert np.linalg.norm(got, axis=1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("form", ["text", "texts", "ids", "id lists"])
def test_every_kind_of_input_matches_transformers(
    form: str, http: httpx.Client, cluster: RunningCluster, reference: Reference, tokenizer: TextTokenizer
) -> None:
    ids = [encoded[:-1].tolist() for encoded in tokenizer.encode(TEXTS)]  # without the end token
    inputs = {"text": TEXTS[1], "texts": TEXTS, "ids": ids[1], "id lists": ids}
    expected = {"text": TEXTS[1:2], "texts": TEXTS, "ids": TEXTS[1:2], "id lists": TEXTS}

    got = embed(http, cluster, FRESH, input=inputs[form])

    assert cosines(got, reference.texts(expected[form], 256)).min() >= PARITY


def test_a_vector_does_not_depend_on_its_neighbours_or_their_order(http: httpx.Client, cluster: RunningCluster) -> None:
    texts = [f"Section {number}: {'deliveries and penalties, ' * (number % 7)}end." for number in range(300)]
    order = np.random.default_rng(3).permutation(len(texts))

    together = embed(http, cluster, FRESH, input=texts)
    shuffled = embed(http, cluster, FRESH, input=[texts[row] for row in order])
    alone = np.vstack([embed(http, cluster, FRESH, input=texts[row]) for row in (0, 6, 299)])

    assert cosines(together[order], shuffled).min() >= SAME
    assert cosines(together[[0, 6, 299]], alone).min() >= SAME


def test_a_name_with_a_preset_carries_its_instruction(http: httpx.Client, cluster: RunningCluster) -> None:
    by_name = http.post(
        "/v1/embeddings", json={"model": "text-embedding-3-small@contracts", "input": "late delivery"}
    ).json()
    by_hand = embed(http, cluster, FRESH, input=f"Instruct: {TASK}\nQuery:late delivery")

    assert by_name["model"] == "text-embedding-3-small@contracts"
    assert cosines(np.array([by_name["data"][0]["embedding"]], dtype=np.float32), by_hand)[0] >= SAME


@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("task", [None, "Find the clause"])
def test_a_cut_input_keeps_its_instruction_its_side_and_the_end_token(
    side: str,
    task: str | None,
    http: httpx.Client,
    cluster: RunningCluster,
    reference: Reference,
    tokenizer: TextTokenizer,
) -> None:
    profile = read_profile(ModelSettings(path=str(cluster.checkpoint)), cluster.checkpoint)
    before = prefix(profile, "query" if task else "document", task)
    text = " ".join(f"clause {number}" for number in range(3000))
    ids = tokenizer.encode([text], before)[0].tolist()
    lead = tokenizer.encode([""], before)[0].tolist()[:-1]
    room = profile.max_tokens - 1 - len(lead)
    kept = ids[-1 - room : -1] if side == "start" else ids[len(lead) : len(lead) + room]

    got = embed(http, cluster, input=text, truncate=side, **({"instruction": task} if task else {}))

    assert cosines(got, reference.ids([[*lead, *kept, ids[-1]]]))[0] >= PARITY


def test_an_input_of_exactly_the_limit_is_embedded_and_one_more_token_is_refused(
    http: httpx.Client, cluster: RunningCluster, reference: Reference
) -> None:
    ids = [5 + number % 300 for number in range(2047)]  # the end token makes it 2,048

    assert cosines(embed(http, cluster, input=ids), reference.ids([[*ids, 0]]))[0] >= PARITY
    refused = http.post("/v1/embeddings", json={"model": cluster.model, "input": [*ids, 7]}).json()["error"]
    assert (refused["code"], "2049" in refused["message"], "2048" in refused["message"]) == (
        "context_length_exceeded",
        True,
        True,
    )


def test_half_precision_is_the_same_vector_in_half_the_bytes(http: httpx.Client, cluster: RunningCluster) -> None:
    body = {"model": cluster.model, "input": TEXTS[0], "encoding_format": "base64", "embed_dtype": "float16"}
    encoded = http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    half = np.frombuffer(base64.b64decode(encoded), dtype="<f2").astype(np.float32)

    assert half.shape == (256,)
    np.testing.assert_allclose(half, embed(http, cluster, input=TEXTS[0])[0], atol=1e-3)


def test_a_repeated_text_is_answered_without_the_engine_unless_asked_otherwise(
    http: httpx.Client, cluster: RunningCluster, counters: Callable[[], ReplicaCounters]
) -> None:
    text = "A sentence that no other test embeds: penguins audit the treasury."
    first = embed(http, cluster, input=[text, text])
    before = counters().texts["interactive"]
    again = embed(http, cluster, input=text, dimensions=64)
    assert counters().texts["interactive"] == before
    fresh = embed(http, cluster, FRESH, input=text)
    assert counters().texts["interactive"] == before + 1

    assert np.array_equal(first[0], first[1])
    assert cosines(again, first[:1, :64])[0] == pytest.approx(1.0, abs=1e-6)
    assert cosines(fresh, first[:1])[0] >= SAME


def test_bulk_requests_run_as_bulk(
    http: httpx.Client, cluster: RunningCluster, counters: Callable[[], ReplicaCounters]
) -> None:
    before = counters().texts["bulk"]
    embed(http, cluster, FRESH, input=TEXTS, priority="bulk")
    assert counters().texts["bulk"] == before + len(TEXTS)


def test_the_card_of_a_model_names_its_fingerprint_aliases_and_presets(
    http: httpx.Client, cluster: RunningCluster
) -> None:
    card = http.get("/v1/models/text-embedding-3-small").json()
    assert (card["id"], card["aliases"], card["presets"]) == (
        cluster.model,
        ["text-embedding-3-small"],
        ["contracts"],
    )
    weights, tokenizer, pooling, dtype = card["fingerprint"].split("-")
    assert (len(weights), len(tokenizer), pooling, dtype) == (16, 8, "last", "bfloat16")


def test_one_scrape_holds_the_metrics_of_router_and_replica(http: httpx.Client, cluster: RunningCluster) -> None:
    embed(http, cluster, input="counted")
    families = {family.name: family for family in text_string_to_metric_families(http.get("/metrics").text)}

    answered = [s for s in families["embed_requests"].samples if s.labels["status"] == "200"]
    computed = [s for s in families["embed_engine_tokens"].samples if s.name == "embed_engine_tokens_total"]
    assert {s.labels["model"] for s in answered} == {cluster.model}
    assert sum(s.value for s in answered) >= 1
    assert sum(s.value for s in computed) >= 1
    assert answered[0].labels["replica"] != computed[0].labels["replica"]


def test_neither_texts_nor_keys_are_in_any_log_or_metric(http: httpx.Client, cluster: RunningCluster) -> None:
    answers = send_canaries(http, cluster.model, WRONG_KEY)  # any key is fine here

    assert {answer.status_code for answer in answers} == {200, 400, 404}
    assert_hidden(CANARY, cluster, [*answers, http.get("/metrics")])
