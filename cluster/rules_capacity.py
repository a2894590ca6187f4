"""Numbers that do not fit each other: bounds, times, message sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cluster.environment import GRPC_MESSAGE_BYTES
from cluster.kubernetes import PROCESS_END_S, KubernetesSettings
from cluster.plan.model_sizes import known_size
from serve_app.core.autoscale_signals import FULL_STEPS_BACKLOG_S
from serve_app.settings import DRAIN_MARGIN_S, LimitSettings, ModelSettings

MIB = 2**20
WIDEST = 4096  # dimensions of a model whose size is not known
FLOAT_BYTES, TOKEN_BYTES, OFFSET_BYTES = 4, 4, 8
ENVELOPE_BYTES = 65_536  # pickle's and Serve's own part of a message
LEAST_WAIT_S = 2 * FULL_STEPS_BACKLOG_S  # a shorter queue never shows how fast a replica is


def autoscaling(models: Sequence[ModelSettings], limits: LimitSettings) -> Iterator[str]:
    """Bounds that contradict the start, and what admission never lets a queue reach: the target, or enough to see."""
    for index, model in enumerate(models):
        bounds, key = model.autoscaling, f"models.{index}"
        if bounds is None:
            if not model.replicas:
                yield f"`{key}.replicas`: it is 0, which needs `autoscaling` with `min_replicas: 0`; give 1 or more"
            continue
        if "replicas" in model.model_fields_set and not bounds.min_replicas <= model.replicas <= bounds.max_replicas:
            yield (
                f"`{key}.replicas`: it starts with {model.replicas}, outside of `autoscaling` "
                f"({bounds.min_replicas} to {bounds.max_replicas}); leave `replicas` out or change the bounds"
            )
        if bounds.target_wait_s > limits.max_wait_s:
            yield (
                f"`{key}.autoscaling.target_wait_s`: {bounds.target_wait_s:g} s is above `limits.max_wait_s` "
                f"({limits.max_wait_s:g} s), so that requests would be refused before a replica is added; lower it or "
                "raise `limits.max_wait_s`"
            )
        if limits.max_wait_s < LEAST_WAIT_S:
            yield (
                f"`limits.max_wait_s`: {limits.max_wait_s:g} s ends every queue before it shows `{key}.autoscaling` "
                f"that replicas are missing; raise it to {LEAST_WAIT_S:g} at least"
            )


def messages(models: Sequence[ModelSettings], limits: LimitSettings) -> Iterator[str]:
    """A slice and its answer must fit into one message between Router and replica."""
    most = GRPC_MESSAGE_BYTES - ENVELOPE_BYTES
    request = limits.slice_tokens * TOKEN_BYTES + (limits.slice_texts + 1) * OFFSET_BYTES
    if request > most:
        yield (
            f"`limits.slice_tokens`: a slice of {limits.slice_tokens:,} tokens takes {request / MIB:.1f} MiB and a "
            f"message between processes holds {most / MIB:.1f}; lower it to {most // (2 * TOKEN_BYTES):,} at most"
        )
    for model in models:
        size = known_size(model.path)
        dimensions = WIDEST if size is None else size.dimensions
        answer = limits.slice_texts * dimensions * FLOAT_BYTES
        if answer > most:
            yield (
                f"`limits.slice_texts`: {limits.slice_texts:,} vectors of {dimensions:,} dimensions "
                f"({model.served_name}) take {answer / MIB:.1f} MiB and a message between processes holds "
                f"{most / MIB:.1f}; lower it to {most // (dimensions * FLOAT_BYTES):,} at most"
            )


def drain(limits: LimitSettings, kubernetes: KubernetesSettings) -> Iterator[str]:
    """A pod that must go has to finish the longest request first."""
    grace = kubernetes.termination_grace_s
    if grace is None:
        return
    needed, left = limits.request_timeout_s + DRAIN_MARGIN_S, grace - PROCESS_END_S
    if needed > left:
        yield (
            f"`kubernetes.termination_grace_s`: {grace} s leave {left} s to finish requests, and one takes up to "
            f"{needed:g} (`limits.request_timeout_s` and {DRAIN_MARGIN_S:g}); raise it by {needed - left:g} or lower "
            "`limits.request_timeout_s`"
        )
