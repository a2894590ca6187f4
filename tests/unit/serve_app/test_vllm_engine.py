"""What can be said about the vLLM engine without starting it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from serve_app.core.errors import SetupError
from serve_app.engines.vllm_engine import _check_version, engine_arguments, peak_flops_of
from serve_app.settings import EngineSettings, ModelSettings
from tests.unit.serve_app.profiles import MINILM, QWEN3

ON_GPU = ModelSettings(path="m", gpus_per_replica=1)
ON_CPU = ModelSettings(path="m")


def test_a_step_is_larger_on_a_gpu_and_what_was_set_wins() -> None:
    assert engine_arguments(ON_GPU, QWEN3, on_gpu=True)["max_num_batched_tokens"] == 16_384
    assert engine_arguments(ON_CPU, QWEN3, on_gpu=False)["max_num_batched_tokens"] == 1_536
    tuned = ModelSettings(path="m", engine=EngineSettings(step_tokens=1000))
    assert engine_arguments(tuned, QWEN3, on_gpu=False)["max_num_batched_tokens"] == 1000


def test_a_step_has_room_for_the_longest_text_of_an_encoder() -> None:
    tuned = ModelSettings(path="m", engine=EngineSettings(step_tokens=100))
    assert engine_arguments(tuned, MINILM, on_gpu=False)["max_num_batched_tokens"] == MINILM.max_tokens


def test_replicas_that_share_a_gpu_share_its_memory() -> None:
    half = ModelSettings(path="m", gpus_per_replica=0.5, engine=EngineSettings(gpu_memory_share=0.8))
    assert engine_arguments(half, QWEN3, on_gpu=True)["gpu_memory_utilization"] == pytest.approx(0.4)
    assert engine_arguments(ON_GPU, QWEN3, on_gpu=True)["gpu_memory_utilization"] == pytest.approx(0.9)


def test_the_kv_cache_of_a_cpu_holds_the_longest_text_and_that_of_a_gpu_is_left_to_vllm() -> None:
    on_cpu = engine_arguments(ON_CPU, QWEN3, on_gpu=False)["kv_cache_memory_bytes"]
    assert on_cpu >= QWEN3.max_tokens * QWEN3.kv_bytes_per_token
    assert engine_arguments(ON_GPU, QWEN3, on_gpu=True)["kv_cache_memory_bytes"] is None


def test_a_model_on_one_gpu_starts_no_other_processes() -> None:
    assert "distributed_executor_backend" not in engine_arguments(ON_GPU, QWEN3, on_gpu=True)


def test_a_split_model_is_run_by_ray() -> None:
    split = ModelSettings(path="m", gpus_per_replica=1, tensor_parallel=4)
    arguments = engine_arguments(split, QWEN3, on_gpu=True)
    assert (arguments["tensor_parallel_size"], arguments["distributed_executor_backend"]) == (4, "ray")


def test_dtype_quantization_and_compilation_are_passed_on() -> None:
    engine = EngineSettings(dtype="float32", quantization="fp8", compile=False)
    arguments = engine_arguments(ModelSettings(path="m", gpus_per_replica=1, engine=engine), QWEN3, on_gpu=True)
    assert [arguments[name] for name in ("dtype", "quantization", "enforce_eager")] == ["float32", "fp8", True]


@pytest.mark.parametrize(
    ("gpu", "teraflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA B200", 2250),
    ],
)
def test_the_peak_of_a_known_gpu_is_found_by_its_name(gpu: str, teraflops: int) -> None:
    assert peak_flops_of(gpu) == teraflops * 1e12


@pytest.mark.parametrize("gpu", ["NVIDIA A10G", "NVIDIA L40", "NVIDIA GH200 480GB", "Tesla T4", "cpu", ""])
def test_a_gpu_that_is_not_in_the_table_has_no_known_peak(gpu: str) -> None:
    assert peak_flops_of(gpu) is None


def fake_vllm(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    module = ModuleType("vllm")
    module.__dict__["__version__"] = version
    monkeypatch.setitem(sys.modules, "vllm", module)


def test_another_series_of_vllm_is_refused_with_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_vllm(monkeypatch, "0.33.1")
    with pytest.raises(SetupError, match=r"vLLM 0\.33\.1 is installed and 0\.32\.x or 0\.26\.x is needed"):
        _check_version()


@pytest.mark.parametrize("version", ["0.32.4+cu129", "0.26.0"])
def test_any_release_of_a_known_series_is_fine(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    fake_vllm(monkeypatch, version)
    _check_version()


def test_a_missing_vllm_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(SetupError, match="install the extra `cpu` or `gpu`"):
        _check_version()
