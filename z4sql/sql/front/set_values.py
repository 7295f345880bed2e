"""Which values system variables take. MySQL manual: Server System Variables; Server SQL Modes."""

from __future__ import annotations

from decimal import Decimal

from z4sql.sql.catalog.charsets import character_set, collation
from z4sql.sql.engine.warnings import Condition
from z4sql.sql.errors import SqlError
from z4sql.sql.front.scalar import Scalar, wrong_value
from z4sql.sql.front.time_zones import time_zone
from z4sql.sql.front.variables import RANGES, WORDS, Value, Variable

_ANY = (0, 2**64 - 1)
_TIMESTAMP_MAX = 2**31 - 1
_SWITCH = {"ON": 1, "OFF": 0, "TRUE": 1, "FALSE": 0, "1": 1, "0": 0}
_MODES = (
    *("REAL_AS_FLOAT", "PIPES_AS_CONCAT", "ANSI_QUOTES", "IGNORE_SPACE", "", "ONLY_FULL_GROUP_BY"),
    *("NO_UNSIGNED_SUBTRACTION", "NO_DIR_IN_CREATE", *("",) * 10, "ANSI", "NO_AUTO_VALUE_ON_ZERO"),
    *("NO_BACKSLASH_ESCAPES", "STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "NO_ZERO_IN_DATE", "NO_ZERO_DATE"),
    *("ALLOW_INVALID_DATES", "ERROR_FOR_DIVISION_BY_ZERO", "TRADITIONAL", "NO_AUTO_CREATE_USER"),
    *("HIGH_NOT_PRECEDENCE", "NO_ENGINE_SUBSTITUTION", "PAD_CHAR_TO_FULL_LENGTH", "TIME_TRUNCATE_FRACTIONAL"),
)
"""In the order of the bits that mean them."""
_REFUSED_MODES = frozenset(
    {
        *("ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT", "HIGH_NOT_PRECEDENCE"),
        *("ALLOW_INVALID_DATES", "NO_UNSIGNED_SUBTRACTION", "REAL_AS_FLOAT", "TIME_TRUNCATE_FRACTIONAL"),
    }
)
"""They change what a text or an expression means; here it has one meaning only."""
_TRADITIONAL = frozenset(
    {
        *("STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "NO_ZERO_IN_DATE", "NO_ZERO_DATE"),
        *("ERROR_FOR_DIVISION_BY_ZERO", "TRADITIONAL", "NO_ENGINE_SUBSTITUTION"),
    }
)
_FIXED = frozenset({"default_week_format", "div_precision_increment"})
"""Numbers that results would depend on; they are computed with the default."""


def checked(variable: Variable, value: Scalar) -> Value:
    """``value`` as the variable keeps it.

    :raises SqlError: wrong value (1231) or type (1232), unknown time zone (1298), character set (1115) or
        collation (1273).
    """
    name = variable.name
    if variable.boolean:
        return _switch(name, value)
    if name.startswith("character_set_"):
        return _character_set(name, value)
    if name.startswith(("collation_", "default_collation_")):
        return _collation(name, value)
    if name in WORDS:
        return _word(name, value)
    if name in _FIXED and value != variable.default:
        raise wrong_value(name, value)
    match name:
        case "sql_mode":
            return _sql_mode(value)
        case "time_zone":
            return _time_zone(value)
        case "timestamp":
            return _timestamp(value)
        case "lc_time_names" if not str(value).startswith("en_"):
            # Names of months and days are English.
            raise SqlError(f"Unknown locale: '{value}'", code=1649, state="HY000")
        case _:
            return _by_default(variable, value)


def brought_in(variable: Variable, asked: Scalar, kept: Value) -> list[Condition]:
    """The warning of a number that was out of its range."""
    if not isinstance(asked, (int, float, Decimal)) or not isinstance(kept, (int, float)):
        return []
    if asked == kept or variable.boolean:
        return []
    return [Condition(1292, f"Truncated incorrect {variable.name} value: '{asked}'")]


def _by_default(variable: Variable, value: Scalar) -> Value:
    least, greatest = RANGES.get(variable.name, _ANY)
    match variable.default:
        case int():
            if not isinstance(value, int):
                raise _wrong_type(variable.name)
            return max(least, min(greatest, value))
        case float():
            if not isinstance(value, (int, float, Decimal)):
                raise _wrong_type(variable.name)
            return float(max(least, min(greatest, value)))
        case _:
            return None if value is None else str(value)


def _timestamp(value: Scalar) -> Value:
    if not isinstance(value, (int, float, Decimal)):
        raise _wrong_type("timestamp")
    if not 0 <= value <= _TIMESTAMP_MAX:
        raise wrong_value("timestamp", value)
    return float(value)


def _wrong_type(name: str) -> SqlError:
    return SqlError(f"Incorrect argument type to variable '{name}'", code=1232, state="42000")


def _switch(name: str, value: Scalar) -> Value:
    wanted = _SWITCH.get(str(value).upper())
    if wanted is None:
        raise wrong_value(name, value)
    return wanted


def _word(name: str, value: Scalar) -> Value:
    words = WORDS[name]
    if isinstance(value, int):
        if 0 <= value < len(words):
            return words[value]
        raise wrong_value(name, value)
    for one in words:
        if str(value).casefold() == one.casefold():
            return one
    if name.endswith("storage_engine") and value is not None:
        raise SqlError(f"Unknown storage engine '{value}'", code=1286, state="42000")
    raise wrong_value(name, value)


def _time_zone(value: Scalar) -> Value:
    if value is None:
        raise wrong_value("time_zone", value)
    if not isinstance(value, str):
        raise _wrong_type("time_zone")
    time_zone(value)
    return "SYSTEM" if value.upper() == "SYSTEM" else value


def known_character_set(value: Scalar) -> str:
    """:raises SqlError: unknown (1115)."""
    known = character_set(str(value))
    if known is None:
        raise SqlError(f"Unknown character set: '{value}'", code=1115, state="42000")
    return known


def known_collation(value: Scalar) -> tuple[str, str]:
    """A collation and its character set. :raises SqlError: unknown (1273)."""
    known = collation(str(value))
    if known is None:
        raise SqlError(f"Unknown collation: '{value}'", code=1273, state="HY000")
    return known


def _character_set(name: str, value: Scalar) -> Value:
    if value is None and name == "character_set_results":
        return None
    if value is None:
        raise wrong_value(name, value)
    return known_character_set(value)


def _collation(name: str, value: Scalar) -> Value:
    if value is None:
        raise wrong_value(name, value)
    return known_collation(value)[0]


def _sql_mode(value: Scalar) -> Value:
    """MySQL manual: Server SQL Modes; shown in the order of their bits."""
    if isinstance(value, int):
        wanted = [mode or "?" for bit, mode in enumerate(_MODES) if value >> bit & 1]
        if value >> len(_MODES):
            raise wrong_value("sql_mode", value)
    elif isinstance(value, str):
        wanted = [written.strip() for written in value.split(",") if written.strip()]
    else:
        raise wrong_value("sql_mode", value)
    chosen: set[str] = set()
    for written in wanted:
        mode = written.upper()
        if mode in _REFUSED_MODES or mode not in _MODES:
            raise wrong_value("sql_mode", written)
        chosen |= _TRADITIONAL if mode == "TRADITIONAL" else {mode}
    return ",".join(mode for mode in _MODES if mode in chosen)
