"""The two kinds of rules Prometheus knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

RUNBOOK = "docs/runbook.md"  # where the product has it: the default address

Severity = Literal["page", "ticket"]  # somebody is woken; somebody looks at it at work


@dataclass(frozen=True, slots=True)
class Record:
    """A series that is worked out all the time under a name of its own."""

    name: str
    expression: str

    def render(self) -> dict[str, Any]:
        return {"record": self.name, "expr": self.expression}


@dataclass(frozen=True, slots=True)
class Alert:
    """`lasting`: how long the expression must have had a value before anybody hears of it."""

    name: str
    severity: Severity
    expression: str
    lasting: str
    summary: str
    description: str

    def render(self, runbook: str) -> dict[str, Any]:
        """`runbook`: address of the page that has a section for every alert."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbook}#{anchor(self.name)}",
            },
        }


def anchor(alert: str) -> str:
    """What Markdown viewers make of the heading of the alert's section."""
    return alert.lower()
