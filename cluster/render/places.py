"""A Ray resource for every deployment, which only the pods that are meant for it offer.

Ray looks at nothing but resources: without one of its own, a Router would fit an empty GPU pod and keep a replica out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from serve_app.settings import ModelSettings

ROUTER = "Router"
ROUTER_GROUP = "router"
MAX_SLUG = 40  # characters of a model's name in the names of objects, which Kubernetes bounds to 63
NOT_A_LABEL = re.compile(r"[^a-z0-9]+")


def group_names(models: Sequence[ModelSettings]) -> dict[str, str]:
    """Deployment → name for its pods, a DNS label; two models never have the same."""
    alike = Counter(_slug(model.served_name) for model in models)
    return {model.deployment: _group_name(model.served_name, alike) for model in models}


def place(group: str) -> str:
    """The resource of which a replica takes one, and a pod offers as many as replicas may be in it."""
    return f"place-{group}"


def places_of(models: Sequence[ModelSettings]) -> dict[str, str]:
    """Deployment → its resource."""
    return {ROUTER: place(ROUTER_GROUP), **{name: place(group) for name, group in group_names(models).items()}}


def as_start_param(places: Mapping[str, int]) -> str:
    """For `ray start --resources`: KubeRay writes it into a shell's command line, and the autoscaler reads it too."""
    return f"'{json.dumps(dict(places))}'"


def _slug(name: str) -> str:
    return NOT_A_LABEL.sub("-", name.lower())[:MAX_SLUG].strip("-")


def _group_name(served_name: str, alike: Counter[str]) -> str:
    """With a digest where the slug is empty, or the same as another's."""
    slug = _slug(served_name)
    digest = "" if slug and alike[slug] == 1 else blake2b(served_name.encode(), digest_size=3).hexdigest()
    return "-".join(part for part in ("embedder", slug, digest) if part)
