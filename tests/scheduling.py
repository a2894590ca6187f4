"""How `make test` shares the tests out over its two processes."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

WITHOUT_CLUSTER = ("tests/contract/", "tests/unit/")


class TwoProcesses(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Two clusters at once take longer than one after the other, so all tests with one stay in the first process.

    What needs none fills the time in which those wait.
    """

    def _split_scope(self, nodeid: str) -> str:
        """Tests of one scope run in one process, one after the other."""
        return "without a cluster" if nodeid.startswith(WITHOUT_CLUSTER) else "with clusters"
