"""Names of result columns where MySQL does not show them as they were typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from z4sql.sql.types import ResultColumn

_SCHEMA = "information_schema"


def shown_headers(query: exp.Expression, columns: Sequence[ResultColumn]) -> tuple[ResultColumn, ...]:
    """Columns of information_schema under their own upper-case names, however the query spells them.

    MySQL manual: INFORMATION_SCHEMA Introduction; its tables are views, and aliases stay as they are.
    """
    if not any(column.database == _SCHEMA for column in columns):
        return tuple(columns)
    while isinstance(query, (exp.Subquery, exp.SetOperation)):
        query = query.this
    selected = query.selects if isinstance(query, exp.Query) else []
    aliases = {one.alias for one in selected if isinstance(one, exp.Alias)}
    return tuple(
        replace(column, name=column.original_name)
        if column.database == _SCHEMA
        and column.name not in aliases
        and column.name.lower() == column.original_name.lower()
        else column
        for column in columns
    )
