"""Loads what is built on Presidio, which is an extra, without the large packages it would load but not need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ingest.mask.lean_import import without
from ingest.mask.recognizers.rule import Rule
from serve_app.core.errors import SetupError

if TYPE_CHECKING:
    from ingest.mask.finder import Finder
    from ingest.mask.rewriter import Rewriter

# Presidio and spaCy import them where they are installed, for models that are never used here: measured, 390 MiB and
# 4 s of CPU in each process that masks.
NOT_NEEDED = ("torch", "transformers", "stanza", "cupy", "tensorflow", "mxnet")


def load_finder(rules: Iterable[Rule], min_score: float) -> Finder:
    """Raises SetupError where the extra is missing."""
    with _lean_presidio():
        from ingest.mask.finder import Finder
    return Finder(rules, min_score)


def load_rewriter(replacements: Mapping[str, Callable[[str], str]]) -> Rewriter:
    """`replacements` make of a value what stands in its place. Raises SetupError where the extra is missing."""
    with _lean_presidio():
        from ingest.mask.rewriter import Rewriter
    return Rewriter(replacements)


@contextmanager
def _lean_presidio() -> Iterator[None]:
    try:
        with without(*NOT_NEEDED):
            yield
    except ImportError as error:
        raise SetupError(f"masking needs {error.name}: pip install 'embed-cluster[pii]'") from None
