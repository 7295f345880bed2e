"""Amounts of intervals that the parser would misread: it takes numbers for texts, and knows no exponents.

MySQL manual: Temporal Intervals. In parentheses a text stays a text, which counts by its whole part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from z4sql.sql.front.replacing import Replacement
from z4sql.sql.front.source import Part, Source

_MISREAD = {Part.STRING: re.compile(r"\d\s*[A-Za-z.]"), Part.NUMBER: re.compile(r"[eE]")}


def replaced_amounts(source: Source) -> Iterator[Replacement]:
    """``INTERVAL '1.5' DAY`` and ``INTERVAL 1e2 DAY`` with their amounts in parentheses."""
    for index, piece in enumerate(source.pieces):
        misread = _MISREAD.get(piece.part)
        if misread is None or source.word(index - 1) != "INTERVAL" or not source.word(index + 1):
            continue
        if misread.search(piece.value):
            yield Replacement(piece.start, piece.end, f"({source.text[piece.start : piece.end]})")
