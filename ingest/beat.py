"""What is done again and again beside work that may take long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beating(beat: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call `beat` every `every_s` seconds while the block lasts, from a thread of its own: the block may be stuck."""
    ended = threading.Event()

    def keep_on() -> None:
        while not ended.wait(every_s):
            beat()

    thread = threading.Thread(target=keep_on, name="ingest-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
