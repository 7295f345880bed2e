"""What a statement uses although MySQL means to do away with it. MySQL manual: What Is New in MySQL 8.0."""

from __future__ import annotations

import re
from typing import Final

from z4sql.sql.engine.warnings import Condition
from z4sql.sql.front.source import Part, Source

_SEEN: Final = re.compile(r"&&|\|\||!(?!=)|:=|FOUND_ROWS|BINARY", re.IGNORECASE)
_CHARACTER_SET: Final = re.compile(
    r"\b(?:NAMES|CHARACTER\s+SET|CHARSET)\s+['\"]?(utf8|utf8mb3)\b(?!_)", re.IGNORECASE
)
_GOES: Final = "is deprecated and will be removed in a future release."
_OPERATORS: Final = {
    "&&": f"'&&' {_GOES} Please use AND instead",
    "||": f"'|| as a synonym for OR' {_GOES} Please use OR instead",
    "!": f"'!' {_GOES} Please use NOT instead",
    ":=": (
        f"Setting user variables within expressions {_GOES} Consider alternatives: 'SET variable=expression,"
        " ...', or 'SELECT expression(s) INTO variables(s)'."
    ),
}
_WORDS: Final = {
    "SQL_CALC_FOUND_ROWS": f"SQL_CALC_FOUND_ROWS {_GOES} Consider using two separate queries instead.",
    "FOUND_ROWS": f"FOUND_ROWS() {_GOES} Consider using COUNT(*) instead.",
}
_BINARY: Final = f"'BINARY expr' {_GOES} Please use CAST instead"
_NAMES_OF_BINARY: Final = frozenset({"AS", "SET", "COLLATE", "CHARSET"})
"""Words behind which BINARY is the name of a type, character set or collation."""
_UTF8: Final = (
    "'utf8' is currently an alias for the character set UTF8MB3, but will be an alias for UTF8MB4 in a"
    " future release. Please consider using UTF8MB4 in order to be unambiguous."
)


def deprecated_in_query(source: Source, sql_mode: str) -> list[Condition]:
    """Of a SELECT."""
    if _SEEN.search(source.text) is None:
        return []
    told = []
    for at, piece in enumerate(source.pieces):
        if piece.part is Part.SYMBOL:
            if piece.value != "||" or "PIPES_AS_CONCAT" not in sql_mode:
                told.append(_OPERATORS.get(piece.value))
        elif piece.part is Part.WORD and piece.value == "BINARY":
            told.append(_BINARY if _is_operator(source, at) else None)
        elif piece.part is Part.WORD:
            told.append(_WORDS.get(piece.value))
    return [Condition(1287, message) for message in told if message is not None]


def deprecated_in_set(source: Source) -> list[Condition]:
    """Of a SET."""
    found = _CHARACTER_SET.search(source.text)
    if found is None:
        return []
    if found[1].lower() == "utf8":
        return [Condition(3719, _UTF8)]
    return [Condition(1287, f"'utf8mb3' {_GOES} Please use utf8mb4 instead")]


def _is_operator(source: Source, at: int) -> bool:
    if at == 0 or at + 1 >= len(source.pieces) or source.word(at - 1) in _NAMES_OF_BINARY:
        return False
    return source.pieces[at + 1].part in (Part.WORD, Part.QUOTED, Part.STRING)
