"""Take the application off a Ray cluster, and Serve with it where nothing else uses it."""

from __future__ import annotations

import time
from contextlib import redirect_stdout
from io import StringIO

from cluster.running.local import connect, serve_details
from cluster.running.serve_state import application_state, other_applications
from serve_app.core.errors import SetupError
from serve_app.settings import APP_NAME

LOOK_EVERY_S = 0.5


def take_down(address: str, timeout_s: float) -> str:
    """Remove the application, once the requests under way are answered, and Serve with it; says what was removed.

    The Ray cluster stays. Raises SetupError if it takes longer than `timeout_s`.
    """
    connect(address)
    details = serve_details()
    if details is None:
        return "Nothing was deployed."
    state = application_state(details)
    if state is not None:
        _remove_application(timeout_s)
    removed = f"Removed {', '.join(map(str, state.deployments.values()))}." if state is not None else ""
    others = _stop_serve_unless_used()
    if others:
        return f"{removed or 'Nothing was deployed.'} Serve stays for {', '.join(others)}."
    return f"{removed} Serve is stopped; the Ray cluster stays.".strip()


def withdraw(timeout_s: float) -> str:
    """After a failed first deployment; says in a sentence what is left of it."""
    try:
        _remove_application(timeout_s)
    except SetupError as error:
        return f"It was not removed: {error.message}"
    others = _stop_serve_unless_used()
    return "It was removed again; " + (f"Serve stays for {', '.join(others)}." if others else "nothing is deployed.")


def _remove_application(timeout_s: float) -> None:
    from ray import serve

    serve.delete(APP_NAME, _blocking=False)
    deadline = time.monotonic() + timeout_s
    while application_state(serve_details()) is not None:
        if time.monotonic() >= deadline:
            raise SetupError(f"The application is still finishing its requests after {timeout_s:g} s: try again.")
        time.sleep(LOOK_EVERY_S)


def _stop_serve_unless_used() -> list[str]:
    """The other applications for which it stays."""
    details = serve_details()
    others = other_applications(details) if details is not None else []
    if not others:
        stop_serve()
    return others


def stop_serve() -> None:
    """With every application on it."""
    from ray import serve

    with redirect_stdout(StringIO()):  # Ray would report there that the controller it was told to stop has stopped
        serve.shutdown()  # type: ignore[no-untyped-call]
