"""Columns of a result as MySQL's text protocol prints them, whole columns at a time."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from z4sql.sql.types import Kind, SqlType

_SECOND_US: Final = 1_000_000
_DAY_S: Final = 86_400
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_MICROSECONDS: Final = pa.timestamp("us")
_SURE_DIGITS: Final = 15
"""That every double keeps: C's DBL_DIG."""
_SURE: Final = 10.0**_SURE_DIGITS
_WIDEST: Final = 350
TEXT_WIDTH: Final = 22
"""Of a double that becomes a text inside of an expression. MySQL: MAX_DOUBLE_STR_LENGTH."""


def render_text(column: pa.Array, type: SqlType) -> pa.Array:
    """The cells of ``column`` as bytes; NULL stays NULL."""
    match type.kind:
        case Kind.STRING | Kind.JSON | Kind.BINARY:
            return _bytes(column)
        case Kind.DATETIME | Kind.TIMESTAMP:
            return _instants(column, type.scale)
        case Kind.DOUBLE:
            return _doubles(column)
        case Kind.TIME:
            return _times(column, type.scale)
        case Kind.BOOL:
            return _bytes(column.cast(pa.int64()).cast(pa.string()))
        case Kind.DECIMAL:
            return _decimals(column, type.scale)
        case Kind.NULL:
            return pa.nulls(len(column), pa.binary())
        case Kind.INT | Kind.UINT | Kind.DATE:
            return _bytes(column.cast(pa.string()))


def few_texts(column: pa.Array, type: SqlType) -> list[bytes | None]:
    """As `render_text`, cell by cell: of few cells each costs less than a pass over the column."""
    if column.null_count == len(column):
        return [None] * len(column)
    match type.kind:
        case Kind.STRING | Kind.JSON | Kind.BINARY:
            values = column.to_pylist()
            return [value.encode() if isinstance(value, str) else value for value in values]
        case Kind.INT | Kind.UINT if pa.types.is_integer(column.type):
            return [None if value is None else b"%d" % value for value in column.to_pylist()]
        case Kind.DATETIME | Kind.TIMESTAMP if column.type == _MICROSECONDS:
            instants = column.view(pa.int64()).to_pylist()
            return [None if us is None else _instant_text(us, type.scale) for us in instants]
    cells: list[bytes | None] = render_text(column, type).to_pylist()
    return cells


def _instant_text(instant_us: int, fsp: int) -> bytes:
    seconds, micros = divmod(instant_us, _SECOND_US)
    days, second = divmod(seconds, _DAY_S)
    minute = second // 60
    text = b"%b %02d:%02d:%02d" % (_day_text(days), minute // 60, minute % 60, second % 60)
    return text + b".%06d" % micros if fsp == 6 else text + (b".%06d" % micros)[: fsp + 1] if fsp else text


@lru_cache(maxsize=1024)
def _day_text(days: int) -> bytes:
    return date.fromordinal(_EPOCH_ORDINAL + days).isoformat().encode()


def _bytes(column: pa.Array) -> pa.Array:
    type_ = column.type
    if pa.types.is_string_view(type_) or pa.types.is_binary_view(type_):
        return column.cast(pa.binary())
    if pa.types.is_large_string(type_) or pa.types.is_large_binary(type_):
        return column.cast(pa.large_binary()).cast(pa.binary())
    return column if pa.types.is_binary(type_) else column.cast(pa.binary())


def _instants(column: pa.Array, fsp: int) -> pa.Array:
    # Arrow prints microseconds as `YYYY-MM-DD HH:MM:SS.ffffff`, which is MySQL's form of fsp 6.
    text = column.cast(pa.timestamp("us")).cast(pa.string())
    if fsp < 6:
        text = pc.utf8_slice_codeunits(text, 0, 19 if fsp == 0 else 20 + fsp)
    return text.cast(pa.binary())


def _decimals(column: pa.Array, scale: int) -> pa.Array:
    if pa.types.is_decimal(column.type) and column.type.scale == scale:
        text = column.cast(pa.string()).to_pylist() if _exponent_possible(column) else None
        if text is None:
            return column.cast(pa.string()).cast(pa.binary())
        return pa.array([None if value is None else _plain(value, scale) for value in text], pa.binary())
    return column.cast(pa.decimal128(38, scale)).cast(pa.string()).cast(pa.binary())


def _exponent_possible(column: pa.Array) -> bool:
    """Arrow prints very small decimals with an exponent, as Java does."""
    return bool(column.type.scale > 6)


def _plain(text: str, scale: int) -> bytes:
    if "E" not in text:
        return text.encode()
    from decimal import Decimal

    return f"{Decimal(text):.{scale}f}".encode()


def _doubles(column: pa.Array) -> pa.Array:
    values = column.cast(pa.float64())
    numbers = values.to_numpy(zero_copy_only=False)
    missing = np.isnan(numbers) | np.isinf(numbers)
    return pa.array(
        [
            None if gone else double_text(number)
            for number, gone in zip(numbers.tolist(), missing, strict=True)
        ],
        pa.binary(),
    )


def double_text(number: float, width: int = _WIDEST) -> bytes:
    """The shortest text that reads back as ``number``, in MySQL's form: 37, 0.1, 1e20, 0.0000001.

    With an exponent where it has none of those digits behind the point that a double is sure of, or is wider
    than ``width``; then it has as many digits as there is room for. MySQL: ``my_gcvt``.
    """
    text = repr(number).removesuffix(".0")
    if "e" not in text and abs(number) < _SURE and len(text) <= width:
        return text.encode()
    sign, digits, power_of_ten = Decimal(text).normalize().as_tuple()
    exponent = int(power_of_ten)
    point = len(digits) + exponent
    written = f"{Decimal(text):f}"
    if point > -_SURE_DIGITS and (point <= _SURE_DIGITS or exponent < 0) and len(written) <= width:
        return written.encode()
    power = f"e{point - 1}"
    room = width - sign - len(power)
    if len(digits) > 1 and len(digits) + 1 > room:
        number = float(f"{number:.{room - 2}e}")
        digits = Decimal(repr(number)).normalize().as_tuple().digits
    first, *others = digits
    behind = "." + "".join(map(str, others)) if others else ""
    return f"{'-' * sign}{first}{behind}{power}".encode()


def _times(column: pa.Array, fsp: int) -> pa.Array:
    cells = column.cast(pa.int64()).to_pylist()
    return pa.array([None if cell is None else time_text(cell, fsp) for cell in cells], pa.binary())


def time_text(microseconds: int, fsp: int) -> bytes:
    """``[-]HHH:MM:SS[.ffffff]``; hours may exceed a day."""
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), _SECOND_US)
    hours, rest = divmod(seconds, 3600)
    text = f"{sign}{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{text}.{fraction:06d}"[: len(text) + 1 + fsp].encode() if fsp else text.encode()
