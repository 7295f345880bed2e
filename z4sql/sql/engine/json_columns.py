"""JSON values as SQL values of a type: what JSON_VALUE and the columns of JSON_TABLE give.

MySQL manual: JSON_VALUE(); JSON_TABLE(). A value comes out as a text that the engine casts to the type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from z4sql.sql.engine.json_order import JsonValue
from z4sql.sql.engine.json_path_text import Leg, read_paths
from z4sql.sql.engine.json_paths import places
from z4sql.sql.engine.json_reading import BadJson, argument_of, bad_argument, read_json
from z4sql.sql.engine.json_values import canonical
from z4sql.sql.engine.refusals import Refused
from z4sql.sql.engine.temporal_text import read_datetime, read_time
from z4sql.sql.engine.warnings import warn

_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER: Final = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*", re.ASCII)
_WIDE: Final = Context(prec=400)


@dataclass(slots=True, frozen=True)
class Target:
    """A type: ``kind`` in upper case as MySQL writes it, ``least`` and ``most`` of whole numbers.

    ``size``: characters, digits, or digits of a second; 0 = no limit. ``scale``: digits after the point.
    """

    kind: str
    size: int = 0
    scale: int = 0
    least: int = 0
    most: int = 0


@dataclass(slots=True, frozen=True)
class Handling:
    """What stands where there is no value: ``action`` is NULL, ERROR or DEFAULT, which has a value."""

    action: str = "NULL"
    default: str | None = None


@dataclass(slots=True, frozen=True)
class Column:
    """``path``: its legs. ``takes``: value, exists (1 or 0) or ordinality."""

    name: str
    path: tuple[Leg, ...]
    target: Target
    empty: Handling
    error: Handling
    takes: str = "value"


@dataclass(slots=True, frozen=True)
class Level:
    """A COLUMNS clause: the rows of a path, with columns and further levels as they stand."""

    path: tuple[Leg, ...]
    items: tuple[Column | Level, ...]


def converted(value: JsonValue, target: Target) -> str | None:
    """``value`` as the text of a value of that type; None where it is no such value."""
    match target.kind:
        case "JSON":
            return canonical(value)
        case "CHAR" | "BINARY":
            text = value if isinstance(value, str) else canonical(value)
            return None if target.size and len(text) > target.size else text
        case "INTEGER":
            return _whole(value, target)
        case "DOUBLE":
            number = _number(value)
            return None if number is None else repr(float(number))
        case "DECIMAL":
            return _decimal(value, target)
        case "DATE" | "DATETIME":
            return _moment(value) if isinstance(value, str) else None
        case "TIME":
            clock = read_time(value)[0] if isinstance(value, str) else None
            return None if clock is None else str(clock)
        case _:
            raise ValueError(f"a type of another kind: {target.kind}")


def _whole(value: JsonValue, target: Target) -> str | None:
    match value:
        case bool() | int():
            whole = int(value)
        case float() | Decimal():
            whole = round(value)
        case str() if _WHOLE.fullmatch(value):
            whole = int(value)
        case _:
            return None
    return str(whole) if target.least <= whole <= target.most else None


def _number(value: JsonValue) -> float | Decimal | None:
    match value:
        case bool() | int() | float() | Decimal():
            return Decimal(value) if isinstance(value, int) else value
        case str() if match := _NUMBER.fullmatch(value):
            return Decimal(match[1])
    return None


def _decimal(value: JsonValue, target: Target) -> str | None:
    number = _number(value)
    if number is None:
        return None
    exact = Decimal(repr(number)) if isinstance(number, float) else number
    try:
        rounded = exact.quantize(Decimal(1).scaleb(-target.scale), ROUND_HALF_UP, _WIDE)
    except InvalidOperation:
        return None
    return f"{rounded:f}" if abs(rounded) < Decimal(10) ** (target.size - target.scale) else None


def _moment(text: str) -> str | None:
    moment = read_datetime(text)[0]
    return None if moment is None else moment.isoformat(" ")


def json_value(document: str, column: str) -> str | None:
    """JSON_VALUE; ``column`` as `read_column` reads it. :raises Refused:"""
    asked = read_column(column)
    try:
        value = read_json(document)
    except BadJson as error:
        if asked.error.action == "ERROR":
            argument_of(document, 1, "json_value")
        warn(3141, bad_argument(document, error, 1, "json_value"))
        return asked.error.default
    found = [one for _, one in places(value, asked.path)]
    if not found:
        return _handled(asked.empty, 3966, "No value was found by 'json_value' on the specified path.")
    if len(found) > 1:
        told = "More than one value was found by 'json_value' on the specified path."
        return _handled(asked.error, 3967, told)
    if found[0] is None:
        return None
    text = converted(found[0], asked.target)
    if text is None:
        told = f"{asked.name} value is out of range in 'json_value'"
        return _handled(asked.error, 1690, told, "22003")
    return text


def _handled(handling: Handling, code: int, message: str, state: str = "22035") -> str | None:
    if handling.action == "ERROR":
        raise Refused(code, message, state)
    return handling.default


@lru_cache(maxsize=64)
def read_column(text: str) -> Column:
    """A column from the text that lowering made of it."""
    return _column(json.loads(text))


@lru_cache(maxsize=64)
def _level(text: str) -> Level:
    return _read_level(json.loads(text))


def _read_level(fields: dict[str, Any]) -> Level:
    items = (_read_level(item) if "items" in item else _column(item) for item in fields["items"])
    return Level(_path(fields["path"]), tuple(items))


def _path(text: str) -> tuple[Leg, ...]:
    return read_paths(json.dumps([text]))[0]


def _column(fields: dict[str, Any]) -> Column:
    return Column(
        fields["name"],
        _path(fields["path"]),
        Target(**fields["target"]),
        Handling(*fields["empty"]),
        Handling(*fields["error"]),
        fields["takes"],
    )


def json_rows(document: str, level: str) -> list[list[str | None]]:
    """The rows of JSON_TABLE. :raises Refused:"""
    return list(_rows(argument_of(document, 1, "json_table"), _level(level)))


def _rows(value: JsonValue, level: Level) -> Iterator[list[str | None]]:
    for at, (_, row) in enumerate(places(value, level.path), 1):
        own: list[list[str | None]] = [
            [None] * _width(item) if isinstance(item, Level) else [_cell(row, at, item)]
            for item in level.items
        ]
        nested = False
        for position, item in enumerate(level.items):
            if isinstance(item, Level):
                for cells in _rows(row, item):
                    nested = True
                    yield list(chain(*own[:position], cells, *own[position + 1 :]))
        if not nested:
            yield list(chain(*own))


def _width(level: Level) -> int:
    return sum(_width(item) if isinstance(item, Level) else 1 for item in level.items)


def _cell(row: JsonValue, at: int, column: Column) -> str | None:
    if column.takes == "ordinality":
        return str(at)
    found = [one for _, one in places(row, column.path)]
    if column.takes == "exists":
        return converted(int(bool(found)), column.target)
    if not found:
        return _handled(column.empty, 3665, f"Missing value for JSON_TABLE column '{column.name}'", "22035")
    value = found if len(found) > 1 else found[0]
    if value is None:
        return None
    if isinstance(value, (dict, list)) and column.target.kind != "JSON":
        told = f"Can't store an array or an object in the scalar JSON_TABLE column '{column.name}'"
        return _handled(column.error, 3666, told, "2203F")
    text = converted(value, column.target)
    if text is None:
        return _handled(column.error, *_unfit(value, column))
    return text


def _unfit(value: JsonValue, column: Column) -> tuple[int, str, str]:
    if column.target.kind in ("INTEGER", "DOUBLE", "DECIMAL") and _number(value) is None:
        told = f"Invalid JSON value for CAST to {column.target.kind} from column {column.name} at row 1"
        return 3156, told, "22018"
    return 3669, f"Value is out of range for JSON_TABLE's column '{column.name}'", "22003"
