"""What a query warns of while it is worked out. MySQL manual: SHOW WARNINGS Statement; The Diagnostics Area.

A conversion that goes wrong calls one of the functions here, which the engine does only for values that are
wrong: a query without such values pays nothing. The engine works in the thread that walks its batches, and
so that thread knows whose warnings they are.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import islice, repeat
from typing import Final, NamedTuple, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from z4sql.sql.engine.stopping import LONG_BYTES, claim

CONDITIONS_MAX: Final = 1_024
"""The default of max_error_count."""
CONCAT_BYTES_MAX: Final = 1_024
"""The default of group_concat_max_len."""
COMPLEMENT: Final = "Cast to unsigned converted negative integer to it's positive complement"
POSITIVE_COMPLEMENT: Final = (
    "Cast to signed converted positive out-of-range integer to it's negative complement"
)
_WHOLE: Final = re.compile(r"\s*[+-]?\d{1,20}\s*", re.ASCII)
_VALUE_MAX: Final = 128
"""Characters of a value in a message. MySQL's errmsg: ``'%-.128s'``."""
_PACKET_BYTES: Final = 67_108_864


_Function = TypeVar("_Function", bound=Callable[..., object])


class Condition(NamedTuple):
    code: int
    message: str


class Warnings:
    """Of one query: ``count`` of all, and the first ones in full. Written by the query's thread alone."""

    __slots__ = ("_kept_max", "_once", "concat_bytes_max", "conditions", "count")

    def __init__(self, kept_max: int = CONDITIONS_MAX, concat_bytes_max: int = CONCAT_BYTES_MAX) -> None:
        self._kept_max = kept_max
        self.concat_bytes_max = concat_bytes_max
        self.conditions: list[Condition] = []
        self.count = 0
        self._once: set[str] = set()

    def add(self, code: int, messages: Iterable[str], count: int) -> None:
        """``count`` warnings, of which ``messages`` are read only as far as there is room for them."""
        self.count += count
        room = self._kept_max - len(self.conditions)
        for _, message in zip(range(min(room, count)), messages, strict=False):
            self.conditions.append(Condition(code, message))

    def precede(self, conditions: Sequence[Condition]) -> None:
        """``conditions`` came before all others."""
        self.count += len(conditions)
        self.conditions = [*conditions, *self.conditions][: self._kept_max]

    def add_once(self, code: int, message: str) -> None:
        """One warning, unless it is there."""
        if message not in self._once:
            self._once.add(message)
            self.add(code, (message,), 1)


class _Current(threading.local):
    warnings: Warnings | None = None


_current = _Current()


@contextmanager
def collecting(warnings: Warnings) -> Iterator[None]:
    """What this thread works out inside warns there."""
    before, _current.warnings = _current.warnings, warnings
    try:
        yield
    finally:
        _current.warnings = before


def silenced(function: _Function) -> _Function:
    """The same function, which warns of nothing."""

    @wraps(function)
    def silent(*arguments: object) -> object:
        before, _current.warnings = _current.warnings, None
        try:
            return function(*arguments)
        finally:
            _current.warnings = before

    return cast(_Function, silent)


def warn(code: int, message: str) -> None:
    """One warning of the query that this thread runs."""
    if _current.warnings is not None:
        _current.warnings.add(code, (message,), 1)


def warn_once(code: int, message: str) -> None:
    """As `warn`, of a constant: MySQL converts it once for all rows."""
    if _current.warnings is not None:
        _current.warnings.add_once(code, message)


def shown(value: str) -> str:
    """A value as messages show it."""
    return value[:_VALUE_MAX]


def bad_value(kinds: pa.Array, texts: pa.Array) -> pa.Array:
    """Texts that are only in part, or not at all, what ``kinds`` says. Gives zeros."""
    told = (f"Truncated incorrect {kind} value: '{shown(text)}'" for kind, text in _pairs(kinds, texts))
    return _zeros(1292, told, texts)


def bad_constant(kinds: pa.Array, texts: pa.Array) -> pa.Array:
    """As `bad_value` for a constant, which MySQL converts once for all rows. Gives zeros."""
    told = (f"Truncated incorrect {kind} value: '{shown(text)}'" for kind, text in _pairs(kinds, texts))
    for message in islice(told, 1):
        warn_once(1292, message)
    return pa.array(np.zeros(len(texts), np.int8))


def bad_argument(functions: pa.Array, texts: pa.Array) -> pa.Array:
    """Texts that ``functions`` cannot read. Gives zeros."""
    pairs = _pairs(functions, texts)
    told = (f"Incorrect string value: ''{shown(text)}'' for function {name}" for name, text in pairs)
    return _zeros(1411, told, texts)


def bad_signed(texts: pa.Array) -> pa.Array:
    """Texts that are cast to SIGNED, and are not whole numbers of 64 bits with a sign. Gives zeros."""
    return _complemented(texts, range(2**63, 2**64), POSITIVE_COMPLEMENT)


def bad_unsigned(texts: pa.Array) -> pa.Array:
    """Texts that are cast to UNSIGNED, and are not whole numbers of 64 bits. Gives zeros."""
    return _complemented(texts, range(-(2**63), 0), COMPLEMENT)


def _complemented(texts: pa.Array, other: range, message: str) -> pa.Array:
    """``message`` for whole numbers among ``other``, which have as many bits."""
    for text in texts.drop_null().to_pylist():
        if _WHOLE.fullmatch(text) and int(text) in other:
            warn(1105, message)
        else:
            warn(1292, f"Truncated incorrect INTEGER value: '{shown(text)}'")
    return pa.array(np.zeros(len(texts), np.int8))


