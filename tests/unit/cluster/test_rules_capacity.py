"""Numbers of the configuration that do not fit each other."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cluster.config import ClusterConfig
from cluster.environment import GRPC_MESSAGE_BYTES
from cluster.rules_capacity import ENVELOPE_BYTES


def config(**content: Any) -> ClusterConfig:
    return ClusterConfig.model_validate({"models": [{"path": "a/b"}], **content})


def problem(**content: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        config(**content)
    return caught.value.errors()[0]["msg"].removeprefix("Value error, ")


def scaled(replicas: int | None = None, **bounds: object) -> list[dict[str, object]]:
    start = {} if replicas is None else {"replicas": replicas}
    return [{"path": "a/b", **start, "autoscaling": {"max_replicas": 4, **bounds}}]


@pytest.mark.parametrize("replicas", [1, 5])
def test_a_start_outside_of_its_bounds_is_refused_with_both(replicas: int) -> None:
    assert problem(models=scaled(replicas, min_replicas=2)) == (
        f"`models.0.replicas`: it starts with {replicas}, outside of `autoscaling` (2 to 4); leave `replicas` out or "
        "change the bounds"
    )


@pytest.mark.parametrize("replicas", [2, 4, None])
def test_a_start_within_its_bounds_is_fine(replicas: int | None) -> None:
    assert config(models=scaled(replicas, min_replicas=2))


def test_only_a_model_that_may_sleep_begins_without_replicas() -> None:
    message = "`models.0.replicas`: it is 0, which needs `autoscaling` with `min_replicas: 0`; give 1 or more"
    assert problem(models=[{"path": "a/b", "replicas": 0}]) == message
    assert problem(models=scaled(0, min_replicas=1)).startswith("`models.0.replicas`: it starts with 0, outside of")
    assert config(models=scaled(0, min_replicas=0))


def test_a_target_that_admission_never_lets_a_queue_reach_is_refused() -> None:
    message = problem(models=scaled(target_wait_s=20.5))
    assert message.startswith(
        "`models.0.autoscaling.target_wait_s`: 20.5 s is above `limits.max_wait_s` (20 s), so that requests would be "
    )
    assert config(models=scaled(target_wait_s=20.5), limits={"max_wait_s": 20.5})


@pytest.mark.parametrize("max_wait_s", [0.1, 0.26, 0.49])
def test_a_queue_that_is_always_too_short_to_tell_of_missing_replicas_is_refused(max_wait_s: float) -> None:
    bounds = scaled(target_wait_s=0.1)
    assert problem(models=bounds, limits={"max_wait_s": max_wait_s}) == (
        f"`limits.max_wait_s`: {max_wait_s:g} s ends every queue before it shows `models.0.autoscaling` that replicas "
        "are missing; raise it to 0.5 at least"
    )
    assert config(models=bounds, limits={"max_wait_s": 0.5})
    assert config(limits={"max_wait_s": max_wait_s})


@pytest.mark.parametrize(
    ("path", "dimensions"), [("a/b", 4096), ("Qwen/Qwen3-Embedding-0.6B", 1024), ("/models/Qwen3-Embedding-4B", 2560)]
)
def test_the_answer_to_a_slice_fits_into_a_message(path: str, dimensions: int) -> None:
    most = (GRPC_MESSAGE_BYTES - ENVELOPE_BYTES) // (4 * dimensions)
    message = problem(models=[{"path": path}], limits={"slice_texts": most + 1})
    assert message.startswith(f"`limits.slice_texts`: {most + 1:,} vectors of {dimensions:,} dimensions")
    assert message.endswith(f"lower it to {most:,} at most")
    assert config(models=[{"path": path}], limits={"slice_texts": most})


def test_a_slice_itself_fits_into_a_message() -> None:
    limits = {"slice_tokens": 2**24, "max_queued_tokens": 2**25}
    message = problem(limits=limits)
    assert message.startswith("`limits.slice_tokens`: a slice of 16,777,216 tokens takes 64.0 MiB and a message")
    fix = int(message.removesuffix(" at most").rpartition(" ")[2].replace(",", ""))
    assert config(limits={**limits, "slice_tokens": fix})


def test_a_pod_has_time_for_the_longest_request() -> None:
    pod = {"termination_grace_s": 80}
    assert problem(kubernetes=pod) == (
        "`kubernetes.termination_grace_s`: 80 s leave 60 s to finish requests, and one takes up to 65 "
        "(`limits.request_timeout_s` and 5); raise it by 5 or lower `limits.request_timeout_s`"
    )
    assert config(kubernetes={"termination_grace_s": 85})
    assert config(kubernetes=pod, limits={"request_timeout_s": 55})


def test_who_does_not_speak_of_kubernetes_may_allow_long_requests() -> None:
    assert config(limits={"request_timeout_s": 600})
