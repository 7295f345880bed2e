"""An expression on its way to the engine: its text there, and its MySQL type."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from z4sql.sql.types import Collation, Kind, SqlType

NUMBERS: Final = frozenset({Kind.BOOL, Kind.INT, Kind.UINT, Kind.DECIMAL, Kind.DOUBLE})
INSTANTS: Final = frozenset({Kind.DATETIME, Kind.TIMESTAMP})
SCALE_MAX: Final = 30
_PARENTHESES: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]""")
_QUOTED: Final = re.compile(r"\(*'((?:[^']|'')*)'\)*")


@dataclass(slots=True, frozen=True)
class Type:
    """``literal``: a text constant, whose collation yields (MySQL manual: Collation Coercibility).

    ``flat``: a JSON document whose members are all strings, as task metadata is. ``string``: a member of one,
    a JSON string or nothing. ``nullable`` is False only where that is certain.
    """

    kind: Kind
    scale: int = 0
    collation: Collation = Collation.AI_CI
    literal: bool = False
    flat: bool = False
    string: bool = False
    length: int = 0

    def to_sql_type(self) -> SqlType:
        kind = Kind.INT if self.kind is Kind.BOOL else self.kind
        return SqlType(kind, self.length, self.scale, self.collation)


class Typed(NamedTuple):
    """``sql`` is text for the engine, safe to stand inside parentheses or a list."""

    sql: str
    type: Type
    exact: str = ""
    """A decimal before it was rounded to the scale that is shown, for further arithmetic."""
    digits: int = 0
    """After the point of ``exact``."""
    stored: str = ""
    """The instant in UTC of a TIMESTAMP column, where its clock reading does not tell it."""
    whole: str = ""
    """A decimal as a whole number, where MySQL cuts it instead of rounding."""

    @property
    def double(self) -> str:
        return f"({self.exact or self.sql})::double"

    @property
    def kind(self) -> Kind:
        return self.type.kind


INT: Final = Type(Kind.INT)
UINT: Final = Type(Kind.UINT)
BOOL: Final = Type(Kind.BOOL)
DOUBLE: Final = Type(Kind.DOUBLE)
NULL: Final = Type(Kind.NULL)
DATE: Final = Type(Kind.DATE)
BINARY: Final = Type(Kind.BINARY, collation=Collation.BINARY)
JSON: Final = Type(Kind.JSON, collation=Collation.BIN)
TEXT: Final = Type(Kind.STRING)
TEXT_LITERAL: Final = Type(Kind.STRING, literal=True)
TEXT_BIN: Final = Type(Kind.STRING, collation=Collation.BIN)
TEXT_BIN_0900: Final = Type(Kind.STRING, collation=Collation.BIN_0900)


def decimal(scale: int) -> Type:
    return Type(Kind.DECIMAL, min(max(scale, 0), SCALE_MAX))


def datetime(fsp: int) -> Type:
    return Type(Kind.DATETIME, fsp)


def time(fsp: int) -> Type:
    return Type(Kind.TIME, fsp)


def text(collation: Collation) -> Type:
    return Type(Kind.STRING, collation=collation)


def of_column(declared: SqlType, *, flat: bool = False) -> Type:
    """The type of a column as declared; ``flat`` for a JSON column of string members."""
    return Type(declared.kind, declared.scale, declared.collation, flat=flat, length=declared.length)


def without_literal(type_: Type) -> Type:
    return replace(type_, literal=False) if type_.literal else type_


def quoted(value: str) -> str:
    """A text constant for the engine."""
    return "'" + value.replace("'", "''") + "'"


def constant_text(value: Typed) -> str | None:
    """The text of a text constant; None for everything that is worked out per row."""
    match = _QUOTED.fullmatch(value.sql) if value.kind is Kind.STRING else None
    return None if match is None else match[1].replace("''", "'")


def named(identifier: str) -> str:
    """A quoted identifier for the engine."""
    return '"' + identifier.replace('"', '""') + '"'


def balanced(sql: str) -> bool:
    """Whether every parenthesis of a text for the engine is closed inside it."""
    depth = 0
    for token in _PARENTHESES.finditer(sql):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth < 0:
            return False
    return depth == 0
