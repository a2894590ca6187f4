"""The rules, the dashboard and a scrape configuration as files, for a Prometheus and a Grafana of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from cluster.monitoring.dashboard import render_dashboard
from cluster.monitoring.rules import render_rules
from cluster.monitoring.scrape import RULES_FILE, render_scrape

HEADER = "# Made by `embedctl render monitoring`.\n"


def monitoring_files(runbook: str) -> dict[str, str]:
    """Contents by file name. `runbook`: address of that page, for the alerts' links."""
    return {
        RULES_FILE: as_yaml(render_rules(runbook)),
        "prometheus.yaml": as_yaml(render_scrape()),
        "dashboard.json": json.dumps(render_dashboard(), indent=2) + "\n",
    }


def as_yaml(document: Mapping[str, Any]) -> str:
    return HEADER + yaml.safe_dump(dict(document), sort_keys=False, width=120)
