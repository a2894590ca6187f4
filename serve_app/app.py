"""The composition root: settings in, Serve application out."""

from __future__ import annotations

from ray import serve
from ray.serve.schema import LoggingConfig

from serve_app.embedder import Embedder
from serve_app.router import Router
from serve_app.settings import EMBEDDER_CPUS, ROUTER_CPUS, AppSettings, ModelSettings

SERVE_LOGGING = LoggingConfig(enable_access_log=False)


def build(settings: AppSettings) -> serve.Application:
    """Router over one Embedder deployment a model."""
    handles = {model.served_name: _embedder(model, settings) for model in settings.models}
    router = serve.deployment(
        name="Router",
        num_replicas=settings.router.replicas,
        max_ongoing_requests=4096,
        ray_actor_options={"num_cpus": ROUTER_CPUS},
        logging_config=SERVE_LOGGING,
    )(serve.ingress()(Router))
    return router.bind(settings, handles)


def _embedder(model: ModelSettings, settings: AppSettings) -> serve.Application:
    embedder = serve.deployment(
        name=model.deployment,
        num_replicas=model.replicas,
        max_ongoing_requests=1024,
        max_constructor_retry_count=2,
        health_check_timeout_s=30,
        ray_actor_options={"num_cpus": EMBEDDER_CPUS, "num_gpus": model.gpus_per_replica},
        logging_config=SERVE_LOGGING,
    )(Embedder)
    return embedder.bind(model, settings.limits)
