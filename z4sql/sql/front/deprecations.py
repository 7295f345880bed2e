"""What a statement uses although MySQL means to do away with it. MySQL manual: What Is New in MySQL 8.0."""

from __future__ import annotations

import re
from typing import Final

from z4sql.sql.engine.warnings import Condition
from z4sql.sql.front.source import Part, Source

_SEEN: Final = re.compile(r"&&|\|\||!(?!=)|:=|FOUND_ROWS|BINARY|utf8(?!mb4)", re.IGNORECASE)
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
_BEFORE_CHARACTER_SETS: Final = frozenset({"SET", "CHARSET", "USING"})
_UTF8: Final = (
    "'utf8' is currently an alias for the character set UTF8MB3, but will be an alias for UTF8MB4 in a"
    " future release. Please consider using UTF8MB4 in order to be unambiguous."
)


def deprecated_in_query(source: Source) -> list[Condition]:
    """Of a SELECT. No session may have PIPES_AS_CONCAT: ``||`` is OR."""
    if _SEEN.search(source.text) is None:
        return []
    told = []
    for at, piece in enumerate(source.pieces):
        if piece.part is Part.SYMBOL:
            told.append(_used(_OPERATORS.get(piece.value)))
        elif piece.part is Part.WORD and piece.value == "BINARY":
            told.append(_used(_BINARY if _is_operator(source, at) else None))
        elif piece.part is Part.WORD:
            told.append(_used(_WORDS.get(piece.value)) or _character_set(_character_set_at(source, at)))
    return [condition for condition in told if condition is not None]


def deprecated_in_set(source: Source) -> list[Condition]:
    """Of a SET."""
    found = _CHARACTER_SET.search(source.text)
    told = None if found is None else _character_set(found[1].lower())
    return [] if told is None else [told]


def _used(message: str | None) -> Condition | None:
    return None if message is None else Condition(1287, message)


def _character_set(name: str) -> Condition | None:
    match name:
        case "utf8":
            return Condition(3719, _UTF8)
        case "utf8mb3":
            return Condition(1287, f"'utf8mb3' {_GOES} Please use utf8mb4 instead")
        case _:
            return None


def _character_set_at(source: Source, at: int) -> str:
    """The character set that a word names: behind USING and the like, or before a text (``_utf8'...'``)."""
    word = source.pieces[at].value.lower()
    if at and source.word(at - 1) in _BEFORE_CHARACTER_SETS:
        return word
    is_before_text = at + 1 < len(source.pieces) and source.pieces[at + 1].part is Part.STRING
    return word[1:] if word.startswith("_") and is_before_text else ""


def _is_operator(source: Source, at: int) -> bool:
    if at == 0 or at + 1 >= len(source.pieces) or source.word(at - 1) in _NAMES_OF_BINARY:
        return False
    return source.pieces[at + 1].part in (Part.WORD, Part.QUOTED, Part.STRING)
