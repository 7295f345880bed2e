"""Types of columns as a definition writes them (``varchar(64)``, ``enum('YES','NO')``)."""

from __future__ import annotations

import re
from functools import cache

from z4sql.sql.types import Kind, SqlType

_WRITTEN = re.compile(r"(?P<name>\w+)(?:\((?P<inner>.*)\))?(?P<unsigned> unsigned)?")
_KINDS = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint"), Kind.INT),
    **dict.fromkeys(("float", "double"), Kind.DOUBLE),
    **dict.fromkeys(("char", "varchar", "enum", "set", "text", "mediumtext", "longtext"), Kind.STRING),
    **dict.fromkeys(("binary", "varbinary", "blob", "mediumblob", "longblob"), Kind.BINARY),
    "decimal": Kind.DECIMAL,
    "json": Kind.JSON,
    "date": Kind.DATE,
    "datetime": Kind.DATETIME,
    "timestamp": Kind.TIMESTAMP,
    "time": Kind.TIME,
}
_LENGTHS = {
    "tinyint": 4,
    "smallint": 6,
    "mediumint": 9,
    "int": 11,
    "bigint": 20,
    "text": 65_535,
    "mediumtext": 16_777_215,
    "longtext": 4_294_967_295,
    "blob": 65_535,
    "mediumblob": 16_777_215,
    "longblob": 4_294_967_295,
}
"""Of the types that are written without one. MySQL manual: Data Type Storage Requirements."""
_DIGITS_MAX = 38
"""Of the decimals that results carry."""


@cache
def type_written(column_type: str) -> SqlType:
    """:raises KeyError: a type that no system table has."""
    found = _WRITTEN.fullmatch(column_type)
    if found is None:
        raise KeyError(column_type)
    name, inner = found["name"], found["inner"] or ""
    kind = _KINDS[name]
    match kind:
        case Kind.INT:
            if found["unsigned"] is not None:
                return SqlType(Kind.UINT, _LENGTHS[name] - (name != "bigint"))
            return SqlType(Kind.BOOL if inner == "1" else kind, _LENGTHS[name])
        case Kind.STRING | Kind.BINARY:
            return SqlType(kind, _characters(name, inner))
        case Kind.DECIMAL:
            digits, scale = map(int, inner.split(","))
            return SqlType(kind, min(digits, _DIGITS_MAX), scale)
        case Kind.DATETIME | Kind.TIMESTAMP | Kind.TIME:
            return SqlType(kind, scale=int(inner or 0))
        case _:
            return SqlType(kind)


def _characters(name: str, inner: str) -> int:
    if name in ("enum", "set"):
        items = [item.strip("'") for item in inner.split(",")]
        return len(",".join(items)) if name == "set" else max(map(len, items))
    return int(inner) if inner else _LENGTHS[name]
