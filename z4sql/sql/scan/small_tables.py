"""Tables that are read whole: namespaces from the store, others as the peer tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from raftcore.storage.kv import Store
from z4sql.sql.types import ColumnDefinition, Kind, TableDefinition
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import State

Row = Mapping[str, object]

_ARROW_TYPES = {
    Kind.BOOL: pa.int64(),
    Kind.INT: pa.int64(),
    Kind.UINT: pa.uint64(),
    Kind.DOUBLE: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.TIMESTAMP: pa.timestamp("us"),
}


def namespaces_table(definition: TableDefinition, store: Store) -> pa.Table:
    """Every namespace: its settings, and how many tasks it has in each state."""
    reader = TaskReader(store)
    counts = reader.counts_of_namespaces()
    rows: list[Row] = []
    for name, settings in reader.namespaces().items():
        fields = settings.to_fields()
        fields["created_at"], fields["paused_until"] = settings.created_at_us, settings.paused_until_us
        tasks = counts.get(name, {})
        states = {f"tasks_{state.name.lower()}": tasks.get(state, 0) for state in State}
        rows.append({"name": name, **fields, **states})
    return told_table(definition, rows)


def told_table(definition: TableDefinition, rows: Sequence[Row]) -> pa.Table:
    """Rows by column name, as the peer told them; what a row lacks is NULL."""
    return pa.table(
        [_column(column, rows) for column in definition.columns],
        names=[column.name for column in definition.columns],
    )


def _column(column: ColumnDefinition, rows: Sequence[Row]) -> pa.Array:
    values = [row.get(column.name) for row in rows]
    if column.type.kind is Kind.BOOL:
        values = [None if value is None else int(bool(value)) for value in values]
    return pa.array(values, _ARROW_TYPES[column.type.kind])
