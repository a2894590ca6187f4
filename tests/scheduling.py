"""How `make test` shares the tests out over its two processes."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


class TwoProcesses(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """What needs the suite's cluster stays in one process; the other has the nodes of chaos tests, then the rest."""

    def _split_scope(self, nodeid: str) -> str:
        """Tests of one scope run in one process, one after the other."""
        folder = nodeid.split("/")[1]
        if folder == "unit":
            return nodeid.partition("::")[0]
        return "nodes" if folder == "chaos" else "cluster"
