"""DATE'..', TIME'..' and TIMESTAMP'..': checked, and given the digits of a second that they have.

MySQL manual: Date and Time Literals. The parser takes them for casts, which are lenient, and which round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from z4sql.sql.engine.temporal_text import read_time
from z4sql.sql.errors import BadTemporal
from z4sql.sql.front.replacing import Replacement
from z4sql.sql.front.source import Part, Source
from z4sql.sql.temporal import try_temporal

_SHOWN = {"DATE": "DATE", "TIME": "TIME", "TIMESTAMP": "DATETIME"}
_FRACTION = re.compile(r"\.(\d{1,6})")


def replaced_literals(source: Source) -> Iterator[Replacement]:
    """Times with a fraction, as casts that keep it. :raises BadTemporal: what is none (1525)"""
    for index, piece in enumerate(source.pieces):
        kind = source.word(index - 1)
        if piece.part is not Part.STRING or kind not in _SHOWN or _is_name(source, index - 1):
            continue
        if not _is_right(kind, piece.value):
            raise BadTemporal(f"Incorrect {_SHOWN[kind]} value: '{piece.value}'")
        fraction = _FRACTION.search(piece.value) if kind == "TIME" else None
        if fraction is not None:
            written = source.text[piece.start : piece.end]
            cast = f"CAST({written} AS TIME({len(fraction[1])}))"
            yield Replacement(source.pieces[index - 1].start, piece.end, cast)


def _is_name(source: Source, index: int) -> bool:
    """Whether the word is a column's name, with an alias in quotes behind it."""
    return index > 0 and source.pieces[index - 1].value == "."


def _is_right(kind: str, text: str) -> bool:
    if kind == "TIME":
        return read_time(text)[1]
    moment = try_temporal(text)
    return moment is not None and moment.is_date == (kind == "DATE")
