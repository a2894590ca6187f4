"""Watch a running application: Serve replaces what fails by itself, so only trouble that lasts ends the cluster."""

from __future__ import annotations

from collections.abc import Callable

from serve_app.core.errors import SetupError

LOOK_EVERY_S = 5.0
TROUBLE_LIMIT_S = 300.0  # long enough for a replica to load a large model again
LOGS = "Its log is in /tmp/ray/session_latest/logs/serve."


class Patience:
    """Says when trouble begins and when it is over. `problem` gives it in words, or an empty text."""

    def __init__(self, problem: Callable[[], str], say: Callable[[str], None]) -> None:
        self._problem = problem
        self._say = say
        self._looked = float("-inf")
        self._since: float | None = None

    def look(self, now: float) -> None:
        """Raises SetupError once there has been trouble for too long; `now` is a monotonic time in seconds."""
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        trouble = self._problem()
        if not trouble:
            if self._since is not None:
                self._say("All is well again.")
            self._since = None
        elif self._since is None:
            self._since = now
            self._say(f"Trouble: {trouble}; Ray Serve is replacing it.")
        elif now - self._since > TROUBLE_LIMIT_S:
            raise SetupError(f"The cluster failed: {trouble}, for more than {TROUBLE_LIMIT_S:.0f} s. {LOGS}")
