"""Which values system variables take. MySQL manual: Server System Variables; Server SQL Modes."""

from __future__ import annotations

from decimal import Decimal

from z4sql.sql.catalog.charsets import character_set, collation
from z4sql.sql.context import Consistency
from z4sql.sql.errors import SqlError
from z4sql.sql.front.scalar import Scalar, wrong_value
from z4sql.sql.front.time_zones import time_zone
from z4sql.sql.front.variables import Value, Variable

_YEAR_S = 31_536_000
_RANGES: dict[str, tuple[int, int]] = {
    "cte_max_recursion_depth": (0, 2**32 - 1),
    "group_concat_max_len": (4, 2**64 - 1),
    "interactive_timeout": (1, _YEAR_S),
    "lock_wait_timeout": (1, _YEAR_S),
    "long_query_time": (0, _YEAR_S),
    "max_execution_time": (0, 2**32 - 1),
    "max_statement_time": (0, _YEAR_S),
    "net_read_timeout": (1, _YEAR_S),
    "net_write_timeout": (1, _YEAR_S),
    "wait_timeout": (1, _YEAR_S),
}
"""Least and greatest value; what lies outside is brought in, as MySQL does."""
_ANY = (0, 2**64 - 1)
_TIMESTAMP_MAX = 2**31 - 1
_SWITCH = {"ON": 1, "OFF": 0, "TRUE": 1, "FALSE": 0, "1": 1, "0": 0}
_ISOLATIONS = ("READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE")
_REFUSED_MODES = frozenset({"ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT"})
"""They change what a text means; the parser knows one meaning only."""
_TRADITIONAL = (
    "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)
_MODES = frozenset(
    {
        "ALLOW_INVALID_DATES",
        "ERROR_FOR_DIVISION_BY_ZERO",
        "HIGH_NOT_PRECEDENCE",
        "IGNORE_SPACE",
        "NO_AUTO_CREATE_USER",
        "NO_AUTO_VALUE_ON_ZERO",
        "NO_DIR_IN_CREATE",
        "NO_ENGINE_SUBSTITUTION",
        "NO_UNSIGNED_SUBTRACTION",
        "NO_ZERO_DATE",
        "NO_ZERO_IN_DATE",
        "ONLY_FULL_GROUP_BY",
        "PAD_CHAR_TO_FULL_LENGTH",
        "REAL_AS_FLOAT",
        "STRICT_ALL_TABLES",
        "STRICT_TRANS_TABLES",
        "TIME_TRUNCATE_FRACTIONAL",
    }
)


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
    match name:
        case "sql_mode":
            return _sql_mode(value)
        case "time_zone":
            if value is None:
                raise wrong_value(name, value)
            time_zone(str(value))
            return "SYSTEM" if str(value).upper() == "SYSTEM" else str(value)
        case "timestamp":
            return _timestamp(value)
        case "transaction_isolation":
            return _one_of(name, value, _ISOLATIONS)
        case "z4_consistency":
            return _one_of(name, value, tuple(level.value for level in Consistency))
        case _:
            return _by_default(variable, value)


def _by_default(variable: Variable, value: Scalar) -> Value:
    least, greatest = _RANGES.get(variable.name, _ANY)
    match variable.default:
        case int():
            if not isinstance(value, int) and not (isinstance(value, Decimal) and value == int(value)):
                raise _wrong_type(variable.name)
            return max(least, min(greatest, int(value)))
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


def _one_of(name: str, value: Scalar, allowed: tuple[str, ...]) -> Value:
    for one in allowed:
        if str(value).casefold() == one.casefold():
            return one
    raise wrong_value(name, value)


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
    if value == 0:
        return ""
    if not isinstance(value, str):
        raise wrong_value("sql_mode", value)
    modes: list[str] = []
    for flag in value.upper().split(","):
        mode = flag.strip()
        if mode in _REFUSED_MODES or (mode and mode != "TRADITIONAL" and mode not in _MODES):
            raise wrong_value("sql_mode", mode)
        modes += _TRADITIONAL.split(",") if mode == "TRADITIONAL" else [mode]
    return ",".join(dict.fromkeys(mode for mode in modes if mode))
