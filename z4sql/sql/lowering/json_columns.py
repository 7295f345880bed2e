"""Types that JSON values are read as: of JSON_VALUE and of the columns of JSON_TABLE.

MySQL manual: JSON_VALUE(); JSON_TABLE(). The values are made by `z4sql.sql.engine.json_columns`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import NamedTuple

from sqlglot import exp

from z4sql.sql.engine.json_columns import Handling, Target, converted
from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.casts import digits_of_second, sizes_of
from z4sql.sql.lowering.conversion import engine_type
from z4sql.sql.lowering.expressions import unsupported
from z4sql.sql.lowering.typed import (
    BINARY,
    DATE,
    DOUBLE,
    INT,
    JSON,
    TEXT,
    UINT,
    Type,
    Typed,
    datetime,
    decimal,
    time,
)
from z4sql.sql.types import Kind

_INTEGER_BYTES = {"BIGINT": 8, "INT": 4, "MEDIUMINT": 3, "SMALLINT": 2, "TINYINT": 1}
_BOOLEANS = frozenset({"BOOLEAN", "BOOL"})
_DATETIMES = frozenset({"DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME64", "TIMESTAMPNTZ", "TIMESTAMPLTZ"})
_CHARACTERS = {
    **dict.fromkeys(("CHAR", "NCHAR"), 1),
    **dict.fromkeys(("VARCHAR", "NVARCHAR", "TEXT", "TINYTEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM"), 0),
}
_BYTES = frozenset({"BINARY", "VARBINARY", "BLOB", "TINYBLOB", "MEDIUMBLOB", "LONGBLOB"})
_NAMES = {Kind.INT: "SIGNED", Kind.UINT: "UNSIGNED", Kind.STRING: "STRING", Kind.JSON: "JSON"}


class Read(NamedTuple):
    """A type, and how a JSON value becomes a value of it."""

    type: Type
    target: Target

    def of(self, text: str) -> Typed:
        """What our functions gave, as a value of the type."""
        match self.type.kind:
            case Kind.STRING:
                return Typed(text, self.type)
            case Kind.BINARY:
                return Typed(f"encode({text})", self.type)
            case _:
                return Typed(f"cast({text} as {engine_type(self.type)})", self.type)

    @property
    def shown(self) -> str:
        """The type in a message."""
        return _NAMES.get(self.type.kind, self.type.kind.name)


def read_as(node: exp.Expression, *, column: bool) -> Read:
    """The type that ``node`` names; of a ``column`` of a table, where CHAR is CHAR(1), or as in a cast.

    :raises Unsupported: (1235)
    """
    kind, sizes = node.this.name, sizes_of(node)
    name = kind.removeprefix("U") if kind.removeprefix("U") in _INTEGER_BYTES else kind
    if name in _INTEGER_BYTES or name in _BOOLEANS:
        bits = 8 * _INTEGER_BYTES.get(name, 1)
        if name != kind:
            return Read(UINT, Target("INTEGER", most=2**bits - 1))
        return Read(INT, Target("INTEGER", least=-(2 ** (bits - 1)), most=2 ** (bits - 1) - 1))
    if kind == "DECIMAL":
        size, scale = [*sizes, 10, 0][:2] if len(sizes) != 1 else (sizes[0], 0)
        return Read(decimal(scale), Target("DECIMAL", size, scale))
    if kind in ("DOUBLE", "FLOAT"):
        return Read(DOUBLE, Target("DOUBLE"))
    if kind in _CHARACTERS or kind in _BYTES:
        size = sizes[0] if sizes else _CHARACTERS.get(kind, 0) if column else 0
        return (
            Read(TEXT, Target("CHAR", size)) if kind in _CHARACTERS else Read(BINARY, Target("BINARY", size))
        )
    if kind == "DATE":
        return Read(DATE, Target("DATE"))
    if kind in _DATETIMES:
        digits = digits_of_second(kind, sizes)
        return Read(datetime(digits), Target("DATETIME", digits))
    if kind == "TIME":
        digits = digits_of_second(kind, sizes)
        return Read(time(digits), Target("TIME", digits))
    if kind == "JSON":
        return Read(JSON, Target("JSON"))
    raise unsupported(f"JSON values as {kind}")


def described(
    name: str, path: str, target: Target, handled: tuple[Handling, Handling], takes: str = "value"
) -> dict[str, object]:
    """A column as `z4sql.sql.engine.json_columns` reads it from JSON; ``handled``: ON EMPTY and ON ERROR."""
    empty, error = ([handling.action, handling.default] for handling in handled)
    return {
        "name": name,
        "path": path,
        "target": asdict(target),
        "empty": empty,
        "error": error,
        "takes": takes,
    }


def value_default(constant: exp.Expression, read: Read) -> Handling:
    """DEFAULT of JSON_VALUE. :raises SqlError: it is no value of the type (1292)"""
    negative = isinstance(constant, exp.Neg)
    literal = constant.this if negative else constant
    if not isinstance(literal, exp.Literal):
        raise unsupported("JSON_VALUE with a DEFAULT that is no constant")
    text = ("-" if negative else "") + str(literal.this)
    found = converted(text if literal.is_string else json.loads(text), read.target)
    if found is None:
        kind = "INTEGER SIGNED" if read.type.kind is Kind.INT else read.shown
        raise SqlError(f"Truncated incorrect {kind} value: '{text}'", code=1292, state="22007")
    return Handling("DEFAULT", found)
