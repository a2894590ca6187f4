"""Prometheus' rules: what is recorded, and what somebody is told of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cluster.monitoring import objectives
from cluster.monitoring.alerts import INGESTION, SERVING
from cluster.monitoring.rule import RUNBOOK, Alert, Record


def render_rules(runbook: str = RUNBOOK) -> dict[str, Any]:
    """A rules file of Prometheus, and as it is the `spec` of a PrometheusRule. `runbook`: address of that page."""
    fast, slow = map(objectives.fast, objectives.OBJECTIVES), map(objectives.slow, objectives.OBJECTIVES)
    return {
        "groups": [
            _group("embed-objectives", objectives.records(objectives.HOURS), fast, runbook),
            _group("embed-objectives-days", objectives.records(objectives.DAYS), slow, runbook) | {"interval": "5m"},
            _group("embed-serving", (), SERVING, runbook),
            _group("embed-ingestion", (), INGESTION, runbook),
        ]
    }


def _group(name: str, records: Iterable[Record], alerts: Iterable[Alert], runbook: str) -> dict[str, Any]:
    rules = [*(record.render() for record in records), *(alert.render(runbook) for alert in alerts)]
    return {"name": name, "rules": rules}


def all_alerts() -> tuple[Alert, ...]:
    """In the order of the rules file."""
    burning = (alert(objective) for alert in (objectives.fast, objectives.slow) for objective in objectives.OBJECTIVES)
    return (*burning, *SERVING, *INGESTION)
