"""CAST and CONVERT. MySQL manual: Cast Functions and Operators."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.catalog.charsets import character_set, collation
from z4sql.sql.errors import SqlError, SyntaxProblem
from z4sql.sql.lowering.conversion import as_bytes, as_text, clock_time, instant, integer, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.json_values import as_json, truth_of
from z4sql.sql.lowering.precision import unrounded
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import (
    BINARY,
    DATE,
    DOUBLE,
    INSTANTS,
    INT,
    TEXT,
    UINT,
    Typed,
    datetime,
    decimal,
    quoted,
    text,
    time,
)
from z4sql.sql.temporal import naive_text, parse_temporal
from z4sql.sql.types import Collation, Kind

_SIZE_MAX = 2**32 - 1
_FLOAT_BITS, _DOUBLE_BITS = 24, 53
_DIGITS_MAX, _SCALE_MAX = 65, 30
_ENGINE_DIGITS_MAX = 38
_DECIMAL_DIGITS = 10
"""Of a DECIMAL that names no number of them."""
_INTEGERS = frozenset({"BIGINT", "INT", "SMALLINT", "TINYINT"})
_UNSIGNED = frozenset({"UBIGINT", "UINT"})
_TEXTS = frozenset({"CHAR", "VARCHAR", "TEXT", "NCHAR", "NVARCHAR"})
_BINARIES = frozenset({"BINARY", "VARBINARY", "BLOB"})
_DATETIMES = frozenset({"DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME64", "TIMESTAMPNTZ", "TIMESTAMPLTZ"})


def sizes_of(target: exp.Expression) -> list[int]:
    """The numbers in parentheses. :raises SqlError: no numbers (1064), or larger than any length (1439)"""
    sizes = []
    for size in target.expressions or []:
        if not isinstance(size, exp.DataTypeParam):
            continue
        written = size.this
        if not isinstance(written, exp.Literal) or written.is_string or not written.name.isdecimal():
            raise SyntaxProblem("The size of a type is a number, as a constant")
        if len(written.name) > 10 or int(written.name) > _SIZE_MAX:
            raise SqlError(f"Display width out of range for a type (max = {_SIZE_MAX})", code=1439)
        sizes.append(int(written.name))
    return sizes


def digits_of_second(kind: str, sizes: list[int]) -> int:
    """Behind the seconds. :raises SqlError: more than 6 (1426)"""
    digits = sizes[0] if sizes else 0
    if digits > 6:
        message = f"Too-big precision {digits} specified for '{kind}'. Maximum is 6."
        raise SqlError(message, code=1426, state="42000")
    return digits


def _float_digits(bits: int) -> int:
    """:raises SqlError: more than a double has (1426)"""
    if bits > _DOUBLE_BITS:
        message = f"Too-big precision {bits} specified for 'CAST'. Maximum is {_DOUBLE_BITS}."
        raise SqlError(message, code=1426, state="42000")
    return bits


def cast_to(lowering: Lowering, value: Typed, target: exp.Expression, *, strict: bool = False) -> Typed:
    """``value`` as the type that ``target`` names; ``strict``: NULL for what does not convert."""
    kind = target.this.name if hasattr(target.this, "name") else str(target.this)
    sizes = sizes_of(target)
    if kind in _INTEGERS:
        return _to_signed(value)
    if kind in _UNSIGNED:
        return _to_unsigned(value)
    if kind == "DECIMAL":
        return _to_decimal(value, sizes, target, strict=strict)
    if kind == "DOUBLE" or (kind == "FLOAT" and sizes and _float_digits(sizes[0]) > _FLOAT_BITS):
        return Typed(f"({number(value).sql})::double", DOUBLE)
    if kind == "FLOAT":
        measured = number(value).double
        return Typed(f"my_float({measured})", DOUBLE, exact=f"(({measured})::float)::double")
    if kind == "YEAR":
        year = f"year({value.sql})" if value.kind in INSTANTS | {Kind.DATE} else integer(value)
        return Typed(f"my_cast_year({year})", INT)
    if kind in _TEXTS or kind == "CHARACTER_SET":
        converted = in_charset(value, target.args["kind"].name if kind == "CHARACTER_SET" else "utf8mb4")
        if not sizes or converted.kind is Kind.BINARY:
            return converted
        return Typed(f"my_char_of({converted.sql},{sizes[0]},'CHAR({sizes[0]})')", TEXT)
    if kind in _BINARIES:
        octets = as_bytes(value)
        return Typed(f"my_binary({octets},{sizes[0]})" if sizes else octets, BINARY)
    if kind == "DATE":
        return Typed(f"({instant(value, lowering.day_of(value), day=True).sql})::date", DATE)
    if kind in _DATETIMES:
        return _to_datetime(lowering, value, digits_of_second(kind, sizes))
    if kind == "TIME":
        return _to_time(value, digits_of_second(kind, sizes))
    if kind == "JSON":
        return as_json(value)
    raise unsupported(f"CAST AS {kind}")


_NOT_LATIN1 = r"[^\x00-\xFF€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_REPLACED = {"ascii": r"[^\x00-\x7F]", "latin1": _NOT_LATIN1, "utf8mb3": r"[\x{10000}-\x{10FFFF}]"}
"""What a character set has no code for, by its name."""


def in_charset(value: Typed, name: str) -> Typed:
    """``value`` as text of a character set; what that lacks becomes a question mark.

    :raises SqlError: there is no such character set (1115)
    """
    known = character_set(name.lower())
    if known is None:
        raise SqlError(f"Unknown character set: '{name}'", code=1115, state="42000")
    if known == "binary":
        return Typed(as_bytes(value), BINARY)
    if value.kind is Kind.BINARY and known == "latin1":
        return Typed(f"my_latin1({value.sql})", TEXT)
    converted = as_text(value)
    lacking = _REPLACED.get(known)
    sql = f"regexp_replace({converted.sql},{quoted(lacking)},'?','g')" if lacking else converted.sql
    return Typed(sql, TEXT)


def _to_signed(value: Typed) -> Typed:
    if value.kind is Kind.UINT:
        return Typed(f"my_reinterpreted({value.sql})", INT)
    if value.kind is Kind.JSON:
        return Typed(f"my_json_signed({value.sql})", INT)
    return Typed(integer(value), INT)


def _to_unsigned(value: Typed) -> Typed:
    if value.kind is Kind.DECIMAL:
        return Typed(f"my_unsigned_decimal({unrounded(value).sql})", UINT)
    if value.kind is Kind.UINT or (value.kind is Kind.BINARY and value.exact):
        return number(value)
    if value.kind is Kind.JSON:
        return Typed(f"my_wrap_unsigned(my_json_signed({value.sql})::hugeint)", UINT)
    if value.kind in (Kind.STRING, Kind.BINARY):
        return Typed(f"my_unsigned({as_text(value).sql})", UINT)
    return Typed(f"my_wrap_unsigned(({integer(value)})::hugeint)", UINT)


def _precision(sizes: list[int], target: exp.Expression) -> tuple[int, int]:
    """Digits, and those of them behind the point. :raises SqlError: more than there may be (1425 to 1427)"""
    precision, scale = [*sizes, 0, 0][:2]
    name = target.parent.this.sql("mysql") if target.parent is not None else ""
    precision = precision or max(_DECIMAL_DIGITS, scale)
    if scale > _SCALE_MAX:
        message, code = f"Too big scale {scale} specified for column '{name}'. Maximum is {_SCALE_MAX}.", 1425
    elif precision > _DIGITS_MAX:
        message = f"Too-big precision {precision} specified for '{name}'. Maximum is {_DIGITS_MAX}."
        code = 1426
    elif scale > precision:
        message = "For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '')."
        code = 1427
    else:
        return precision, scale
    raise SqlError(message, code=code, state="42000")


def _to_decimal(value: Typed, sizes: list[int], target: exp.Expression, *, strict: bool) -> Typed:
    precision, scale = _precision(sizes, target)
    # More digits than the engine has are refused where a value has them, not before.
    digits = min(precision, _ENGINE_DIGITS_MAX)
    type_ = f"decimal({digits},{scale})"
    most = ("9" * (digits - scale) or "0") + ("." + "9" * scale if scale else "")
    shown = quoted((target.parent or target).sql("mysql"))
    if value.kind not in (Kind.STRING, Kind.JSON, Kind.BINARY) or value.exact:
        converted = unrounded(number(value)).sql
        if digits < precision:
            return Typed(f"({converted})::{type_}", decimal(scale))
        return Typed(f"my_fitting({value.sql},{converted},{most},{shown})::{type_}", decimal(scale))
    text = value.sql if value.kind is Kind.STRING else f"my_json_decimal({value.sql})"
    text = as_text(value).sql if value.kind is Kind.BINARY else text
    if strict:
        return Typed(f"try_cast({text} as {type_})", decimal(scale))
    plain = f"my_leading_number({text})"
    told = f"my_out_of_range({shown},{text})"
    bound = f"case when {plain}>=1 then {most}+{told} when {plain}<=-1 then {told}-{most} else 0 end"
    if digits < precision:
        return Typed(f"(my_number_prefix({text})::{type_})", decimal(scale))
    parsed = f"try_cast(my_number_prefix({text}) as {type_})"
    return Typed(
        f"(case when {text} is not null then coalesce({parsed},({bound})::{type_}) end)", decimal(scale)
    )


def _to_datetime(lowering: Lowering, value: Typed, fsp: int) -> Typed:
    moment = instant(value, lowering.day_of(value))
    if fsp >= moment.type.scale:
        return Typed(moment.sql, datetime(fsp))
    unit = 10 ** (6 - fsp)
    return Typed(
        f"my_bounded(make_timestamp((epoch_us({moment.sql})+{unit // 2})//{unit}*{unit}))", datetime(fsp)
    )


def _to_time(value: Typed, fsp: int) -> Typed:
    clock = clock_time(value)
    if fsp >= clock.type.scale:
        return Typed(clock.sql, time(fsp))
    # A half is rounded away from midnight.
    unit = 10 ** (6 - fsp)
    return Typed(f"(({clock.sql}+sign({clock.sql})*{unit // 2})//{unit}*{unit})::bigint", time(fsp))


@lowers(exp.Cast, exp.TryCast, reads="this to")
def _cast(lowering: Lowering, node: exp.Expression) -> Typed:
    target = node.args["to"]
    if isinstance(node.this, exp.Literal) and target.is_type("timestamptz", "timestamp"):
        # TIMESTAMP '...' is a constant with the digits that it has; CAST knows DATETIME only.
        parsed = parse_temporal(str(node.this.this))
        local_us = parsed.local_us(lowering.context.time_zone)
        return Typed(f"timestamp {quoted(naive_text(local_us))}", datetime(parsed.fsp))
    truth = truth_of(node.this)
    if truth is not None and target.is_type("json"):
        return as_json(truth)
    return cast_to(lowering, lowering.expression(node.this), target)


@lowers(exp.Collate, reads="this expression")
def _collate(lowering: Lowering, node: exp.Expression) -> Typed:
    name = node.expression.name.lower()
    known, value = collation(name), lowering.expression(node.this)
    charset = "binary" if value.kind in (Kind.NULL, Kind.BINARY) else "utf8mb4"
    # Columns of system tables have texts of utf8mb3 in MySQL, and tools compare them as such.
    also = "utf8mb3" if isinstance(node.this, exp.Column) else "binary"
    if known is not None and known[1] not in (charset, "binary", also):
        message = f"COLLATION '{name}' is not valid for CHARACTER SET '{charset}'"
        raise SqlError(message, code=1253, state="42000")
    converted = as_text(value).sql
    if name.endswith("0900_bin") or name == "binary":
        return Typed(converted, text(Collation.BIN_0900))
    if name.endswith("_bin"):
        return Typed(converted, text(Collation.BIN))
    if name.endswith(("_ai_ci", "_general_ci", "_unicode_ci", "_520_ci")):
        return Typed(converted, text(Collation.AI_CI))
    raise SqlError(f"Unknown collation: '{name}'", code=1273)
