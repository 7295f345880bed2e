"""Bound values of prepared statements (MySQL manual: Binary Protocol Value)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from z4sql.sql.result import Parameter
from z4sql.sql.wire.codec import ColumnType, PacketReader, decode_text
from z4sql.sql.wire.errors import BadArguments, BadCharacters, MalformedPacket

_INTEGER_WIDTHS: Final = {
    ColumnType.TINY: 1,
    ColumnType.BOOL: 1,
    ColumnType.SHORT: 2,
    ColumnType.YEAR: 2,
    ColumnType.LONG: 4,
    ColumnType.INT24: 4,
    ColumnType.LONGLONG: 8,
}
_TEXTS: Final = frozenset(
    {
        ColumnType.VARCHAR,
        ColumnType.VAR_STRING,
        ColumnType.STRING,
        ColumnType.ENUM,
        ColumnType.SET,
        ColumnType.JSON,
    }
)
_BLOBS: Final = frozenset(
    {
        ColumnType.TINY_BLOB,
        ColumnType.MEDIUM_BLOB,
        ColumnType.LONG_BLOB,
        ColumnType.BLOB,
        ColumnType.BIT,
        ColumnType.GEOMETRY,
    }
)
_DATES: Final = frozenset(
    {
        ColumnType.DATE,
        ColumnType.NEWDATE,
        ColumnType.DATETIME,
        ColumnType.DATETIME2,
        ColumnType.TIMESTAMP,
        ColumnType.TIMESTAMP2,
    }
)
_DAYS_ONLY: Final = frozenset({ColumnType.DATE, ColumnType.NEWDATE})
_TIMES: Final = frozenset({ColumnType.TIME, ColumnType.TIME2})
_UNSIGNED: Final = 0x80
_MICROSECOND_MAX: Final = 999_999
_DECIMAL_DIGITS_MAX: Final = 81
"""What MySQL has room for while it reads one (DECIMAL_MAX_POSSIBLE_PRECISION)."""
_EXECUTE: Final = "mysqld_stmt_execute"


@dataclass(slots=True, frozen=True)
class ParameterType:
    type: ColumnType
    unsigned: bool


def read_types(reader: PacketReader, count: int, *, named: bool) -> tuple[ParameterType, ...]:
    """``count`` types; with names behind them when query attributes were agreed.

    :raises BadArguments: a type that no client may send.
    """
    if count > reader.remaining:
        raise MalformedPacket
    types = []
    for _ in range(count):
        number, flags = reader.take(2)
        if named:
            reader.bytes_len()
        try:
            types.append(ParameterType(ColumnType(number), bool(flags & _UNSIGNED)))
        except ValueError:
            raise BadArguments(_EXECUTE) from None
    return tuple(types)


def read_parameters(
    reader: PacketReader,
    types: Sequence[ParameterType],
    nulls: bytes,
    long_data: Mapping[int, bytes],
    codec: str,
) -> list[Parameter]:
    """Values in order; those sent before by COM_STMT_SEND_LONG_DATA stand in ``long_data`` by position."""
    values: list[Parameter] = []
    for place, parameter in enumerate(types):
        if place in long_data:
            values.append(_bytes_value(long_data[place], parameter.type, codec))
        elif nulls[place >> 3] >> (place & 7) & 1:
            values.append(None)
        else:
            values.append(_value(reader, parameter, codec))
    return values


def _value(reader: PacketReader, parameter: ParameterType, codec: str) -> Parameter:
    kind = parameter.type
    if kind in _INTEGER_WIDTHS:
        width = _INTEGER_WIDTHS[kind]
        return reader.uint(width) if parameter.unsigned else reader.sint(width)
    if kind is ColumnType.DOUBLE:
        return float(struct.unpack("<d", reader.take(8))[0])
    if kind is ColumnType.FLOAT:
        return _shortest_double(reader.take(4))
    if kind is ColumnType.NULL:
        return None
    if kind in _DATES:
        return _instant(reader.take(reader.uint(1)), day_only=kind in _DAYS_ONLY)
    if kind in _TIMES:
        return _time(reader.take(reader.uint(1)))
    return _bytes_value(reader.bytes_len(), kind, codec)


def _shortest_double(data: bytes) -> float:
    """The double that prints like the float: 0.1 stays 0.1 and does not become 0.10000000149011612."""
    value = struct.unpack("<f", data)[0]
    for digits in range(6, 10):
        shorter = float(f"{value:.{digits}g}")
        if struct.pack("<f", shorter) == data:
            return shorter
    return float(value)


def _bytes_value(data: bytes, kind: ColumnType, codec: str) -> Parameter:
    if kind in _TEXTS:
        try:
            return decode_text(data, codec)
        except BadCharacters:
            return data  # drivers without a type for bytes send them as text
    if kind in (ColumnType.DECIMAL, ColumnType.NEWDECIMAL):
        return _decimal(data)
    if kind in _BLOBS:
        return data
    raise BadArguments(_EXECUTE)


def _decimal(data: bytes) -> Decimal:
    """A number of digits that can be written out: an exponent may stand for any number of them."""
    try:
        value = Decimal(data.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        raise BadArguments(_EXECUTE) from None
    if not value.is_finite():
        raise BadArguments(_EXECUTE)
    _, digits, exponent = value.as_tuple()
    if max(len(digits), len(digits) + int(exponent), -int(exponent)) > _DECIMAL_DIGITS_MAX:
        raise BadArguments(_EXECUTE)
    return value


def _instant(data: bytes, *, day_only: bool) -> Parameter:
    """A date or datetime; as text what Python has no value for (zero dates, offsets of a zone).

    MySQL manual: ProtocolBinary::MYSQL_TYPE_DATETIME; 13 bytes when an offset in minutes follows.
    """
    if len(data) not in (0, 4, 7, 11, 13):
        raise MalformedPacket
    fields = struct.unpack("<HBBBBBIh", data.ljust(13, b"\0"))
    year, month, day, hour, minute, second, microsecond, offset_minutes = fields
    if microsecond > _MICROSECOND_MAX:
        raise BadArguments(_EXECUTE)
    try:
        value = datetime(year, month, day, hour, minute, second, microsecond)
    except ValueError:
        value = None
    if value is None or offset_minutes:
        text = f"{year:04}-{month:02}-{day:02}"
        if day_only:
            return text
        text += f" {hour:02}:{minute:02}:{second:02}.{microsecond:06}"
        if offset_minutes:
            sign = "-" if offset_minutes < 0 else "+"
            text += f"{sign}{abs(offset_minutes) // 60:02}:{abs(offset_minutes) % 60:02}"
        return text
    return value.date() if day_only else value


def _time(data: bytes) -> timedelta:
    if len(data) not in (0, 8, 12):
        raise MalformedPacket
    negative, days, hours, minutes, seconds, us = struct.unpack("<BIBBBI", data.ljust(12, b"\0"))
    if days > 10_000 or us > _MICROSECOND_MAX:
        raise BadArguments(_EXECUTE)
    value = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=us)
    return -value if negative else value
