"""KubeRay's CustomResourceDefinitions as strict validators: unknown keys are errors, and the CEL rules are run."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from celpy import Environment
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("KUBERAY_CRDS") or ROOT.parent / "shared" / "kuberay")
WHY_NOT = f"KubeRay's CRDs are not at {FOLDER}: set KUBERAY_CRDS to a folder with ray.io_*.yaml.gz"
KINDS = {
    "RayService": "rayservices",
    "RayJob": "rayjobs",
    "RayCronJob": "raycronjobs",
    "RayCluster": "rayclusters",
}

Schema = dict[str, Any]


def are_here() -> bool:
    return all((FOLDER / f"ray.io_{plural}.yaml.gz").is_file() for plural in KINDS.values())


def problems(manifest: dict[str, Any]) -> list[str]:
    """What the API server would refuse, each with its path."""
    return _problems(json.dumps(manifest))


@cache
def _problems(text: str) -> list[str]:
    """Most overlays share most objects."""
    manifest = json.loads(text)
    schema = schema_of(manifest["kind"])
    filled = with_defaults(manifest, schema)
    validator = _validator(manifest["kind"])
    found = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(filled)]
    return found + [f"{path}: {message}" for path, message in broken_rules(filled, schema, "$")]


def with_defaults(value: Any, schema: Schema) -> Any:
    """The API server fills in defaults before it validates; here in place."""
    if isinstance(value, dict):
        for name, member in schema.get("properties", {}).items():
            if name not in value and "default" in member:
                value[name] = deepcopy(member["default"])
            if name in value:
                with_defaults(value[name], member)
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            for name in value.keys() - schema.get("properties", {}).keys():
                with_defaults(value[name], more)
    elif isinstance(value, list):
        for item in value:
            with_defaults(item, schema.get("items", {}))
    return value


def broken_rules(value: Any, schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """(path, message) of every CEL rule that does not hold; rules on the old object need an update and are left out."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
            yield path, rule.get("message", rule["rule"])
    if isinstance(value, dict):
        for name, member in schema.get("properties", {}).items():
            if name in value:
                yield from broken_rules(value[name], member, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from broken_rules(item, schema.get("items", {}), f"{path}[{index}]")


def rules_of(schema: Schema) -> Iterator[str]:
    yield from (rule["rule"] for rule in schema.get("x-kubernetes-validations", []))
    members = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    for member in members:
        yield from rules_of(member)


def _holds(rule: str, value: Any) -> bool:
    environment = Environment()
    program = environment.program(environment.compile(rule))
    try:
        return bool(program.evaluate({"self": json_to_cel(json.loads(json.dumps(value)))}))
    except CELEvalError:
        return False


@cache
def schema_of(kind: str) -> Schema:
    path = FOLDER / f"ray.io_{KINDS[kind]}.yaml.gz"
    definition = yaml.load(gzip.decompress(path.read_bytes()), Loader=yaml.CSafeLoader)
    version = next(one for one in definition["spec"]["versions"] if one["name"] == "v1")
    schema: Schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return schema


@cache
def _validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(strict(schema_of(kind)))


def strict(schema: Schema) -> Schema:
    """As JSON Schema, where what is not named is not allowed."""
    made = {key: value for key, value in schema.items() if key not in ("properties", "items", "additionalProperties")}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "properties" in schema:
        made["properties"] = {name: strict(member) for name, member in schema["properties"].items()}
        made["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if "items" in schema:
        made["items"] = strict(schema["items"])
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        made["additionalProperties"] = strict(more)
    return made
