"""What a user may see over SQL: checked on the planned ranges, so that no query gets around it."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from z4sql.sql.context import StatementContext
from z4sql.sql.errors import SqlError
from z4sql.sql.scan.request import TimeRange
from z4sql.sql.types import TableDefinition

_NAMESPACE_COLUMNS = {"namespaces": "name"}


def require_granted(ranges: Iterable[TimeRange], context: StatementContext) -> None:
    """:raises SqlError: (1142) a range lies in a namespace that is not granted to the user."""
    if context.grant.everything:
        return
    for one in ranges:
        if not context.grant.allows(one.namespace):
            raise SqlError(
                f"SELECT command denied to user '{context.user}'@'{context.host}' for table 'tasks': "
                f"namespace '{one.namespace}' is not granted",
                code=1142,
                state="42000",
            )


def granted_rows(table: TableDefinition, rows: pa.Table, context: StatementContext) -> pa.Table:
    """The rows of a small table that are about granted namespaces."""
    column = _NAMESPACE_COLUMNS.get(table.name)
    if column is None or context.grant.everything:
        return rows
    granted = [context.grant.allows(name) for name in rows.column(column).to_pylist()]
    return rows.filter(pc.equal(pa.array(granted, pa.bool_()), True))