def bad_json(kinds: pa.Array, texts: pa.Array) -> pa.Array:
    """Texts of JSON values that are no numbers. Gives zeros."""
    form = "Invalid JSON value for CAST to {} from column json_extract at row 1"
    return _zeros(3156, (form.format(kind) for kind, _ in _pairs(kinds, texts)), texts)


def out_of_range(columns: pa.Array, texts: pa.Array) -> pa.Array:
    """Values that do not fit into the type that an expression asks for. Gives zeros."""
    told = (f"Out of range value for column '{column}' at row 1" for column, _ in _pairs(columns, texts))
    return _zeros(1264, told, texts)


def too_long(names: pa.Array, texts: pa.Array) -> pa.Array:
    """Results larger than a packet, of the functions ``names``. Gives NULLs."""
    form = "Result of {}() was larger than max_allowed_packet (" + str(_PACKET_BYTES) + ") - truncated"
    return _nulls(1301, (form.format(name) for name, _ in _pairs(names, texts)), texts, pa.int32())


def long_made(counts: pa.Array, sizes: pa.Array) -> pa.Array:
    """``counts`` as they are, of functions that make texts of ``sizes`` bytes."""
    claim(pc.sum(sizes).as_py() or 0)
    return counts


def within_packet(names: pa.Array, texts: pa.Array) -> pa.Array:
    """Texts that the functions ``names`` made; NULL for those that are larger than a packet."""
    sizes = pc.binary_length(texts)
    if (pc.max(sizes).as_py() or 0) < LONG_BYTES:
        return texts
    claim(pc.sum(pc.filter(sizes, pc.greater_equal(sizes, LONG_BYTES))).as_py() or 0)
    beyond = pc.fill_null(pc.greater(sizes, _PACKET_BYTES), False)
    too_long(names.filter(beyond), texts.filter(beyond))
    return pc.if_else(beyond, pa.scalar(None, texts.type), texts)


def by_zero(dividends: pa.Array, _divisors: pa.Array) -> pa.Array:
    """Dividends of zero; nobody divides NULL. Gives zeros. What only divides is for the engine: with it a
    constant dividend is no constant call, which it would make whether or not a divisor is zero."""
    return _zeros(1365, repeat("Division by 0"), dividends)


def no_logarithm(arguments: pa.Array) -> pa.Array:
    """Arguments that are not positive. Gives NULLs."""
    return _nulls(3020, repeat("Invalid argument for logarithm"), arguments, pa.float64())


def out_of_calendar(moments: pa.Array) -> pa.Array:
    """Moments that an interval moved too far. Gives NULLs."""
    told = repeat("Datetime function: datetime field overflow")
    return _nulls(1441, told, moments, pa.timestamp("us"))


def cut_concat(texts: pa.Array, separators: pa.Array) -> pa.Array:
    """GROUP_CONCAT's texts, as long as group_concat_max_len lets them be."""
    warnings = _current.warnings
    most = CONCAT_BYTES_MAX if warnings is None else warnings.concat_bytes_max
    sizes = pc.binary_length(texts)
    if (pc.max(sizes).as_py() or 0) <= most:
        return texts
    cut = []
    for text, separator in _pairs(texts, separators):
        data = None if text is None else text.encode()
        if data is None or len(data) <= most:
            cut.append(text)
            continue
        kept = data[:most].decode(errors="ignore")
        row = kept.count(separator) + 1 if separator else 1
        warn(1260, f"Row {row} was cut by GROUP_CONCAT()")
        cut.append(kept)
    return pa.array(cut, pa.string())


def _pairs(one: pa.Array, other: pa.Array) -> Iterator[tuple[str, str]]:
    return ((first.as_py(), second.as_py()) for first, second in zip(one, other, strict=True))


def _zeros(code: int, messages: Iterable[str], values: pa.Array) -> pa.Array:
    """A warning for each of ``values`` that is not NULL."""
    if _current.warnings is not None:
        _current.warnings.add(code, messages, len(values) - values.null_count)
    return pa.array(np.zeros(len(values), np.int8))


def _nulls(code: int, messages: Iterable[str], values: pa.Array, kind: pa.DataType) -> pa.Array:
    _zeros(code, messages, values)
    return pa.nulls(len(values), kind)


_TEXT: Final = "VARCHAR"

HEEDING: Final = (
    ("my_bad_value", bad_value, [_TEXT, _TEXT], "TINYINT"),
    ("my_bad_constant", bad_constant, [_TEXT, _TEXT], "TINYINT"),
    ("my_bad_argument", bad_argument, [_TEXT, _TEXT], "TINYINT"),
    ("my_bad_signed", bad_signed, [_TEXT], "TINYINT"),
    ("my_bad_unsigned", bad_unsigned, [_TEXT], "TINYINT"),
    ("my_bad_json", bad_json, [_TEXT, _TEXT], "TINYINT"),
    ("my_out_of_range", out_of_range, [_TEXT, _TEXT], "TINYINT"),
    ("my_too_long", too_long, [_TEXT, _TEXT], "INTEGER"),
    ("my_long", long_made, ["BIGINT", "BIGINT"], "BIGINT"),
    ("my_packet", within_packet, [_TEXT, _TEXT], _TEXT),
    ("my_by_zero", by_zero, [_TEXT, _TEXT], "TINYINT"),
    ("my_no_logarithm", no_logarithm, ["DOUBLE"], "DOUBLE"),
    ("my_out_of_calendar", out_of_calendar, ["TIMESTAMP"], "TIMESTAMP"),
    ("my_cut", cut_concat, [_TEXT, _TEXT], _TEXT),
)
"""Name, implementation over columns, types of arguments, type of the result.

Neither folded nor merged by the engine: it would call them for what no row asks for.
"""
