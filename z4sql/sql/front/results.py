"""Results that are there at once: rows of Python values as a `ResultSet`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

import pyarrow as pa

from z4sql.sql.catalog.rows import arrow_type
from z4sql.sql.front.scalar import Scalar
from z4sql.sql.result import ResultSet
from z4sql.sql.types import Kind, ResultColumn, SqlType, TableDefinition

TEXT = SqlType(Kind.STRING, 512)
LONG_TEXT = SqlType(Kind.STRING, 65535)
_DEFINITION = SqlType(Kind.STRING, 1024)
"""As MySQL tells it, whose text may be longer all the same."""
INT = SqlType(Kind.INT)
UINT = SqlType(Kind.UINT)
_NULL = SqlType(Kind.NULL)
_INT_MAX = 2**63 - 1


async def _one_batch(batch: pa.RecordBatch | None) -> AsyncIterator[pa.RecordBatch]:
    if batch is not None:
        yield batch


def result_set(columns: Sequence[ResultColumn], rows: Sequence[Sequence[object]]) -> ResultSet:
    """Rows of values that fit their columns."""
    arrays = [
        pa.array([row[index] for row in rows], arrow_type(column.type))
        for index, column in enumerate(columns)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, names=[f"c{index}" for index in range(len(columns))])
    return ResultSet(tuple(columns), _one_batch(batch if rows else None))


def text_columns(*names: str, nullable: bool = True) -> tuple[ResultColumn, ...]:
    return tuple(ResultColumn(name, TEXT, nullable) for name in names)


def definition(kind: str, name: str, text: str) -> ResultSet:
    """What SHOW CREATE of a ``kind`` of objects tells of one."""
    columns = (
        ResultColumn(kind, TEXT, nullable=False),
        ResultColumn(f"Create {kind}", _DEFINITION, nullable=False),
    )
    return result_set(columns, [(name, text)])


def type_of(value: Scalar) -> SqlType:
    """The type an expression with this value has."""
    match value:
        case None:
            return _NULL
        case int():
            return UINT if value > _INT_MAX else INT
        case float():
            return SqlType(Kind.DOUBLE)
        case Decimal():
            return SqlType(Kind.DECIMAL, 38, max(0, -int(value.as_tuple().exponent)))
        case str():
            return SqlType(Kind.STRING, max(1, len(value)))


def table_columns(table: TableDefinition) -> tuple[ResultColumn, ...]:
    """The columns of a table as a query of all of them shows them."""
    return tuple(
        ResultColumn(
            column.name,
            column.type,
            column.nullable,
            table=table.name,
            original_table=table.name,
            original_name=column.name,
            database=table.database,
            key=column.key,
        )
        for column in table.columns
    )
