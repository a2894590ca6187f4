"""Reads PromQL, to compare what it asks for with what there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql


@dataclass(frozen=True, slots=True)
class Selector:
    metric: str
    labels: frozenset[str]  # that it matches by
    grouped: frozenset[str]  # labels that the aggregations around it are by


def selectors(expression: str) -> list[Selector]:
    """Every selector of the expression. Raises ValueError if it is no PromQL."""
    return list(_walk(promql.parse(expression), frozenset()))


def _walk(node: Any, grouped: frozenset[str]) -> Iterator[Selector]:
    match node:
        case promql.VectorSelector():
            yield Selector(node.name or "", frozenset(matcher.name for matcher in node.matchers.matchers), grouped)
        case promql.MatrixSelector():
            yield from _walk(node.vector_selector, grouped)
        case promql.AggregateExpr():
            by = frozenset(node.modifier.labels if node.modifier else ())
            yield from _walk(node.expr, grouped | by)
        case promql.BinaryExpr():
            yield from _walk(node.lhs, grouped)
            yield from _walk(node.rhs, grouped)
        case promql.Call():
            for argument in node.args:
                yield from _walk(argument, grouped)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _walk(node.expr, grouped)
        case promql.NumberLiteral() | promql.StringLiteral():
            pass
        case _:
            raise TypeError(f"what is a {type(node).__name__}?")
