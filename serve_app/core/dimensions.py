"""Requested sizes: check them before any work, cut the vectors after it."""

from __future__ import annotations

import numpy as np

from serve_app.core.errors import UnsupportedDimensions
from serve_app.core.profile import ModelProfile
from serve_app.core.types import Vectors


def check(profile: ModelProfile, dimensions: int | None) -> int:
    """The size to answer with; None asks for the native one. Raises UnsupportedDimensions outside the range."""
    native, least = profile.native_dimensions, profile.min_dimensions
    if dimensions is None:
        return native
    if least <= dimensions <= native:
        return dimensions
    allowed = f"{least} to {native}" if profile.is_matryoshka else f"only {native} (it is not a Matryoshka model)"
    raise UnsupportedDimensions(f"`dimensions` is {dimensions}; {profile.name} supports {allowed}.", param="dimensions")


def cut(vectors: Vectors, dimensions: int) -> Vectors:
    """Keep the leading columns and renormalise the rows: (n, D) → (n, dimensions).

    The prefix of a unit vector is not a unit vector, so the order matters: first slice, then divide by the norm.
    A prefix of zeros stays zeros.
    """
    if dimensions == vectors.shape[1]:
        return vectors
    head = vectors[:, :dimensions]
    norms = np.sqrt(np.einsum("ij,ij->i", head, head, dtype=np.float32))
    np.maximum(norms, np.finfo(np.float32).tiny, out=norms)
    shortened: Vectors = head / norms[:, None]
    return shortened
