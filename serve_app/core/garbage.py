"""When not to look for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """For work that makes very many objects which stay for now: each search for garbage would look at all of them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
