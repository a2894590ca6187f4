"""Kinds of other projects, as far as these manifests use them: what is not listed here is a mistake."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def closed(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


DURATION: Schema = {"type": "string", "pattern": r"^(\d+(ms|s|m|h|d))+$"}
PARENT = closed({"name": TEXT}, {"namespace": TEXT})
BACKEND = closed({"name": TEXT, "port": {"type": "integer"}})
MATCH = closed({"path": closed({"type": {"enum": ["PathPrefix"]}, "value": {"type": "string", "pattern": "^/"}})})
EXPRESSION = closed({"key": TEXT, "operator": {"enum": ["In"]}, "values": many(TEXT)})
ENDPOINT = closed({"port": TEXT, "path": TEXT, "interval": DURATION})
ALERT = closed(
    {"alert": TEXT, "expr": TEXT, "labels": TEXTS, "annotations": TEXTS}, {"for": DURATION, "keep_firing_for": DURATION}
)
RECORD = closed({"record": TEXT, "expr": TEXT}, {"labels": TEXTS})
GROUP = closed({"name": TEXT, "rules": many({"oneOf": [ALERT, RECORD]})}, {"interval": DURATION})
SPECS = {
    "HTTPRoute": closed(
        {
            "parentRefs": many(PARENT),
            "hostnames": many(TEXT),
            "rules": many(closed({"matches": many(MATCH), "backendRefs": many(BACKEND)})),
        }
    ),
    "PodMonitor": closed(
        {"selector": closed({"matchExpressions": many(EXPRESSION)}), "podMetricsEndpoints": many(ENDPOINT)},
        {"podTargetLabels": many(TEXT)},
    ),
    "PrometheusRule": closed({"groups": many(GROUP)}),
}
GROUPS = {"gateway.networking.k8s.io/v1": {"HTTPRoute"}, "monitoring.coreos.com/v1": {"PodMonitor", "PrometheusRule"}}


def problems(manifest: dict[str, Any]) -> list[str]:
    if manifest["kind"] not in GROUPS[manifest["apiVersion"]]:
        return [f"$.kind: {manifest['kind']} is not of {manifest['apiVersion']}"]
    metadata = closed({"name": TEXT, "namespace": TEXT}, {"labels": TEXTS})
    whole = closed({"apiVersion": TEXT, "kind": TEXT, "metadata": metadata, "spec": SPECS[manifest["kind"]]})
    return [f"{error.json_path}: {error.message[:300]}" for error in Draft202012Validator(whole).iter_errors(manifest)]
