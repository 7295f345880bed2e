"""A whole statement, lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from z4sql.sql.context import Catalog, StatementContext
from z4sql.sql.lowering import (  # noqa: F401 - each registers what it lowers
    addresses,
    aggregates,
    assignments,
    casts,
    comparison,
    conditionals,
    date_format,
    dates,
    intervals,
    json_functions,
    numeric,
    operators,
    regexps,
    session_functions,
    strings,
    windows,
)
from z4sql.sql.lowering.expressions import Lowering, SourceUse
from z4sql.sql.lowering.names import check_paths, typed_names
from z4sql.sql.lowering.query import lower_query
from z4sql.sql.lowering.scope import Origin
from z4sql.sql.types import ResultColumn, SqlType, TableDefinition

_NAMED: Final = (exp.Alias, exp.Column, exp.Star)
"""Columns of a select list whose names do not depend on how they were typed."""


@dataclass(slots=True)
class Lowered:
    """``sql`` for the engine; ``sources`` are the relations that it reads, by their names there.

    ``steady``: the same rows give the same answer each time.
    """

    sql: str
    columns: tuple[ResultColumn, ...]
    sources: dict[str, SourceUse]
    steady: bool = True


def lower(query: exp.Expression, text: str, catalog: Catalog, context: StatementContext) -> Lowered:
    """Lower a parsed query; ``text`` is what the client sent, for the names of result columns.

    :raises SqlError: as MySQL would, or 1235 for what is not built here.
    """
    check_paths(text)
    _remember_names(query, text)
    lowering = Lowering(catalog, context)
    if isinstance(query, exp.Select):
        assignments.may_assign(lowering, query)
    lowered = lower_query(lowering, query)
    sources = {
        name: SourceUse(name, definition, _in_order(definition, used))
        for name, (definition, used) in lowering.tables.items()
    }
    columns = tuple(
        _result_column(name, type_.to_sql_type(), origin)
        for (name, type_), origin in zip(lowered.columns, lowered.origins, strict=True)
    )
    return Lowered(lowered.sql, columns, sources, lowering.steady)


def _remember_names(query: exp.Expression, text: str) -> None:
    """Give the select list that names the result the texts it was typed as."""
    while isinstance(query, (exp.Subquery, exp.SetOperation)):
        query = query.this
    if not isinstance(query, exp.Select) or all(isinstance(each, _NAMED) for each in query.expressions):
        return
    names = typed_names(text) if text else []
    if len(names) == len(query.expressions):
        query.meta["typed_names"] = names


def _in_order(definition: TableDefinition, used: dict[str, None]) -> tuple[str, ...]:
    return tuple(column.name for column in definition.columns if column.name in used)


def _result_column(name: str, type_: SqlType, origin: Origin | None) -> ResultColumn:
    if origin is None:
        return ResultColumn(name, type_)
    return ResultColumn(
        name,
        type_,
        nullable=origin.nullable,
        table=origin.table,
        original_table=origin.original_table,
        original_name=origin.name,
        database=origin.database,
        key=origin.key,
    )
