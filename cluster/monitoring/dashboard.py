"""The panels as a dashboard that Grafana can import."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from cluster.monitoring.panel import Panel
from cluster.monitoring.panels import ROWS

TITLE, IDENTITY = "Embedding cluster", "embed-cluster"
WIDTH, HEIGHT, ACROSS = 8, 8, 3  # Grafana's grid is 24 wide
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def render_dashboard() -> dict[str, Any]:
    """The JSON model of Grafana 10 and later; the data source and the models are chosen in Grafana."""
    return {
        "uid": IDENTITY,
        "title": TITLE,
        "tags": ["embed"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_data_source(), _models()]},
        "annotations": {"list": [_firing_alerts()]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(), 1)],
    }


def _panels() -> Iterator[dict[str, Any]]:
    top = 0
    for row in ROWS:
        yield {"type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": _place(0, top, 24, 1)}
        top += 1
        for index, panel in enumerate(row.panels):
            line, column = divmod(index, ACROSS)
            yield _panel(panel) | {"gridPos": _place(column * WIDTH, top + line * HEIGHT, WIDTH, HEIGHT)}
        top += HEIGHT * -(-len(row.panels) // ACROSS)


def _panel(panel: Panel) -> dict[str, Any]:
    note = f" No data while {panel.empty_while}." if panel.empty_while else ""
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about + note,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": {"drawStyle": "line", "fillOpacity": 8, "lineWidth": 1, "showPoints": "never"},
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": letter, "datasource": SOURCE, "expr": query.expression, "legendFormat": query.legend}
            for letter, query in zip(ascii_uppercase, panel.queries, strict=False)
        ],
    }


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _models() -> dict[str, Any]:
    return {
        "name": "model",
        "type": "query",
        "label": "Model",
        "datasource": SOURCE,
        "query": {"query": "label_values(ray_embed_requests_total, model)", "refId": "models"},
        "refresh": 2,  # whenever the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _firing_alerts() -> dict[str, Any]:
    return {
        "name": "Alerts",
        "enable": True,
        "datasource": SOURCE,
        "expr": 'ALERTS{alertstate="firing",alertname=~"Embed.*|Ingest.*"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{model}}{{deployment}}{{collection}}",
        "iconColor": "red",
    }
