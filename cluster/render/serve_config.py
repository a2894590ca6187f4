"""The declarative configuration that Ray Serve's dashboard, and KubeRay's `serveConfigV2`, takes."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from cluster.config import ClusterConfig
from cluster.environment import prepare_environment
from cluster.render.fleet import actor_cpus, surge_percent
from cluster.render.objects import SERVE_PORT
from cluster.render.paths import KEYS, KEYS_FILE, models_in_pods
from cluster.render.places import places_of
from serve_app.settings import APP_NAME, AppSettings

APPLICATION = "serve_app.app"
BUILDER = f"{APPLICATION}:build"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  # of a pod; the NetworkPolicy says who gets there
LOGGING = {"encoding": "JSON", "log_level": "INFO", "enable_access_log": False}  # the product has its own access log
# Serve's own limit, whose answer is no JSON, is for what the product's lets through. It cannot change while Serve runs,
# and ours can: so there is room.
SERVE_TIMEOUT_S = 600.0
SPARE_TIMEOUT_S = 10.0


def render_serve_config(config: ClusterConfig) -> dict[str, Any]:
    """The body of `PUT /api/serve/applications/`. Raises SetupError for files that pods do not have.

    Every option that the code sets stands here too: what runs can be read where it is changed. The live settings are
    the Router's `user_config` alone: Serve takes those over in place, where a change of `args` replaces replicas.
    It is for pods: models and keys have their paths there, and replicas ask for the places that the pods offer.
    """
    settings = _app_in_pods(config)
    return {
        "proxy_location": "EveryNode",
        "http_options": {
            "host": EVERY_ADDRESS,
            "port": SERVE_PORT,
            "request_timeout_s": max(SERVE_TIMEOUT_S, config.limits.request_timeout_s + SPARE_TIMEOUT_S),
        },
        "logging_config": LOGGING,
        "applications": [
            {
                "name": APP_NAME,
                "route_prefix": "/",
                "import_path": BUILDER,
                "args": settings.model_dump(mode="json", exclude={"live"}, exclude_defaults=True),
                "deployments": _deployments(config, settings),
            }
        ],
    }


def _app_in_pods(config: ClusterConfig) -> AppSettings:
    secret = config.kubernetes.keys_secret
    keys_file = None if secret is None else str(KEYS / KEYS_FILE)
    auth = config.auth.model_copy(update={"keys_file": keys_file})
    return config.app.model_copy(update={"models": models_in_pods(config), "auth": auth})


def _deployments(config: ClusterConfig, settings: AppSettings) -> list[dict[str, Any]]:
    """What `build` would deploy, in Serve's own words: its `serve build` does the same."""
    prepare_environment()
    from ray.serve._private.build_app import build_app
    from ray.serve.deployment import deployment_to_schema

    application = import_module(APPLICATION).build(settings)
    built = build_app(application, name=APP_NAME)
    found = [deployment_to_schema(deployment) for deployment in built.deployments]
    cpus, surge, places = actor_cpus(config), surge_percent(config), places_of(config.models)
    rendered = []
    for schema in sorted(found, key=lambda one: one.name):
        options = _plain(schema.model_dump(mode="json", exclude_unset=True))
        options["ray_actor_options"] |= {"num_cpus": cpus[schema.name], "resources": {places[schema.name]: 1}}
        if "placement_group_bundles" in options:
            options["placement_group_bundles"][0][places[schema.name]] = 1  # where the replica itself sits
        options.get("autoscaling_config", {}).pop("initial_replicas", None)  # Serve goes back to it at every change
        options["max_surge_percent"] = surge[schema.name]
        options["logging_config"] = LOGGING
        rendered.append(options)
    return rendered


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Without what is not set: `null` would override what the code says."""
    plain: dict[str, Any] = json.loads(json.dumps(options))
    return {
        name: {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
        for name, value in plain.items()
        if value is not None
    }
