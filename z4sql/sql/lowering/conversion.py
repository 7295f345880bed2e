"""MySQL's implicit conversions. MySQL manual: Type Conversion in Expression Evaluation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite

from z4sql.sql.engine.temporal_text import read_datetime
from z4sql.sql.errors import Unsupported
from z4sql.sql.lowering.typed import (
    BINARY,
    DATE,
    DOUBLE,
    INSTANTS,
    INT,
    NULL,
    NUMBERS,
    TEXT,
    TEXT_BIN,
    UINT,
    Type,
    Typed,
    constant_text,
    datetime,
    decimal,
    text,
    time,
)
from z4sql.sql.types import Collation, Kind

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_WHOLE = re.compile(r"\s*([+-]?\d+)", re.ASCII)
_WHOLE_DIGITS = 18
_WRITTEN_DOUBLE = re.compile(r"\(*[\d.eE+-]+::double\)*")


def number(value: Typed) -> Typed:
    """As a number: text counts by its numeric prefix, instants as YYYYMMDDHHMMSS."""
    sql, type_ = value.sql, value.type
    match type_.kind:
        case Kind.INT | Kind.UINT | Kind.DECIMAL | Kind.DOUBLE:
            return value
        case Kind.BOOL:
            return Typed(f"({sql})::bigint", INT)
        case Kind.NULL:
            return Typed("null::bigint", INT)
        case Kind.STRING:
            return Typed(_number_of_text(value), DOUBLE)
        case Kind.BINARY if value.exact:
            return Typed(value.exact, UINT)
        case Kind.BINARY:
            return Typed(f"my_num(my_text({sql}))", DOUBLE)
        case Kind.JSON:
            return Typed(f"my_json_num({sql})", DOUBLE)
        case Kind.DATETIME | Kind.TIMESTAMP if type_.scale:
            digits = f"strftime({sql},'%Y%m%d%H%M%S.%f')::decimal(20,6)"
            return Typed(f"({digits})::decimal(20,{type_.scale})", decimal(type_.scale))
        case Kind.DATETIME | Kind.TIMESTAMP:
            return Typed(f"strftime({sql},'%Y%m%d%H%M%S')::bigint", INT)
        case Kind.DATE:
            return Typed(f"strftime({sql},'%Y%m%d')::bigint", INT)
        case Kind.TIME:
            whole = f"(({sql})//3600000000*10000+({sql})//60000000%60*100+({sql})//1000000%60)"
            if not type_.scale:
                return Typed(whole, INT)
            fraction = f"(({sql})%1000000)::decimal(6,0)*0.000001"
            return Typed(f"({whole}+{fraction})::decimal(20,{type_.scale})", decimal(type_.scale))


def _number_of_text(value: Typed) -> str:
    constant = constant_text(value)
    if constant is None:
        return f"my_num({value.sql})"
    if not constant.strip(" ") or (_NUMBER.fullmatch(constant) and isfinite(float(constant))):
        return f"my_leading_number({value.sql})"
    return f"(my_leading_number({value.sql})+my_bad_constant('DOUBLE',{value.sql}))"


def number_of_seconds(value: Typed) -> Typed:
    """As a number of seconds: of a text a decimal, which '' is none of."""
    if value.kind is not Kind.STRING:
        return number(value)
    constant = constant_text(value)
    if constant is None:
        return Typed(f"my_decimal_num({value.sql})", DOUBLE)
    told = "" if _NUMBER.fullmatch(constant) else f"+my_bad_constant('DECIMAL',{value.sql})"
    return Typed(f"(my_leading_number({value.sql}){told})", DOUBLE)


def integer(value: Typed) -> str:
    """As a whole number with a sign, rounded."""
    if value.whole:
        return value.whole
    if value.kind is Kind.BINARY and value.exact:
        return f"my_reinterpreted({value.exact})"
    if value.kind in (Kind.STRING, Kind.BINARY):
        return _whole_of_text(as_text(value))
    converted = number(_without_fraction(value))
    if converted.kind is Kind.DECIMAL:
        return f"my_whole_decimal({converted.exact or converted.sql})"
    if converted.kind is Kind.DOUBLE:
        # Of constants MySQL takes the nearest number that there is; what is worked out it refuses.
        name = "my_clamped_signed" if _WRITTEN_DOUBLE.fullmatch(converted.sql) else "my_whole_double"
        return f"{name}(round_even({converted.sql},0))"
    return f"my_clamped_signed({converted.sql})" if converted.kind is Kind.UINT else converted.sql


def _without_fraction(value: Typed) -> Typed:
    """Of instants and times the nearest whole second: their digits alone do not round up to a minute."""
    if not value.type.scale:
        return value
    if value.kind in INSTANTS:
        return Typed(f"my_whole_seconds({value.sql})", datetime(0))
    if value.kind is Kind.TIME:
        return Typed(f"my_whole_time({value.sql})", time(0))
    return value


def _whole_of_text(value: Typed) -> str:
    constant = constant_text(value)
    match = None if constant is None else _WHOLE.match(constant)
    if constant is None or (match is not None and len(match[1]) > _WHOLE_DIGITS):
        return f"my_signed({value.sql})"
    if match is not None and not constant[match.end() :].strip():
        return f"{int(match[1])}::bigint"
    whole = 0 if match is None else int(match[1])
    return f"({whole}::bigint+my_bad_constant('INTEGER',{value.sql}))"


def bits_of(value: Typed) -> str:
    """As 64 bits. MySQL manual: Bit Functions and Operators."""
    if value.kind is Kind.UINT:
        return value.sql
    if value.kind is Kind.BINARY and value.exact:
        return value.exact
    if value.kind is Kind.STRING:
        return f"my_bits({value.sql})"
    if value.kind is Kind.DECIMAL and not value.whole:
        return f"my_decimal_bits({value.exact or value.sql})"
    return f"my_wrap_unsigned(({integer(value)})::hugeint)"


def as_text(value: Typed) -> Typed:
    """As text, printed as MySQL prints it."""
    sql, type_ = value.sql, value.type
    match type_.kind:
        case Kind.STRING:
            return value
        case Kind.BINARY:
            return Typed(f"my_text({sql})", TEXT)
        case Kind.JSON:
            return Typed(f"({sql})::varchar", TEXT_BIN)
        case Kind.BOOL:
            return Typed(f"({sql})::bigint::varchar", TEXT)
        case Kind.DATETIME | Kind.TIMESTAMP:
            if not type_.scale:
                return Typed(f"strftime({sql},'%Y-%m-%d %H:%M:%S')", TEXT)
            printed = f"strftime({sql},'%Y-%m-%d %H:%M:%S.%f')"
            return Typed(printed if type_.scale == 6 else f"left({printed},{20 + type_.scale})", TEXT)
        case Kind.DOUBLE:
            return Typed(f"my_double_text({sql})", TEXT)
        case Kind.TIME:
            return Typed(f"my_time_text({sql},{type_.scale})", TEXT)
        case Kind.NULL:
            return Typed("null::varchar", TEXT)
        case Kind.INT | Kind.UINT | Kind.DECIMAL | Kind.DATE:
            return Typed(f"({sql})::varchar", TEXT)


def as_bytes(value: Typed) -> str:
    """As bytes: text by its UTF-8."""
    return value.sql if value.kind is Kind.BINARY else f"encode({as_text(value).sql})"


def instant(value: Typed, today: str = "", *, day: bool = False) -> Typed:
    """As a datetime; NULL where a text is none. ``today``: the date that a TIME belongs to.

    ``day``: only the date is wanted, and missed in the warning.
    """
    sql, type_ = value.sql, value.type
    match type_.kind:
        case Kind.DATETIME | Kind.TIMESTAMP:
            return Typed(sql, datetime(type_.scale))
        case Kind.DATE:
            return Typed(f"({sql})::timestamp", datetime(0))
        case Kind.STRING:
            return Typed(_instant_of_text(value, "day" if day else "datetime"), datetime(_text_fsp(value)))
        case Kind.NULL:
            return Typed("null::timestamp", datetime(0))
        case Kind.INT | Kind.UINT:
            return Typed(f"my_datetime_of_number(({sql})::varchar)", datetime(0))
        case Kind.DECIMAL:
            return Typed(f"my_datetime_of_number(({sql})::varchar)", datetime(min(type_.scale, 6)))
        case Kind.DOUBLE:
            return Typed(f"my_datetime_of_number(my_double_text({sql}))", datetime(6))
        case Kind.JSON:
            return Typed(f"my_json_datetime({sql})", datetime(6))
        case Kind.BINARY:
            return Typed(f"my_datetime(my_text({sql}))", datetime(6))
        case Kind.BOOL:
            return Typed(f"my_datetime_of_number(({sql})::bigint::varchar)", datetime(0))
        case Kind.TIME if today:
            return Typed(f"(timestamp '{today}'+to_microseconds({sql}))", datetime(type_.scale))
        case Kind.TIME:
            raise Unsupported("This version of MySQL doesn't yet support 'TIME as DATETIME'")


def _instant_of_text(value: Typed, wanted: str) -> str:
    constant = constant_text(value)
    moment, ignored = (None, "") if constant is None else read_datetime(constant)
    if constant is None:
        return f"my_{wanted}({value.sql})"
    if moment is None or ignored:
        return f"my_constant_{wanted}({value.sql})"
    return f"timestamp '{moment.isoformat(' ')}'"


def clock_time(value: Typed) -> Typed:
    """As a TIME: of a datetime its time of day; NULL where a text is none."""
    sql, type_ = value.sql, value.type
    match type_.kind:
        case Kind.TIME:
            return value
        case Kind.DATE:
            return Typed(f"(case when ({sql}) is not null then 0 end)::bigint", time(0))
        case Kind.DATETIME | Kind.TIMESTAMP:
            return Typed(f"(epoch_us({sql})%86400000000)", time(type_.scale))
        case Kind.INT | Kind.UINT:
            return Typed(f"my_time_of_number(({sql})::varchar)", time(0))
        case Kind.DECIMAL:
            return Typed(f"my_time_of_number(({sql})::varchar)", time(min(type_.scale, 6)))
        case Kind.DOUBLE:
            return Typed(f"my_time_of_number(my_double_text({sql}))", time(6))
        case Kind.BOOL:
            return Typed(f"my_time_of_number(({sql})::bigint::varchar)", time(0))
        case _:
            text_value = Typed(f"my_json_text({sql})", TEXT) if type_.kind is Kind.JSON else as_text(value)
            function = "my_time" if constant_text(text_value) is None else "my_constant_time"
            return Typed(f"{function}({text_value.sql})", time(_text_fsp(value)))


def _text_fsp(value: Typed) -> int:
    """Digits of a second: of a constant those that it has, of other texts all."""
    constant = constant_text(value)
    if constant is None:
        return 6
    match = re.search(r"\d\.(\d*)", constant)
    return 0 if match is None else min(len(match[1]), 6)


def truth(value: Typed) -> str:
    """As a condition: true for what is neither zero nor NULL."""
    if value.kind is Kind.BOOL:
        return value.sql
    if value.kind is Kind.NULL:
        return "null::boolean"
    if value.kind in INSTANTS or value.kind is Kind.DATE:
        return f"(case when ({value.sql}) is not null then true end)"
    return f"(({number(value).sql})<>0)"


def common_collation(*types: Type) -> Collation:
    """Which collation decides. MySQL manual: Collation Coercibility in Expressions."""
    strong = [type_ for type_ in types if type_.kind is Kind.STRING and not type_.literal]
    collations = {type_.collation for type_ in strong}
    for collation in (Collation.BIN_0900, Collation.BIN):
        if collation in collations:
            return collation
    return Collation.AI_CI


def alike(values: Sequence[Typed]) -> list[Typed]:
    """``values``, of which several are compared: texts all in the one collation that decides for them."""
    collation = common_collation(*(value.type for value in values))
    if collation is Collation.AI_CI or any(value.kind is not Kind.STRING for value in values):
        return list(values)
    return [value._replace(type=text(collation)) for value in values]


def unify(types: Sequence[Type]) -> Type:
    """The type of CASE, COALESCE, UNION and the like over values of these types."""
    known = [type_ for type_ in types if type_.kind is not Kind.NULL]
    if not known:
        return NULL
    kinds = {type_.kind for type_ in known}
    if kinds == {Kind.BOOL}:
        return INT
    if len(kinds) == 1:
        return _unify_same(known)
    if kinds <= NUMBERS:
        if Kind.DOUBLE in kinds:
            return DOUBLE
        if Kind.DECIMAL in kinds:
            return decimal(max(type_.scale for type_ in known))
        return INT
    if kinds <= INSTANTS | {Kind.DATE}:
        return datetime(max(type_.scale for type_ in known))
    if Kind.BINARY in kinds:
        return BINARY
    return text(common_collation(*known))


def _unify_same(types: Sequence[Type]) -> Type:
    first = types[0]
    if first.kind is Kind.STRING:
        return first if all(type_.literal for type_ in types) else text(common_collation(*types))
    if first.kind in (Kind.DECIMAL, Kind.TIME, Kind.DATETIME, Kind.TIMESTAMP):
        return Type(first.kind, max(type_.scale for type_ in types))
    if first.kind is Kind.JSON:
        return Type(Kind.JSON, collation=Collation.BIN, string=all(type_.string for type_ in types))
    return first


def convert(value: Typed, target: Type) -> str:
    """``value`` as ``target``, which `unify` found for it."""
    if value.kind is Kind.NULL:
        return f"null::{engine_type(target)}"
    match target.kind:
        case Kind.STRING:
            return as_text(value).sql
        case Kind.INT:
            return f"({number(value).sql})::bigint" if value.kind is Kind.BOOL else value.sql
        case Kind.DOUBLE:
            return f"({number(value).sql})::double"
        case Kind.DECIMAL:
            return f"({number(value).sql})::decimal(38,{target.scale})"
        case Kind.DATETIME | Kind.TIMESTAMP:
            return instant(value).sql
        case Kind.BINARY:
            return as_bytes(value)
        case _:
            return value.sql


def engine_type(type_: Type) -> str:
    """The engine's name for a type."""
    match type_.kind:
        case Kind.NULL | Kind.STRING:
            return "varchar"
        case Kind.BOOL | Kind.INT | Kind.TIME:
            return "bigint"
        case Kind.UINT:
            return "ubigint"
        case Kind.DECIMAL:
            return f"decimal(38,{type_.scale})"
        case Kind.DOUBLE:
            return "double"
        case Kind.BINARY:
            return "blob"
        case Kind.JSON:
            return "json"
        case Kind.DATE:
            return "date"
        case Kind.DATETIME | Kind.TIMESTAMP:
            return "timestamp"


__all__ = [
    "DATE",
    "as_bytes",
    "as_text",
    "bits_of",
    "clock_time",
    "convert",
    "engine_type",
    "instant",
    "integer",
    "number",
    "truth",
    "unify",
]
