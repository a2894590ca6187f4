"""The composition root: settings in, Serve application out."""

from __future__ import annotations

import warnings
from hashlib import blake2b
from typing import Any

import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.schema import ApplicationStatus, LoggingConfig

from serve_app.embedder import Embedder
from serve_app.placement import placement_of
from serve_app.router import Router
from serve_app.settings import (
    APP_NAME,
    DRAIN_MARGIN_S,
    ROUTER_CPUS,
    AppSettings,
    AutoscalingSettings,
    LimitSettings,
    LiveSettings,
    ModelSettings,
    ReplicaLimits,
    Settings,
)

# Serve must never be the one that says no, for its 503 is not our JSON and knows no time to wait: admission is ours.
ROUTER_REQUESTS = 100_000
SERVE_LOGGING = LoggingConfig(enable_access_log=False)
SURGE_PERCENT = 100  # a new replica is ready before an old one goes
DRAIN_LOOK_S = 0.5
SCALING_POLICY = "serve_app.autoscaling:TokenBacklogPolicy"
REPORT_S = 1.0  # how often replicas tell their load
LOOK_BACK_S = 5.0  # how long Serve remembers that requests came: a model that has gone to sleep must not wake of it


def build(settings: AppSettings) -> serve.Application:
    """Router over one Embedder deployment a model."""
    handles = {model.served_name: _embedder(model, settings) for model in settings.models}
    router = serve.deployment(
        name="Router",
        num_replicas=settings.router.replicas,
        max_ongoing_requests=ROUTER_REQUESTS,
        user_config=settings.live.model_dump(),
        health_check_period_s=2,  # a dead Router costs every request that reaches it
        max_surge_percent=SURGE_PERCENT,
        graceful_shutdown_timeout_s=_drain_s(settings.limits),
        ray_actor_options={"num_cpus": ROUTER_CPUS},
        logging_config=SERVE_LOGGING,
    )(serve.ingress()(Router))
    fixed = settings.model_copy(update={"live": LiveSettings()})
    return _versioned(router, fixed).bind(fixed, handles)


def _versioned(deployment: serve.Deployment, *fixed: Settings) -> serve.Deployment:
    """The deployment with a version that depends on `fixed` alone.

    Serve would give it a random one and so replace every replica at each deployment. With an equal version it keeps
    the replicas, and hands a changed `user_config` to their `reconfigure`. `version` is no public option of
    Serve 2.60, whose own configuration files compute it in the same way.
    """
    content = "\n".join(settings.model_dump_json() for settings in fixed)
    version = blake2b(content.encode(), digest_size=16).hexdigest()
    return deployment.options(version=version, _internal=True)


def _embedder(model: ModelSettings, settings: AppSettings) -> serve.Application:
    fixed = _what_a_replica_uses(model)
    limits = ReplicaLimits(max_queued_tokens=settings.limits.max_queued_tokens)
    embedder = serve.deployment(
        name=model.deployment,
        user_config=limits.model_dump(),
        max_ongoing_requests=1024,
        max_constructor_retry_count=2,
        health_check_period_s=2,
        health_check_timeout_s=30,
        max_surge_percent=SURGE_PERCENT,
        graceful_shutdown_timeout_s=_drain_s(settings.limits),
        graceful_shutdown_wait_loop_s=DRAIN_LOOK_S,
        logging_config=SERVE_LOGGING,
        **_number(model),
        **placement_of(model).deployment_options(),
    )(Embedder)
    return _versioned(embedder, fixed).bind(fixed)


def _what_a_replica_uses(model: ModelSettings) -> ModelSettings:
    """The settings whose change needs a new replica; others must not make every GPU load its model again.

    `replicas` are those that share the cores of a machine, where that matters: as many as there can ever be.
    """
    has_own_cores = model.gpus_per_replica or model.engine.threads
    sharing = 1 if has_own_cores else model.most_replicas
    return model.model_copy(update={"aliases": (), "autoscaling": None, "replicas": sharing})


def _number(model: ModelSettings) -> dict[str, Any]:
    """How many replicas, as arguments of `serve.deployment`."""
    if model.autoscaling is None:
        return {"num_replicas": model.replicas}
    begin_with = None if _is_deployed(model) else model.replicas
    return {"autoscaling_config": _autoscaling_config(model.autoscaling, begin_with)}


def _autoscaling_config(scaling: AutoscalingSettings, begin_with: int | None) -> AutoscalingConfig:
    """Serve applies what the policy says at once: delays and factors are the policy's own business.

    `begin_with` None: with the replicas it has, which at a first deployment are `min_replicas`.
    """
    initial = None if begin_with is None else min(scaling.max_replicas, max(scaling.min_replicas, begin_with))
    with warnings.catch_warnings():
        # Serve 2.60 warns that variables will replace the interval; it does not read them yet.
        warnings.filterwarnings("ignore", "The `metrics_interval_s` field", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=scaling.min_replicas,
            max_replicas=scaling.max_replicas,
            initial_replicas=initial,
            upscale_delay_s=0.0,
            downscale_delay_s=0.0,
            metrics_interval_s=REPORT_S,
            look_back_period_s=LOOK_BACK_S,
            policy=AutoscalingPolicy(  # type: ignore[no-untyped-call]
                policy_function=SCALING_POLICY,
                policy_kwargs=scaling.model_dump(exclude={"min_replicas", "max_replicas"}),
            ),
        )


def _is_deployed(model: ModelSettings) -> bool:
    """Whether the cluster this process is connected to has replicas of the model, or lets it sleep.

    Serve falls back to the initial number, where there is one, at every change of the deployment: under load that would
    be an outage, and it would wake a model that sleeps.
    """
    app = serve.status().applications.get(APP_NAME) if ray.is_initialized() else None
    return app is not None and app.status != ApplicationStatus.DELETING and model.deployment in app.deployments


def _drain_s(limits: LimitSettings) -> float:
    return limits.request_timeout_s + DRAIN_MARGIN_S
