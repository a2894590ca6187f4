"""Conditions as SQL: names are identifiers, values are always parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from ingest.filters import HEADING_PATH, Condition
from ingest.records import Scalar
from ingest.sinks.pgvector_rows import storable

_KINDS = {bool: "boolean", str: "string", int: "number", float: "number"}  # Python's and jsonb_typeof's


def where(conditions: Sequence[Condition], tenant: str | None) -> tuple[sql.Composable, dict[str, Any]]:
    """What follows WHERE, and its parameters (`f0`, `f1` …)."""
    clauses: list[sql.Composable] = [sql.SQL("true")]
    parameters: dict[str, Any] = {}
    for number, condition in enumerate(conditions):
        clauses.append(_clause(condition, f"f{number}"))
        parameters[f"f{number}"] = _parameter(condition)
    if tenant is not None:
        clauses.append(sql.SQL("tenant = %(tenant)s"))
        parameters["tenant"] = storable(tenant)
    return sql.SQL(" AND ").join(clauses), parameters


def _clause(condition: Condition, parameter: str) -> sql.Composable:
    value = sql.Placeholder(parameter)
    operator = sql.SQL("<>" if condition.op == "!=" else condition.op)
    if condition.metadata_name is None:
        return sql.SQL("{} {} {}").format(sql.Identifier(condition.field), operator, value)
    if condition.op == "=":
        return sql.SQL("metadata @> {}").format(value)  # the form that its index knows
    # Values of one kind have their natural order in jsonb, and those of another kind are left out.
    return sql.SQL("(jsonb_typeof(metadata -> {name}) = {kind} AND metadata -> {name} {operator} {value})").format(
        name=sql.Literal(condition.metadata_name),
        kind=sql.Literal(_KINDS[type(condition.value)]),
        operator=operator,
        value=value,
    )


def _parameter(condition: Condition) -> Any:
    if condition.field == HEADING_PATH:
        return [storable(heading) for heading in condition.headings]
    value: Scalar = storable(condition.value) if isinstance(condition.value, str) else condition.value
    if condition.metadata_name is None:
        return value
    return Jsonb({condition.metadata_name: value}) if condition.op == "=" else Jsonb(value)
