from __future__ import annotations

import pytest

from tests.unit.serve_app.core.running import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)
