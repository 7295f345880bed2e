"""Values in the places of ``?``: as literals, where the parser itself sees placeholders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import assert_never

from z4sql.sql.errors import SqlError
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.source import Part, Source
from z4sql.sql.result import Parameter
from z4sql.sql.wire.errors import BadArguments

_ESCAPED = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"})


def placeholders(source: Source, parser: QueryParser) -> tuple[int, ...]:
    """Offsets of the ``?`` of a statement.

    Reader and parser must agree on them: a text they read differently is refused, not guessed at.

    :raises SyntaxProblem: (1064).
    """
    seen = [piece.start for piece in source.pieces if piece.part is Part.PARAMETER]
    if seen and parser.placeholders(source.text) != seen:
        raise source.problem(0)
    return tuple(seen)


def counting(source: Source) -> tuple[bool, ...]:
    """For each ``?``, whether it stands in a LIMIT, where only a whole number may."""
    pieces = [index for index, piece in enumerate(source.pieces) if piece.part is Part.PARAMETER]
    return tuple(
        source.word(index - 1) in ("LIMIT", "OFFSET")
        or (source.pieces[index - 1].value == "," and source.word(index - 3) == "LIMIT")
        for index in pieces
    )


def bind(
    text: str, offsets: Sequence[int], parameters: Sequence[Parameter], counts: Sequence[bool] | None = None
) -> str:
    """The text with literals instead of placeholders; ``counts`` is what `counting` says of them.

    :raises SqlError: wrong number or kind of values (1210), or a value that has no literal (1367).
    """
    if len(offsets) != len(parameters):
        raise BadArguments("EXECUTE")
    parts: list[str] = []
    after = 0
    for index, (offset, value) in enumerate(zip(offsets, parameters, strict=True)):
        written = _count(value) if counts is not None and counts[index] else literal(value)
        parts += [text[after:offset], _apart(written, text, offset)]
        after = offset + 1
    return "".join(parts) + text[after:]


def bound_to_nothing(source: Source, offsets: tuple[int, ...]) -> str:
    """NULL for every placeholder; 1 where only a number may stand."""
    parts: list[str] = []
    after = 0
    for offset, counted in zip(offsets, counting(source), strict=True):
        parts += [source.text[after:offset], " 1 " if counted else " NULL "]
        after = offset + 1
    return "".join(parts) + source.text[after:]


def _count(value: Parameter) -> str:
    """A number of rows. Clients that know only one kind of number send it as a double or as text."""
    match value:
        case int() if value >= 0:
            return str(int(value))
        case float() | Decimal() if isfinite(value) and value >= 0 and value == int(value):
            return str(int(value))
        case str() if value.isascii() and value.isdigit():
            return value
        case _:
            raise BadArguments("EXECUTE")


def _apart(written: str, text: str, offset: int) -> str:
    """Blanks where a neighbour would run into the literal: ``-?`` with -1 would begin a comment."""
    before = " " if offset and (text[offset - 1].isalnum() or text[offset - 1] in "_$-@'\"") else ""
    after = text[offset + 1 : offset + 2]
    return before + written + (" " if after.isalnum() or (after and after in "_$'\"") else "")


def literal(value: Parameter) -> str:
    """A value as MySQL would read it back."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value)
        case float():
            if not isfinite(value):
                raise SqlError(f"Illegal double value '{value}' found", code=1367, state="22007")
            # An exponent makes the literal a DOUBLE; without one it would be a DECIMAL.
            written = repr(value)
            return written if "e" in written else f"{written}e0"
        case Decimal():
            if not value.is_finite():
                raise SqlError(f"Illegal decimal value '{value}' found", code=1367, state="22007")
            return f"{value:f}"
        case str():
            return f"'{value.translate(_ESCAPED)}'"
        case bytes():
            return f"x'{value.hex()}'"
        case datetime():
            return f"'{value.replace(tzinfo=None).isoformat(' ')}'"
        case date():
            return f"'{value.isoformat()}'"
        case timedelta():
            return f"'{_time(value)}'"
        case _:
            assert_never(value)


def _time(value: timedelta) -> str:
    total_us = value // timedelta(microseconds=1)
    sign = "-" if total_us < 0 else ""
    seconds, micros = divmod(abs(total_us), 1_000_000)
    fraction = f".{micros:06d}" if micros else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
