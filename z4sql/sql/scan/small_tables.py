"""The tables of the store that are read whole: namespaces and members."""

from __future__ import annotations

import pyarrow as pa

from raftcore.storage.kv import Store
from z4sql.sql.types import ColumnDefinition, Kind, TableDefinition
from z4sql.tasks.reader import TaskReader

_ARROW_TYPES = {
    Kind.BOOL: pa.int64(),
    Kind.INT: pa.int64(),
    Kind.UINT: pa.uint64(),
    Kind.DOUBLE: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.TIMESTAMP: pa.timestamp("us"),
}


def small_table(definition: TableDefinition, store: Store) -> pa.Table:
    """All rows of ``namespaces`` or ``members``. :raises KeyError: for another table."""
    reader = TaskReader(store)
    rows: list[dict[str, object]]
    match definition.name:
        case "namespaces":
            rows = [
                {"name": name, "created_at": settings.created_at_us, **_rest(settings.to_fields())}
                for name, settings in reader.namespaces().items()
            ]
        case "members":
            rows = [
                {
                    "id": member.name,
                    "peer_address": member.peer_address,
                    "service_address": member.service_address,
                    "sql_address": member.sql_address,
                    "metrics_address": member.metrics_address,
                }
                for member in reader.members()
            ]
        case _:
            raise KeyError(definition.name)
    return pa.table(
        [_column(column, rows) for column in definition.columns],
        names=[column.name for column in definition.columns],
    )


def _rest(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name != "created_at_us"}


def _column(column: ColumnDefinition, rows: list[dict[str, object]]) -> pa.Array:
    values = [row.get(column.name) for row in rows]
    if column.type.kind is Kind.BOOL:
        values = [None if value is None else int(bool(value)) for value in values]
    return pa.array(values, _ARROW_TYPES[column.type.kind])
