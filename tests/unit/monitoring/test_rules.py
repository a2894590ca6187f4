"""The rules as Prometheus itself sees them, and the pages and files that must go with them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.monitoring.files import monitoring_files
from cluster.monitoring.objectives import LATENCY_LIMIT_S
from cluster.monitoring.rule import RUNBOOK as ADDRESS
from cluster.monitoring.rule import anchor
from cluster.monitoring.rules import all_alerts, render_rules
from serve_app.telemetry.metrics import REQUEST_SECONDS

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "k8s" / "monitoring"
RUNBOOK = ROOT / "docs" / "runbook.md"
HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.yaml"))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian package `prometheus`)"
)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_the_committed_files_are_the_ones_that_are_rendered() -> None:
    assert {path.name: path.read_text() for path in COMMITTED.iterdir()} == monitoring_files(ADDRESS)


@needs_promtool
def test_prometheus_accepts_the_rules_and_the_scrape_configuration() -> None:
    rules = promtool("check", "rules", str(COMMITTED / "rules.yaml"))
    assert rules.returncode == 0, rules.stderr
    config = promtool("check", "config", "--syntax-only", str(COMMITTED / "prometheus.yaml"))
    assert config.returncode == 0, config.stderr


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_at_no_other_time(case: Path) -> None:
    tested = promtool("test", "rules", str(case))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@needs_promtool
def test_promtool_notices_an_alert_that_does_not_fire(tmp_path: Path) -> None:
    rules = (COMMITTED / "rules.yaml").read_text().replace("- alert: IngestStuck", "- alert: IngestStruck")
    (tmp_path / "rules.yaml").write_text(rules)
    case = (HERE / "ingestion.yaml").read_text().replace("../../../k8s/monitoring/rules.yaml", "rules.yaml")
    (tmp_path / "ingestion.yaml").write_text(case)
    assert promtool("test", "rules", str(tmp_path / "ingestion.yaml")).returncode == 1


def _tested(fires: bool) -> set[str]:
    checks: list[dict[str, Any]] = [
        check
        for case in CASES
        for test in yaml.safe_load(case.read_text())["tests"]
        for check in test["alert_rule_test"]
    ]
    return {check["alertname"] for check in checks if bool(check.get("exp_alerts")) == fires}


@pytest.mark.parametrize("fires", [True, False])
def test_every_alert_is_seen_to_fire_and_not_to_fire(fires: bool) -> None:
    assert _tested(fires) == {alert.name for alert in all_alerts()}


def test_names_are_unique_and_every_alert_is_rendered_once() -> None:
    rendered = [rule["alert"] for group in render_rules()["groups"] for rule in group["rules"] if "alert" in rule]
    assert sorted(rendered) == sorted(alert.name for alert in all_alerts())
    assert len(set(rendered)) == len(rendered)


def test_the_latency_limit_is_a_bound_of_the_histogram() -> None:
    assert LATENCY_LIMIT_S in REQUEST_SECONDS.buckets


def test_the_runbook_has_a_section_for_every_alert_and_for_nothing_else() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert headings == [alert.name for alert in all_alerts()]


def test_every_section_of_the_runbook_says_the_four_things() -> None:
    sections = re.split(r"^## \w+$", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    words = ("**Meaning.**", "**Likely causes.**", "**Look at.**", "**Do.**")
    assert [[word in section for word in words] for section in sections] == [[True] * 4] * len(all_alerts())


def test_an_alert_links_to_its_section() -> None:
    links = {
        rule["alert"]: rule["annotations"]["runbook_url"]
        for group in render_rules("https://example.com/runbook")["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert links == {alert.name: f"https://example.com/runbook#{anchor(alert.name)}" for alert in all_alerts()}
