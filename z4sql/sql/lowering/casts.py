"""CAST and CONVERT. MySQL manual: Cast Functions and Operators."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.conversion import as_bytes, as_text, instant, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
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
from z4sql.sql.temporal import naive_text, try_temporal
from z4sql.sql.types import Collation, Kind

_INTEGERS = frozenset({"BIGINT", "INT", "SMALLINT", "TINYINT"})
_UNSIGNED = frozenset({"UBIGINT", "UINT"})
_TEXTS = frozenset({"CHAR", "VARCHAR", "TEXT", "NCHAR", "NVARCHAR"})
_BINARIES = frozenset({"BINARY", "VARBINARY", "BLOB"})
_DATETIMES = frozenset({"DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME64", "TIMESTAMPNTZ", "TIMESTAMPLTZ"})


def cast_to(lowering: Lowering, value: Typed, target: exp.Expression, *, strict: bool = False) -> Typed:
    """``value`` as the type that ``target`` names; ``strict``: NULL for what does not convert."""
    kind = target.this.name if hasattr(target.this, "name") else str(target.this)
    sizes = [int(size.this.this) for size in target.expressions or [] if isinstance(size, exp.DataTypeParam)]
    if kind in _INTEGERS:
        return _to_signed(value)
    if kind in _UNSIGNED:
        if value.kind in NUMBERS:
            return Typed(f"my_wrap_unsigned(round({number(value).sql})::hugeint)", UINT)
        return Typed(f"my_unsigned({as_text(value).sql})", UINT)
    if kind == "DECIMAL":
        return _to_decimal(value, sizes, strict=strict)
    if kind in ("DOUBLE", "FLOAT"):
        return Typed(f"({number(value).sql})::double", DOUBLE)
    if kind in _TEXTS:
        converted = as_text(value).sql
        return Typed(f"left({converted},{sizes[0]})" if sizes else converted, TEXT)
    if kind == "CHARACTER_SET":
        return Typed(as_text(value).sql, TEXT)
    if kind in _BINARIES:
        return Typed(as_bytes(value), BINARY)
    if kind == "DATE":
        return Typed(f"({instant(value).sql})::date", DATE)
    if kind in _DATETIMES:
        return _to_datetime(lowering, value, sizes[0] if sizes else 0)
    if kind == "TIME":
        return _to_time(value, sizes[0] if sizes else 0)
    if kind == "JSON":
        return Typed(f"({as_text(value).sql})::json", JSON)
    raise unsupported(f"CAST AS {kind}")


def _to_signed(value: Typed) -> Typed:
    if value.kind in (Kind.DECIMAL, Kind.DOUBLE):
        return Typed(f"round({value.sql})::bigint", INT)
    if value.kind in NUMBERS:
        return Typed(f"({number(value).sql})::bigint", INT)
    if value.kind in INSTANTS or value.kind in (Kind.DATE, Kind.TIME):
        return Typed(f"trunc({number(value).sql})::bigint", INT)
    if value.kind is Kind.JSON:
        return Typed(f"my_signed(({value.sql})->>'$')", INT)
    return Typed(f"my_signed({as_text(value).sql})", INT)


def _to_decimal(value: Typed, sizes: list[int], *, strict: bool) -> Typed:
    precision = sizes[0] if sizes else 10
    scale = sizes[1] if len(sizes) > 1 else 0
    if scale > precision or precision > 38:
        raise SqlError(f"Too-big precision {precision} specified. Maximum is 38.", code=1426, state="42000")
    type_ = f"decimal({precision},{scale})"
    if value.kind not in (Kind.STRING, Kind.JSON):
        return Typed(f"({number(value).sql})::{type_}", decimal(scale))
    converted = value.sql if value.kind is Kind.STRING else f"(({value.sql})->>'$')"
    if strict:
        return Typed(f"try_cast({converted} as {type_})", decimal(scale))
    most = "9" * (precision - scale) + ("." + "9" * scale if scale else "")
    bounded = f"least(greatest(my_num({converted}),-{most}),{most})"
    return Typed(f"(case when {converted} is not null then {bounded}::{type_} end)", decimal(scale))


def _to_datetime(lowering: Lowering, value: Typed, fsp: int) -> Typed:
    if value.kind is Kind.STRING and value.type.literal:
        parsed = try_temporal(value.sql[1:-1].replace("''", "'"))
        if parsed is not None:
            local = parsed.local_us(lowering.context.time_zone)
            shown = fsp or (6 if local % 1_000_000 else 0)
            return Typed(f"timestamp {quoted(naive_text(local))}", datetime(shown))
    moment = instant(value).sql
    if fsp == 0:
        return Typed(f"date_trunc('second',{moment}+interval 500000 microsecond)", datetime(0))
    return Typed(moment, datetime(fsp))


def _to_time(value: Typed, fsp: int) -> Typed:
    if value.kind is Kind.STRING:
        microseconds = f"my_time({value.sql})"
    elif value.kind is Kind.TIME:
        microseconds = value.sql
    else:
        microseconds = f"(epoch_us({instant(value).sql})%86400000000)"
    if fsp:
        return Typed(microseconds, time(fsp))
    return Typed(f"((({microseconds}+500000)//1000000)*1000000)", time(0))


@lowers(exp.Cast, exp.TryCast, reads="this to")
def _cast(lowering: Lowering, node: exp.Expression) -> Typed:
    return cast_to(lowering, lowering.expression(node.this), node.args["to"])


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
