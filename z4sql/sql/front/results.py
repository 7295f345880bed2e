"""Results that are there at once: rows of Python values as a `ResultSet`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

import pyarrow as pa

from z4sql.sql.catalog.rows import ARROW_TYPES
from z4sql.sql.front.scalar import Scalar
from z4sql.sql.result import ResultSet
from z4sql.sql.types import Kind, ResultColumn, SqlType, TableDefinition

TEXT = SqlType(Kind.STRING, 512)
LONG_TEXT = SqlType(Kind.STRING, 65535)
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
        pa.array([row[index] for row in rows], _arrow_type(column.type))
        for index, column in enumerate(columns)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, names=[f"c{index}" for index in range(len(columns))])
    return ResultSet(tuple(columns), _one_batch(batch if rows else None))


def _arrow_type(sql_type: SqlType) -> pa.DataType:
    if sql_type.kind is Kind.DECIMAL:
        return pa.decimal128(38, sql_type.scale)
    return ARROW_TYPES[sql_type.kind]


def text_columns(*names: str) -> tuple[ResultColumn, ...]:
    return tuple(ResultColumn(name, TEXT) for name in names)


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
