"""Kinds of GPU, as far as a plan depends on them.

Arithmetic and bandwidth are the data sheets' figures, without sparsity and for the SXM variant where there is one.
Memory is what the driver shows, a little less than the name says. Prices are orders of magnitude: what the large clouds
list on demand for one GPU with its share of the node, in US dollars, looked up in 2026 and rounded; specialised clouds
ask about half. `hardware.price_per_node_hour` replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.hardware import Gpu


@dataclass(frozen=True, slots=True)
class GpuKind:
    """`bf16_tflops` is None where the GPU cannot compute in bfloat16. All figures are of one GPU."""

    title: str
    memory_gib: float
    bf16_tflops: float | None
    float32_tflops: float
    bandwidth_gb_s: float
    has_fp8: bool
    price_per_hour: float


GPUS: dict[Gpu, GpuKind] = {
    "t4": GpuKind("T4", 14.9, None, 8.1, 300, False, 0.4),
    "l4": GpuKind("L4", 22.4, 121, 30, 300, True, 0.8),
    "a10": GpuKind("A10", 22.4, 125, 31, 600, False, 1.0),
    "l40s": GpuKind("L40S", 44.5, 362, 91, 864, True, 2.0),
    "a100-40": GpuKind("A100 40 GB", 39.4, 312, 19.5, 1555, False, 2.0),
    "a100-80": GpuKind("A100 80 GB", 79.1, 312, 19.5, 2039, False, 2.5),
    "h100": GpuKind("H100", 79.1, 989, 67, 3350, True, 4.0),
    "h200": GpuKind("H200", 139.7, 989, 67, 4800, True, 5.5),
    "b200": GpuKind("B200", 178.0, 2250, 75, 8000, True, 8.0),
}
