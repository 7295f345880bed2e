"""DATE_FORMAT, STR_TO_DATE and their specifiers. MySQL manual: Date and Time Functions, DATE_FORMAT."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp

from z4sql.sql.errors import SyntaxProblem
from z4sql.sql.lowering.conversion import as_text, clock_time, instant
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import TEXT, Typed, datetime, quoted, time
from z4sql.sql.types import Kind

_PLAIN = {
    "Y": "%Y",
    "m": "%m",
    "d": "%d",
    "H": "%H",
    "i": "%M",
    "s": "%S",
    "S": "%S",
    "f": "%f",
    "j": "%j",
    "a": "%a",
    "b": "%b",
    "W": "%A",
    "M": "%B",
    "y": "%y",
    "p": "%p",
    "T": "%H:%M:%S",
    "e": "%-d",
    "c": "%-m",
    "k": "%-H",
    "l": "%-I",
    "h": "%I",
    "I": "%I",
    "r": "%I:%M:%S %p",
    "%": "%%",
}
"""MySQL's specifiers that the engine's strftime has too."""

_COMPUTED = {
    "D": "(day({0})::varchar||case when day({0}) in (11,12,13) then 'th' when day({0})%10=1 then 'st'"
    " when day({0})%10=2 then 'nd' when day({0})%10=3 then 'rd' else 'th' end)",
    "U": "lpad(my_week_sunday({0})::varchar,2,'0')",
    "u": "lpad((case when isoyear({0})<year({0}) then 0 when isoyear({0})>year({0}) then 53"
    " else weekofyear({0}) end)::varchar,2,'0')",
    "v": "strftime({0},'%V')",
    "x": "strftime({0},'%G')",
    "w": "dayofweek({0})::varchar",
    "V": "lpad((my_year_week({0})%100)::varchar,2,'0')",
    "X": "(my_year_week({0})//100)::varchar",
}


def mysql_format(parsed: str) -> str:
    """The format as the client wrote it: the parser turns it into strftime's."""
    text = exp.TimeToStr(this=exp.column("x"), format=exp.Literal.string(parsed)).sql("mysql")
    match = re.search(r"'((?:[^']|'')*)'\)$", text)
    if match is None:
        raise unsupported("date format")
    return match.group(1).replace("''", "'")


def formatted(moment: str, pattern: str) -> str:
    """``moment`` (a timestamp) printed by a MySQL pattern."""
    parts: list[str] = []
    plain = ""
    at = 0
    while at < len(pattern):
        if pattern[at] != "%" or at + 1 == len(pattern):
            plain += "%%" if pattern[at] == "%" else pattern[at]
            at += 1
            continue
        letter = pattern[at + 1]
        at += 2
        computed = _COMPUTED.get(letter)
        if computed is None:
            plain += _PLAIN.get(letter, letter)
            continue
        if plain:
            parts.append(f"strftime({moment},{quoted(plain)})")
            plain = ""
        parts.append(computed.format(moment))
    if plain:
        parts.append(f"strftime({moment},{quoted(plain)})")
    return "(" + ("||".join(parts) or "''") + ")"


@lowers(exp.TimeToStr, reads="this format")
def _date_format(lowering: Lowering, node: exp.Expression) -> Typed:
    value = node.this
    while isinstance(value, exp.TsOrDsToTimestamp):
        value = value.this
    if not isinstance(node.args["format"], exp.Literal):
        raise unsupported("DATE_FORMAT with a format that is no constant")
    lowered = lowering.expression(value)
    pattern = mysql_format(str(node.args["format"].this))
    return Typed(formatted(instant(lowered, lowering.day_of(lowered)).sql, pattern), TEXT)


@function("TIME_FORMAT", least=2)
def _time_format(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value, pattern = (lowering.expression(argument) for argument in arguments)
    clock = clock_time(value).sql
    if value.kind is Kind.STRING:
        clock = f"my_time_of_day({value.sql})"
    return Typed(f"my_time_format({clock},{as_text(pattern).sql})", TEXT)


_DATE_FORMATS = {
    "EUR": "%d.%m.%Y",
    "USA": "%m.%d.%Y",
    "JIS": "%Y-%m-%d",
    "ISO": "%Y-%m-%d",
    "INTERNAL": "%Y%m%d",
}
_TIME_FORMATS = {
    "EUR": "%H.%i.%s",
    "USA": "%h:%i:%s %p",
    "JIS": "%H:%i:%s",
    "ISO": "%H:%i:%s",
    "INTERNAL": "%H%i%s",
}
_DATETIME_FORMATS = {
    "EUR": "%Y-%m-%d %H.%i.%s",
    "USA": "%Y-%m-%d %H.%i.%s",
    "JIS": "%Y-%m-%d %H:%i:%s",
    "ISO": "%Y-%m-%d %H:%i:%s",
    "INTERNAL": "%Y%m%d%H%i%s",
}
_FORMATS = {
    "DATE": _DATE_FORMATS,
    "TIME": _TIME_FORMATS,
    "DATETIME": _DATETIME_FORMATS,
    "TIMESTAMP": _DATETIME_FORMATS,
}
"""MySQL manual: GET_FORMAT()."""


@function("GET_FORMAT", least=2)
def _get_format(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    formats = _FORMATS.get(arguments[0].name.upper())
    if formats is None:
        raise SyntaxProblem("GET_FORMAT takes DATE, TIME, DATETIME or TIMESTAMP")
    wanted = f"upper({as_text(lowering.expression(arguments[1])).sql})"
    cases = " ".join(f"when {quoted(name)} then {quoted(pattern)}" for name, pattern in formats.items())
    return Typed(f"(case {wanted} {cases} end)", TEXT)


@lowers(exp.StrToTime, exp.StrToDate, reads="this format safe")
def _str_to_date(lowering: Lowering, node: exp.Expression) -> Typed:
    if not isinstance(node.args["format"], exp.Literal):
        raise unsupported("STR_TO_DATE with a format that is no constant")
    pattern = mysql_format(str(node.args["format"].this))
    if not re.search(r"%[aBbcDdejMmUuVvWwXxYy]", pattern) and re.search("%[HhIiklsSTrpf]", pattern):
        parsed = f"my_str_to_time({as_text(lowering.expression(node.this)).sql},{quoted(pattern)})"
        return Typed(parsed, time(6 if "%f" in pattern else 0))
    sql = f"my_str_to_date({as_text(lowering.expression(node.this)).sql},{quoted(pattern)})"
    if isinstance(node, exp.StrToDate) or not re.search("%[HhIiklsSTrpf]", pattern):
        from z4sql.sql.lowering.typed import DATE

        return Typed(f"({sql})::date", DATE)
    return Typed(sql, datetime(6 if "%f" in pattern else 0))
