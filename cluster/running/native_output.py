"""What libraries in C++ print past Python's logging."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2
ANNOUNCEMENT = b"Set ray log level from environment variable"  # each time a process joins, whatever the level


@contextmanager
def without_announcements() -> Iterator[None]:
    """What the block writes to stderr comes when it ends, without the line in which Ray tells its log level."""
    sys.stderr.flush()
    shown = os.dup(STDERR)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown, STDERR)
            os.close(shown)
            kept.seek(0)
            for line in kept:
                if ANNOUNCEMENT not in line:
                    os.write(STDERR, line)
