"""Which device is measured, and what its driver says of it meanwhile."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean

from benchmarks.rows import gather_facts

SMI = "nvidia-smi"
SAMPLES = {"sm_mhz": "clocks.sm", "power_w": "power.draw", "gpu_busy_percent": "utilization.gpu"}
SAMPLE_EVERY_MS = 250


def has_gpu() -> bool:
    return bool(_names())


def device_name() -> str:
    """The driver's name of the first GPU, else the processor's."""
    names = _names()
    return names[0] if names else gather_facts({}).cpu


def _names() -> list[str]:
    if shutil.which(SMI) is None:
        return []
    done = subprocess.run(
        [SMI, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


@contextmanager
def sampled(figures: dict[str, float]) -> Iterator[None]:
    """Puts the means over the context of what SAMPLES names into `figures`; nothing where there is no GPU."""
    if not has_gpu():
        yield
        return
    query = f"--query-gpu={','.join(SAMPLES.values())}"
    command = [SMI, "-i", "0", query, "--format=csv,noheader,nounits", "-lms", str(SAMPLE_EVERY_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield
        finally:
            process.terminate()
            said = process.communicate()[0]
    figures |= means(said)


def means(said: str) -> dict[str, float]:
    """Of lines of numbers in the order of SAMPLES; a line that is cut off, or not a number, does not count."""
    lines = [line.split(",") for line in said.splitlines()]
    whole = [line for line in lines if len(line) == len(SAMPLES) and all(_is_number(cell) for cell in line)]
    return {name: mean(float(line[index]) for line in whole) for index, name in enumerate(SAMPLES)} if whole else {}


def _is_number(cell: str) -> bool:
    return cell.strip().replace(".", "", 1).isdigit()
