"""Rows of the binary protocol, for prepared statements (MySQL manual: Binary Protocol Resultset Row).

A row is a NUL, a bitmap of the NULL columns (two bits spare), then the values that are not NULL.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from z4sql.sql.render import render_text
from z4sql.sql.types import Kind, SqlType
from z4sql.sql.wire.codec import str_len
from z4sql.sql.wire.framing import Frames
from z4sql.sql.wire.rows import BINARY_NULL, FEW_ROWS, Lengths, Parts, as_binary, frame_one_by_one

Bytes = npt.NDArray[np.uint8]

_NUMBERS: Final = {Kind.BOOL: "<i1", Kind.INT: "<i8", Kind.UINT: "<u8", Kind.DOUBLE: "<f8"}
_PACK: Final = {Kind.BOOL: "<b", Kind.INT: "<q", Kind.UINT: "<Q", Kind.DOUBLE: "<d"}
_INSTANTS: Final = (Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP)
_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US


def encode_binary_rows(batch: pa.RecordBatch, types: Sequence[SqlType], sequence: int) -> list[Frames]:
    """All rows of ``batch`` as packets, in one pass over its columns where the cells allow."""
    columns = [_normal(column, sql_type) for column, sql_type in zip(batch.columns, types, strict=True)]
    heads = _heads(columns, batch.num_rows)
    if batch.num_rows > FEW_ROWS:
        parts = Parts(batch.num_rows)
        parts.add_fixed(heads, np.full(batch.num_rows, heads.shape[1], np.int64))
        if all(_add(parts, column, sql_type) for column, sql_type in zip(columns, types, strict=True)):
            frames = parts.frames(sequence)
            if frames is not None:
                return frames
    return frame_one_by_one(_rows(columns, types, heads), sequence)


def _normal(column: pa.Array, sql_type: SqlType) -> pa.Array:
    """The column as it is packed: numbers, dates and times stay, all else becomes its text."""
    kind = sql_type.kind
    if kind is Kind.NULL:
        return pa.nulls(len(column), pa.binary())
    if kind is Kind.DOUBLE:
        # MySQL has neither NaN nor infinity.
        return pc.if_else(pc.is_finite(column), column, pa.scalar(None, pa.float64()))
    if kind is Kind.BOOL:
        return column.cast(pa.int8())
    if kind in _NUMBERS or kind in _INSTANTS or kind is Kind.TIME:
        return column
    return as_binary(render_text(column, sql_type))


def _heads(columns: Sequence[pa.Array], rows: int) -> Bytes:
    nulls = np.zeros((rows, len(columns) + 2), np.uint8)
    for place, column in enumerate(columns, 2):
        if column.null_count:
            nulls[:, place] = column.is_null().to_numpy(zero_copy_only=False)
    bitmap = np.packbits(nulls, axis=1, bitorder="little")
    return np.concatenate([np.zeros((rows, 1), np.uint8), bitmap], axis=1)


def _add(parts: Parts, column: pa.Array, sql_type: SqlType) -> bool:
    kind = sql_type.kind
    rows = len(column)
    present = np.ones(rows, bool)
    if column.null_count:
        present = column.is_valid().to_numpy(zero_copy_only=False)
    if kind in _NUMBERS:
        values = _values(column).astype(_NUMBERS[kind])
        width = values.dtype.itemsize
        parts.add_fixed(values.view(np.uint8).reshape(rows, width), np.where(present, width, 0))
    elif kind in _INSTANTS:
        parts.add_fixed(*_instants(column, present))
    elif kind is Kind.TIME:
        parts.add_fixed(*_times(column, present))
    else:
        return parts.add_cells(column, BINARY_NULL)
    return True


def _values(column: pa.Array) -> npt.NDArray[Any]:
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0, column.type))
    values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def _instants(column: pa.Array, present: npt.NDArray[np.bool_]) -> tuple[Bytes, Lengths]:
    """Length byte, year (2), month, day, hour, minute, second, microseconds (4): trailing zeros left out."""
    if pa.types.is_date(column.type):
        days, of_day = _values(column.cast(pa.date32()).cast(pa.int32())).astype(np.int64), None
    else:
        us = _values(column.cast(pa.int64()))
        days = us // _DAY_US
        of_day = us - days * _DAY_US
    packed = np.zeros(len(column), _INSTANT)
    day = days.astype("M8[D]")
    month = day.astype("M8[M]")
    packed["year"] = day.astype("M8[Y]").astype(np.int64) + 1970
    packed["month"] = month.astype(np.int64) % 12 + 1
    packed["day"] = (day - month.astype("M8[D]")).astype(np.int64) + 1
    lengths: Lengths = np.full(len(column), 4, np.int64)
    if of_day is not None:
        _put_time(packed, of_day)
        lengths[of_day != 0] = 7
        lengths[of_day % _SECOND_US != 0] = 11
    packed["length"] = lengths
    return packed.view(np.uint8).reshape(len(column), _INSTANT.itemsize), np.where(present, lengths + 1, 0)


def _times(column: pa.Array, present: npt.NDArray[np.bool_]) -> tuple[Bytes, Lengths]:
    """Length byte, sign, days (4), hour, minute, second, microseconds (4): trailing zeros left out."""
    us = _values(column)
    size = np.abs(us)
    packed = np.zeros(len(column), _TIME)
    packed["negative"] = us < 0
    packed["days"] = size // _DAY_US
    _put_time(packed, size % _DAY_US)
    lengths: Lengths = np.full(len(column), 8, np.int64)
    lengths[us == 0] = 0
    lengths[size % _SECOND_US != 0] = 12
    packed["length"] = lengths
    return packed.view(np.uint8).reshape(len(column), _TIME.itemsize), np.where(present, lengths + 1, 0)


_CLOCK: Final = [("hour", "u1"), ("minute", "u1"), ("second", "u1"), ("microsecond", "<u4")]
_INSTANT: Final = np.dtype([("length", "u1"), ("year", "<u2"), ("month", "u1"), ("day", "u1"), *_CLOCK])
_TIME: Final = np.dtype([("length", "u1"), ("negative", "u1"), ("days", "<u4"), *_CLOCK])


def _put_time(packed: npt.NDArray[np.void], of_day: Lengths) -> None:
    seconds = of_day // _SECOND_US
    packed["hour"] = seconds // 3600
    packed["minute"] = seconds // 60 % 60
    packed["second"] = seconds % 60
    packed["microsecond"] = of_day % _SECOND_US


def _rows(columns: Sequence[pa.Array], types: Sequence[SqlType], heads: Bytes) -> Iterator[bytes]:
    kinds = [sql_type.kind for sql_type in types]
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    for head, row in zip(heads, rows, strict=True):
        values = [_cell(value, kind) for value, kind in zip(row, kinds, strict=True) if value is not None]
        yield head.tobytes() + b"".join(values)


def _cell(value: Any, kind: Kind) -> bytes:
    if kind in _PACK:
        return struct.pack(_PACK[kind], value)
    if isinstance(value, datetime):
        whole = struct.pack("<HBBBBB", *value.timetuple()[:6])
        return _instant(whole, value.microsecond)
    if isinstance(value, date):
        return b"\x04" + struct.pack("<HBB", value.year, value.month, value.day)
    if kind is Kind.TIME:
        seconds, us = divmod(abs(value), _SECOND_US)
        if not value:
            return b"\0"
        clock = struct.pack(
            "<BIBBB", value < 0, seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
        )
        return bytes((12,)) + clock + struct.pack("<I", us) if us else bytes((8,)) + clock
    return bytes(str_len(value))


def _instant(whole: bytes, microsecond: int) -> bytes:
    if microsecond:
        return b"\x0b" + whole + struct.pack("<I", microsecond)
    return b"\x07" + whole if any(whole[4:]) else b"\x04" + whole[:4]
