"""CAST and CONVERT. MySQL manual: Cast Functions and Operators."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.errors import SqlError, SyntaxProblem
from z4sql.sql.lowering.conversion import as_bytes, as_text, clock_time, instant, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.precision import unrounded
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import (
    BINARY,
    DATE,
    DOUBLE,
    INSTANTS,
    INT,
    JSON,
    NUMBERS,
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
_INTEGERS = frozenset({"BIGINT", "INT", "SMALLINT", "TINYINT"})
_UNSIGNED = frozenset({"UBIGINT", "UINT"})
_TEXTS = frozenset({"CHAR", "VARCHAR", "TEXT", "NCHAR", "NVARCHAR"})
_BINARIES = frozenset({"BINARY", "VARBINARY", "BLOB"})
_DATETIMES = frozenset({"DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME64", "TIMESTAMPNTZ", "TIMESTAMPLTZ"})


def _sizes(target: exp.Expression) -> list[int]:
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


def _digits(kind: str, sizes: list[int]) -> int:
    """Behind the seconds. :raises SqlError: more than 6 (1426)"""
    digits = sizes[0] if sizes else 0
    if digits > 6:
        message = f"Too-big precision {digits} specified for '{kind}'. Maximum is 6."
        raise SqlError(message, code=1426, state="42000")
    return digits


def cast_to(lowering: Lowering, value: Typed, target: exp.Expression, *, strict: bool = False) -> Typed:
    """``value`` as the type that ``target`` names; ``strict``: NULL for what does not convert."""
    kind = target.this.name if hasattr(target.this, "name") else str(target.this)
    sizes = _sizes(target)
    if kind in _INTEGERS:
        return _to_signed(value)
    if kind in _UNSIGNED:
        return _to_unsigned(value)
    if kind == "DECIMAL":
        return _to_decimal(value, sizes, target, strict=strict)
    if kind in ("DOUBLE", "FLOAT"):
        return Typed(f"({number(value).sql})::double", DOUBLE)
    if kind in _TEXTS:
        converted = as_text(value).sql
        return Typed(f"my_char_of({converted},{sizes[0]},'CHAR({sizes[0]})')" if sizes else converted, TEXT)
    if kind == "CHARACTER_SET":
        return Typed(as_text(value).sql, TEXT)
    if kind in _BINARIES:
        return Typed(as_bytes(value), BINARY)
    if kind == "DATE":
        return Typed(f"({instant(value, lowering.day_of(value)).sql})::date", DATE)
    if kind in _DATETIMES:
        return _to_datetime(lowering, value, _digits(kind, sizes))
    if kind == "TIME":
        return _to_time(value, _digits(kind, sizes))
    if kind == "JSON":
        return Typed(f"({as_text(value).sql})::json", JSON)
    raise unsupported(f"CAST AS {kind}")


def _to_signed(value: Typed) -> Typed:
    if value.kind in (Kind.DECIMAL, Kind.DOUBLE):
        rounded = "round_even" if value.kind is Kind.DOUBLE else "round"
        return Typed(f"my_clamped_signed({rounded}({unrounded(value).sql},0))", INT)
    if value.kind is Kind.UINT:
        return Typed(f"my_reinterpreted({value.sql})", INT)
    if value.kind in NUMBERS:
        return Typed(f"({number(value).sql})::bigint", INT)
    if value.kind in INSTANTS or value.kind in (Kind.DATE, Kind.TIME):
        return Typed(f"trunc({number(value).sql})::bigint", INT)
    if value.kind is Kind.BINARY and value.exact:
        return Typed(f"my_reinterpreted({value.exact})", INT)
    if value.kind is Kind.JSON:
        return Typed(f"my_json_signed(({value.sql})->>'$')", INT)
    return Typed(f"my_signed({as_text(value).sql})", INT)


def _to_unsigned(value: Typed) -> Typed:
    if value.kind is Kind.DECIMAL:
        # MySQL manual: Cast Functions: a negative DECIMAL counts as zero.
        return Typed(f"my_clamped_unsigned(round({unrounded(value).sql},0))", UINT)
    if value.kind is Kind.BINARY and value.exact:
        return number(value)
    if value.kind in NUMBERS or value.kind in INSTANTS or value.kind in (Kind.DATE, Kind.TIME):
        rounded = "round" if value.kind is Kind.TIME else "trunc" if value.kind in INSTANTS else "round_even"
        return Typed(f"my_wrap_unsigned({rounded}({number(value).sql},0)::hugeint)", UINT)
    return Typed(f"my_unsigned({as_text(value).sql})", UINT)


def _to_decimal(value: Typed, sizes: list[int], target: exp.Expression, *, strict: bool) -> Typed:
    precision = sizes[0] if sizes else 10
    scale = sizes[1] if len(sizes) > 1 else 0
    if scale > precision or precision > 38:
        raise SqlError(f"Too-big precision {precision} specified. Maximum is 38.", code=1426, state="42000")
    type_ = f"decimal({precision},{scale})"
    most = ("9" * (precision - scale) or "0") + ("." + "9" * scale if scale else "")
    if value.kind not in (Kind.STRING, Kind.JSON, Kind.BINARY):
        converted = unrounded(number(value)).sql
        shown = quoted((target.parent or target).sql("mysql"))
        return Typed(f"my_fitting({value.sql},{converted},{most},{shown})::{type_}", decimal(scale))
    text = value.sql if value.kind is Kind.STRING else f"(({value.sql})->>'$')"
    text = as_text(value).sql if value.kind is Kind.BINARY else text
    if strict:
        return Typed(f"try_cast({text} as {type_})", decimal(scale))
    plain = f"my_leading_number({text})"
    bound = f"case when {plain}>=1 then {most} when {plain}<=-1 then -{most} else 0 end"
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
    return cast_to(lowering, lowering.expression(node.this), target)


@lowers(exp.Collate, reads="this expression")
def _collate(lowering: Lowering, node: exp.Expression) -> Typed:
    name = node.expression.name.lower()
    converted = as_text(lowering.expression(node.this)).sql
    if name.endswith("0900_bin") or name == "binary":
        return Typed(converted, text(Collation.BIN_0900))
    if name.endswith("_bin"):
        return Typed(converted, text(Collation.BIN))
    if name.endswith(("_ai_ci", "_general_ci", "_unicode_ci", "_520_ci")):
        return Typed(converted, text(Collation.AI_CI))
    raise SqlError(f"Unknown collation: '{name}'", code=1273)
