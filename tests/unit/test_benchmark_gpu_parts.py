"""The parts of the GPU benchmark that send and compute: shapes, checkpoints, requests, samples of the driver."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.gpu import checkpoint, client, device
from benchmarks.gpu.client import Requests
from benchmarks.gpu.shapes import SHAPES, TINY, read_shape
from benchmarks.load import LoadFailed
from serve_app.core.errors import SetupError

REQUESTS = Requests("http://127.0.0.1:1", "m", "ids", (4, 7), 2, 1.0, 3, 100, 1)


@pytest.mark.parametrize(
    ("size", "linear", "attention"),
    [("0.6B", 0.881e9, 114_688), ("4B", 7.267e9, 294_912), ("8B", 13.892e9, 294_912)],
)
def test_operations_of_a_token_are_those_of_the_published_shapes(size: str, linear: float, attention: float) -> None:
    shape = SHAPES[size]
    assert shape.flops_per_token((1,)) == pytest.approx(linear, rel=1e-3)
    assert shape.flops_per_token((1024,)) - shape.flops_per_token((1,)) == pytest.approx(1023 * attention)


def test_operations_of_mixed_lengths_weigh_texts_by_their_tokens() -> None:
    one, three = TINY.flops_per_token((100,)), TINY.flops_per_token((300,))
    assert TINY.flops_per_token((100, 300)) == pytest.approx((100 * one + 300 * three) / 400)


@pytest.mark.parametrize(("size", "gigabytes"), [("0.6B", 1.19), ("4B", 8.04), ("8B", 15.14)])
def test_a_checkpoint_weighs_what_the_real_one_does_in_files_of_bounded_size(size: str, gigabytes: float) -> None:
    shards = checkpoint.shards_of(SHAPES[size])
    assert sum(map(checkpoint.bytes_of, shards)) / 1e9 == pytest.approx(gigabytes, rel=0.01)
    assert max(map(checkpoint.bytes_of, shards)) <= checkpoint.SHARD_BYTES


def test_what_a_layer_of_a_checkpoint_adds_is_small_beside_what_it_is_given() -> None:
    shape = SHAPES["4B"]
    deviations = {key: checkpoint.deviation_of(key, shape) for part in checkpoint.tensors_of(shape) for key in part}
    assert deviations["model.embed_tokens.weight"] == checkpoint.EMBEDDING_DEVIATION
    assert deviations["model.layers.0.mlp.up_proj.weight"] == checkpoint.DEVIATION
    added = deviations["model.layers.0.mlp.down_proj.weight"]
    assert added == deviations["model.layers.35.self_attn.o_proj.weight"] == pytest.approx(0.02 / 72**0.5)


def test_a_checkpoints_configuration_is_read_back_as_its_shape(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(checkpoint.config_of(SHAPES["4B"])), encoding="utf-8")
    assert read_shape(tmp_path) == SHAPES["4B"]
    with pytest.raises(SetupError, match=r"no config\.json"):
        read_shape(tmp_path / "nowhere")


def test_a_request_of_ids_has_texts_of_the_wanted_lengths_with_the_end_token_last() -> None:
    first, second = (json.loads(body) for body in islice(REQUESTS.bodies(), 2))
    assert sorted(map(len, first["input"])) == [4, 7]
    assert {ids[-1] for ids in first["input"]} == {REQUESTS.end}
    assert all(0 < token < REQUESTS.vocabulary for ids in first["input"] for token in ids)
    assert first["input"] != second["input"]


def test_no_text_is_sent_twice_by_clients_with_other_seeds() -> None:
    requests = [replace(REQUESTS, form=form, lengths=(5,), seed=seed) for form in ("text", "short") for seed in (1, 2)]
    sent = [str(json.loads(body)["input"]) for one in requests for body in islice(one.bodies(), 20)]
    assert len(set(sent)) == len(sent) == 80


def test_clients_together_are_as_long_as_the_longest_and_as_fast_as_all() -> None:
    answers = [
        {"seconds": 2.0, "cpu_s": 1.0, "latencies_ms": [10, 20]},
        {"seconds": 1.9, "cpu_s": 0.5, "latencies_ms": [30]},
    ]
    figures = client.merge(answers).figures(tokens=100.0, inputs=4)
    assert (figures["requests_per_s"], figures["tokens_per_s"], figures["texts_per_s"]) == (1.5, 150.0, 6.0)
    assert (figures["p50_ms"], figures["client_cpus"], figures["mean_tokens"]) == (20.0, 0.75, 25.0)
    with pytest.raises(LoadFailed, match="No request was answered"):
        client.merge([{"seconds": 1.0, "cpu_s": 0.0, "latencies_ms": []}]).figures(1.0, 1)


def test_what_the_driver_says_is_averaged_without_broken_lines() -> None:
    assert device.means("1980, 600.5, 98\n1000, 599.5, 100\n[N/A], 1, 2\n15") == {
        "sm_mhz": 1490.0,
        "power_w": 600.0,
        "gpu_busy_percent": 99.0,
    }
    assert device.means("") == {}
