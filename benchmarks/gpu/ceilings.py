"""What the device gives to plain matrix products and copies, on random data: zeros would need less power."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.gpu.rows import BF16
from serve_app.core.errors import SetupError

if TYPE_CHECKING:
    import torch

GPU_SIZE, CPU_SIZE = 8192, 1024  # of square matrices
GPU_COPY_BYTES, CPU_COPY_BYTES = 2 * 2**30, 64 * 2**20
LEAST_FP8_CAPABILITY = (8, 9)  # Ada and Hopper


@dataclass(frozen=True, slots=True)
class Device:
    name: str  # torch's

    @property
    def is_gpu(self) -> bool:
        return self.name == "cuda"

    def finish(self) -> None:
        import torch

        if self.is_gpu:
            torch.cuda.synchronize()


def measure(seconds: float) -> dict[str, float]:
    """Operations and bytes a second; each figure takes `seconds`. Copies count what is read and what is written."""
    try:
        import torch
    except ImportError as error:
        raise SetupError("PyTorch is not installed: install the extra `gpu`.") from error
    device = Device("cuda" if torch.cuda.is_available() else "cpu")
    size = GPU_SIZE if device.is_gpu else CPU_SIZE
    a, b = (torch.randn(size, size, device=device.name, dtype=torch.bfloat16) for _ in range(2))
    operations = 2.0 * size**3
    figures = {BF16: operations / _time_of(lambda: torch.mm(a, b), device, seconds)}
    if device.is_gpu:
        if torch.cuda.get_device_capability() >= LEAST_FP8_CAPABILITY:
            figures["fp8_flops"] = operations / _time_of(_fp8_product(a, b), device, seconds)
    else:
        c, d = a.float(), b.float()
        figures["float32_flops"] = operations / _time_of(lambda: torch.mm(c, d), device, seconds)
    source = torch.empty(GPU_COPY_BYTES if device.is_gpu else CPU_COPY_BYTES, dtype=torch.uint8, device=device.name)
    target = torch.empty_like(source)
    copy_s = _time_of(lambda: target.copy_(source), device, seconds)
    return {**figures, "copy_bytes": 2.0 * source.numel() / copy_s}


def _fp8_product(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    """As an engine with weights and activations in 8 bits computes it: one scale a matrix, the result in bfloat16."""
    import torch

    left, right = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()  # the second must be column-major
    scale = torch.ones((), device=a.device)
    return lambda: torch._scaled_mm(
        left, right, scale_a=scale, scale_b=scale, out_dtype=torch.bfloat16, use_fast_accum=True
    )


def _time_of(work: Callable[[], object], device: Device, seconds: float) -> float:
    """Seconds of one call, over calls that together take about `seconds`, after a few that do not count."""
    once = _timed(work, device, 3) / 3
    number = max(3, round(seconds / max(once, 1e-6)))
    return _timed(work, device, number) / number


def _timed(work: Callable[[], object], device: Device, number: int) -> float:
    device.finish()
    started = time.perf_counter()
    for _ in range(number):
        work()
    device.finish()
    return time.perf_counter() - started
