"""The composition root: settings in, Serve application out."""

from __future__ import annotations

from hashlib import blake2b

from ray import serve
from ray.serve.schema import LoggingConfig

from serve_app.embedder import Embedder
from serve_app.placement import placement_of
from serve_app.router import Router
from serve_app.settings import ROUTER_CPUS, AppSettings, LimitSettings, LiveSettings, ModelSettings, Settings

# Serve must never be the one that says no, for its 503 is not our JSON and knows no time to wait: admission is ours.
ROUTER_REQUESTS = 100_000
SERVE_LOGGING = LoggingConfig(enable_access_log=False)


def build(settings: AppSettings) -> serve.Application:
    """Router over one Embedder deployment a model."""
    handles = {model.served_name: _embedder(model, settings) for model in settings.models}
    router = serve.deployment(
        name="Router",
        num_replicas=settings.router.replicas,
        max_ongoing_requests=ROUTER_REQUESTS,
        user_config=settings.live.model_dump(),
        health_check_period_s=2,  # a dead Router costs every request that reaches it
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
    embedder = serve.deployment(
        name=model.deployment,
        num_replicas=model.replicas,
        max_ongoing_requests=1024,
        max_constructor_retry_count=2,
        health_check_period_s=2,
        health_check_timeout_s=30,
        logging_config=SERVE_LOGGING,
        **placement_of(model).deployment_options(),
    )(Embedder)
    return _versioned(embedder, *_what_a_replica_uses(model, settings.limits)).bind(model, settings.limits)


def _what_a_replica_uses(model: ModelSettings, limits: LimitSettings) -> tuple[Settings, Settings]:
    """The settings whose change needs a new replica; others must not make every GPU load its model again."""
    fixed = model.model_copy(update={"aliases": ()})
    if model.gpus_per_replica or model.engine.threads:  # otherwise the replicas share the cores of the machine
        fixed = fixed.model_copy(update={"replicas": 1})
    return fixed, LimitSettings(max_queued_tokens=limits.max_queued_tokens)
