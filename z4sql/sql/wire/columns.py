"""Column definitions as MySQL 8 sends them: clients choose their types by them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final, assert_never

from z4sql.sql.types import Collation, Kind, ResultColumn, SqlType
from z4sql.sql.wire.codec import ColumnType, str_len, uint_len

_BINARY_CHARSET: Final = 63
_UTF8MB4_0900_AI_CI: Final = 255

_NOT_NULL: Final = 0x0001
_PRIMARY_KEY: Final = 0x0002
_UNIQUE_KEY: Final = 0x0004
_MULTIPLE_KEY: Final = 0x0008
_BLOB: Final = 0x0010
_UNSIGNED: Final = 0x0020
_BINARY: Final = 0x0080
_NO_DEFAULT: Final = 0x1000
_PART_KEY: Final = 0x4000
_KEY_FLAGS: Final = {"PRI": _PRIMARY_KEY | _PART_KEY, "UNI": _UNIQUE_KEY | _PART_KEY, "MUL": _MULTIPLE_KEY}

_LONG_BYTES: Final = 0xFFFFFFFF
_VARCHAR_CHARACTERS_MAX: Final = 16_383
_VARBINARY_BYTES_MAX: Final = 65_535
_USUAL_CHARACTERS: Final = 1_024
_DECIMAL_DIGITS: Final = 38
_NOT_FIXED: Final = 31
"""Decimals of what has any number of them (NOT_FIXED_DEC)."""
_JSON_RESULT_BYTES: Final = 0xFFFFFFFC
_NUMBERS: Final = frozenset({Kind.BOOL, Kind.INT, Kind.UINT, Kind.DECIMAL, Kind.DOUBLE})


@dataclass(slots=True, frozen=True)
class WireType:
    """``length`` in bytes, as a client would reserve them to show a value."""

    type: ColumnType
    charset: int
    length: int
    decimals: int = 0
    flags: int = 0


def wire_type(sql_type: SqlType, *, json_as_text: bool = False) -> WireType:
    """MySQL manual: Column Definition. ``json_as_text``: for libmariadb, which does not know type 245."""
    scale = sql_type.scale
    match sql_type.kind:
        case Kind.NULL:
            return WireType(ColumnType.NULL, _BINARY_CHARSET, 0, 0, _BINARY)
        case Kind.BOOL:
            return WireType(ColumnType.TINY, _BINARY_CHARSET, 1)
        case Kind.INT:
            return WireType(ColumnType.LONGLONG, _BINARY_CHARSET, 20)
        case Kind.UINT:
            return WireType(ColumnType.LONGLONG, _BINARY_CHARSET, 20, 0, _UNSIGNED)
        case Kind.DECIMAL:
            length = (sql_type.length or _DECIMAL_DIGITS) + 2
            return WireType(ColumnType.NEWDECIMAL, _BINARY_CHARSET, length, scale)
        case Kind.DOUBLE:
            return WireType(ColumnType.DOUBLE, _BINARY_CHARSET, 22, _NOT_FIXED)
        case Kind.STRING:
            return _string(sql_type)
        case Kind.BINARY:
            if 0 < sql_type.length <= _VARBINARY_BYTES_MAX:
                return WireType(ColumnType.VAR_STRING, _BINARY_CHARSET, sql_type.length, 0, _BINARY)
            return WireType(ColumnType.BLOB, _BINARY_CHARSET, _LONG_BYTES, 0, _BLOB | _BINARY)
        case Kind.JSON:
            if json_as_text:
                return WireType(ColumnType.BLOB, _UTF8MB4_0900_AI_CI, _LONG_BYTES, 0, _BLOB)
            return WireType(ColumnType.JSON, _BINARY_CHARSET, _LONG_BYTES, 0, _BLOB | _BINARY)
        case Kind.DATE:
            return WireType(ColumnType.DATE, _BINARY_CHARSET, 10, 0, _BINARY)
        case Kind.DATETIME:
            return WireType(ColumnType.DATETIME, _BINARY_CHARSET, _with_fraction(19, scale), scale, _BINARY)
        case Kind.TIMESTAMP:
            return WireType(ColumnType.TIMESTAMP, _BINARY_CHARSET, _with_fraction(19, scale), scale, _BINARY)
        case Kind.TIME:
            return WireType(ColumnType.TIME, _BINARY_CHARSET, _with_fraction(10, scale), scale, _BINARY)
        case _ as unknown:
            assert_never(unknown)


def _with_fraction(length: int, scale: int) -> int:
    return length + 1 + scale if scale else length


def _string(sql_type: SqlType) -> WireType:
    # Texts are sent in the character set of results, and so its collation is told, not their own. MySQL flags
    # those of binary collations besides; mysql-connector-python, when it is pure, gives such as bytes.
    is_binary = sql_type.collation is Collation.BINARY
    charset, flags = (_BINARY_CHARSET, _BINARY) if is_binary else (_UTF8MB4_0900_AI_CI, 0)
    if sql_type.length > _VARCHAR_CHARACTERS_MAX:
        return WireType(ColumnType.BLOB, charset, min(4 * sql_type.length, _LONG_BYTES), 0, _BLOB | flags)
    return WireType(ColumnType.VAR_STRING, charset, 4 * (sql_type.length or _USUAL_CHARACTERS), 0, flags)


def _worked_out(kind: Kind, wire: WireType) -> WireType:
    """What an expression has otherwise than the column of a table."""
    if kind in _NUMBERS:
        return replace(wire, flags=wire.flags | _BINARY)
    if wire.type is ColumnType.JSON:
        return WireType(ColumnType.JSON, _UTF8MB4_0900_AI_CI, _JSON_RESULT_BYTES, _NOT_FIXED, _BINARY)
    return replace(wire, decimals=_NOT_FIXED) if kind in (Kind.STRING, Kind.BINARY) else wire


def column_definition(column: ResultColumn, *, json_as_text: bool = False) -> bytes:
    """Payload of Protocol::ColumnDefinition41."""
    wire = wire_type(column.type, json_as_text=json_as_text)
    if not column.original_table:
        wire = _worked_out(column.type.kind, wire)
    required = 0 if column.nullable else _NOT_NULL | (_NO_DEFAULT if column.original_table else 0)
    flags = wire.flags | _KEY_FLAGS.get(column.key, 0) | required
    names = (
        "def",
        column.database,
        column.table,
        column.original_table or column.table,
        column.name,
        column.original_name,
    )
    fixed = struct.pack("<BHIBHBH", 0x0C, wire.charset, wire.length, int(wire.type), flags, wire.decimals, 0)
    return b"".join(str_len(name.encode(errors="replace")) for name in names) + fixed


def column_count(count: int) -> bytes:
    return bytes(uint_len(count))


PARAMETER: Final = ResultColumn("?", SqlType(Kind.STRING, collation=Collation.BINARY))
"""What a placeholder looks like before its type is known."""
