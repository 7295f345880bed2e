"""What a user may see over SQL: checked on the planned ranges, so that no query gets around it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from z4sql.sql.catalog.z4_tables import DATABASE
from z4sql.sql.context import StatementContext
from z4sql.sql.errors import SqlError
from z4sql.sql.scan.request import TimeRange
from z4sql.sql.types import TableDefinition

_NAMESPACE_LABELS: Final = ("namespace", "task_namespace")


def _of_labels(text: str) -> str:
    """The namespace that a metric is about; empty when it is about the peer."""
    labels = json.loads(text)
    return next((labels[name] for name in _NAMESPACE_LABELS if labels.get(name)), "")


_NAMESPACES: Final[dict[str, tuple[str, Callable[[str], str]]]] = {
    "namespaces": ("name", str),
    "consumers": ("namespace", str),
    "leases": ("namespace", str),
    "metrics": ("labels", _of_labels),
}
"""By table: the column that tells what namespace a row is about, and how; empty is everybody's."""
_EVERYBODYS: Final = frozenset({"members"})


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
    """The rows of a small table that are about granted namespaces.

    Of a table of which that is not known nothing is shown: `_NAMESPACES` or `_EVERYBODYS` has to name it.
    """
    if context.grant.everything or table.database != DATABASE or table.name in _EVERYBODYS:
        return rows
    if table.name not in _NAMESPACES:
        return rows.slice(0, 0)
    column, namespace_of = _NAMESPACES[table.name]
    namespaces = map(namespace_of, rows.column(column).to_pylist())
    granted = [not namespace or context.grant.allows(namespace) for namespace in namespaces]
    return rows.filter(pc.equal(pa.array(granted, pa.bool_()), True))
