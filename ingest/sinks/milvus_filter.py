"""Conditions in Milvus's expression language, with every value as an escaped literal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ingest.filters import HEADING_PATH, PAGE_FIELDS, Condition
from ingest.records import Scalar
from ingest.sinks.milvus_rows import NO_PAGE, headings_value, utf8

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def filter_clause(conditions: Sequence[Condition], tenant: str | None = None) -> str:
    """A boolean expression; "" if there is nothing to filter."""
    clauses = [_clause(condition) for condition in conditions]
    if tenant is not None:
        clauses.append(f"tenant == {_literal(tenant)}")
    return " and ".join(clauses)


def source_clause(source: str) -> str:
    """The expression that selects every chunk of one source."""
    return f"source == {_literal(source)}"


def key_clauses(keys: Sequence[str], keys_a_clause: int) -> Iterator[str]:
    """Expressions that together select every key once."""
    for start in range(0, len(keys), keys_a_clause):
        yield f"key in [{', '.join(_literal(key) for key in keys[start : start + keys_a_clause])}]"


def _clause(condition: Condition) -> str:
    if condition.metadata_name is not None:
        return _metadata_clause(condition.metadata_name, condition)
    operator = "==" if condition.op == "=" else condition.op
    value = headings_value(condition.headings) if condition.field == HEADING_PATH else condition.value
    clause = f"{condition.field} {operator} {_literal(value)}"
    return f"{clause} and {condition.field} > {NO_PAGE}" if condition.field in PAGE_FIELDS else clause


def _metadata_clause(name: str, condition: Condition) -> str:
    """`name` is of letters, digits and _ only: Condition has checked it."""
    field, value = f'metadata["{name}"]', condition.value
    if condition.op != "!=":
        return f"{field} {'==' if condition.op == '=' else condition.op} {_literal(value)}"
    if isinstance(value, bool):
        return f"{field} == {_literal(not value)}"
    # A server's != is also true where the field is missing or of another kind, and Lite's is not.
    return f"({field} < {_literal(value)} or {field} > {_literal(value)})"


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{utf8(value).translate(_ESCAPES)}"' if isinstance(value, str) else str(value)
