"""The order of clauses, and what may stand in them: the parser takes them as they come.

MySQL manual: SELECT Statement; JOIN Clause; UNION Clause; TABLE Statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from z4sql.sql.catalog.keywords import RESERVED_KEYWORDS
from z4sql.sql.errors import SqlError
from z4sql.sql.front.source import Part, Piece, Source

_ORDER: Final = {
    word: rank
    for rank, word in enumerate(("FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT"), start=1)
}
_OF_ONE_SELECT: Final = _ORDER["WINDOW"]
"""TABLE and VALUES have none of the clauses up to here."""
_OF_ALL: Final = _ORDER["ORDER"]
"""From here on clauses are of a whole UNION, and stand at its end."""

_SETS: Final = frozenset({"UNION", "EXCEPT", "INTERSECT"})
_QUERIES: Final = frozenset({"SELECT", "TABLE", "VALUES"})
_BEHIND_DUAL: Final = frozenset({*_ORDER, *_SETS, "FOR", "LOCK", "INTO"}) - {"FROM"}
_BEFORE_OUTER: Final = frozenset({"LEFT", "RIGHT"})
_JOINS_OF_OTHERS: Final = frozenset({"FULL", "ANTI", "SEMI"})
_BEHIND_NATURAL: Final = frozenset({"JOIN", "INNER", "LEFT", "RIGHT"})
_QUANTIFIERS: Final = {"ALL": "ALL", "DISTINCT": "DISTINCT", "DISTINCTROW": "DISTINCT"}
MODIFIERS: Final = frozenset(
    {
        *("HIGH_PRIORITY", "STRAIGHT_JOIN", "SQL_NO_CACHE", "SQL_CALC_FOUND_ROWS"),
        *("SQL_SMALL_RESULT", "SQL_BIG_RESULT", "SQL_BUFFER_RESULT"),
    }
)
"""What may stand between SELECT and its list, in any order, and changes no row here."""


_CONTINUED: Final = frozenset(
    {
        *("SELECT", "FROM", "WHERE", "BY", "HAVING", "LIMIT", "ON", "JOIN", "AS", "AND", "OR", "XOR", "NOT"),
        *("IN", "LIKE", "BETWEEN", "IS", "UNION", "EXCEPT", "INTERSECT", "ALL", "DISTINCT", "WHEN", "THEN"),
        *("ELSE", "CASE", "INTERVAL", "DIV", "MOD", "REGEXP", "RLIKE", "COLLATE", "OFFSET", "ORDER", "GROUP"),
    }
)
"""Words behind which something must come."""


@dataclass(slots=True)
class _Level:
    """Inside of one pair of parentheses. ``clause``: the rank of the last one; None outside of a query."""

    clause: int | None = None

    @property
    def reads(self) -> bool:
        """Whether tables are named here."""
        return self.clause == _ORDER["FROM"]


def refuse_misplaced(source: Source) -> None:
    """:raises SyntaxProblem: a clause at the wrong place, or what MySQL has no such clause for (1064).

    :raises SqlError: ALL and DISTINCT at once (1221).
    """
    levels = [_Level()]
    for index, piece in enumerate(source.pieces):
        before = source.pieces[index - 1] if index else None
        if piece.part is Part.SYMBOL:
            _symbol(source, index, piece, before, levels)
        elif piece.part is Part.STRING and levels[-1].reads and source.word(index - 1) == "AS":
            raise source.problem(index)
        elif piece.part is Part.WORD and (before is None or before.value not in (".", "@", "@@")):
            _word(source, index, piece.value, levels[-1])


def _symbol(source: Source, index: int, piece: Piece, before: Piece | None, levels: list[_Level]) -> None:
    match piece.value:
        case "(":
            levels.append(_Level())
        case ")" if len(levels) > 1:
            levels.pop()
        case "*" if before is not None and before.part is Part.SYMBOL and before.value == ",":
            raise source.problem(index)
        case _:
            pass


def _word(source: Source, index: int, word: str, level: _Level) -> None:
    behind = source.word(index + 1)
    if word in _QUERIES and not _is_function(source, index):
        level.clause = _OF_ONE_SELECT if word != "SELECT" else 0
        _check_quantifiers(source, index)
    elif word in _SETS:
        if level.clause is not None and level.clause >= _OF_ALL:
            raise source.problem(index)
        level.clause = 0
    elif level.clause is not None and word in _ORDER and source.word(index - 1) != "FOR":
        if _ORDER[word] <= level.clause:
            raise source.problem(index)
        if word in ("GROUP", "ORDER") and behind != "BY":
            raise source.problem(index + 1)
        level.clause = _ORDER[word]
    elif word == "AS" and level.clause is not None and behind in RESERVED_KEYWORDS:
        raise source.problem(index + 1)
    elif level.reads:
        _check_table(source, index, word, behind)


def _is_function(source: Source, index: int) -> bool:
    """VALUES(column) is one; VALUES ROW(...) is not."""
    return source.word(index) == "VALUES" and source.word(index + 1) != "ROW"


def _check_quantifiers(source: Source, index: int) -> None:
    found = set()
    while source.word(index + 1) in MODIFIERS | _QUANTIFIERS.keys():
        index += 1
        found.add(_QUANTIFIERS.get(source.word(index)))
    if {"ALL", "DISTINCT"} <= found:
        raise SqlError("Incorrect usage of ALL and DISTINCT", code=1221)


def _check_table(source: Source, index: int, word: str, behind: str) -> None:
    at = index + 1
    match word:
        case "DUAL" if source.word(index - 1) == "FROM" and at < len(source.pieces):
            if behind not in _BEHIND_DUAL and source.pieces[at].value != ")":
                raise source.problem(at)
        case "OUTER" if behind == "JOIN" and source.word(index - 1) not in _BEFORE_OUTER:
            raise source.problem(index)
        case "NATURAL" if behind and behind not in _BEHIND_NATURAL:
            raise source.problem(at)
        case _ if word in _JOINS_OF_OTHERS and behind in ("JOIN", "OUTER"):
            raise source.problem(index)
        case "USING":
            values = [piece.value for piece in source.pieces[at : at + 3]]
            for offset, wrong in enumerate((values[:1] != ["("], values[1:2] == [")"], values[2:] == ["."])):
                if wrong:
                    raise source.problem(at + offset)
        case _:
            pass


def without_modifiers(source: Source) -> str:
    """The text with blanks for what changes no row, which the parser takes in one order only."""
    text = source.text
    for index, piece in enumerate(source.pieces):
        if piece.part is Part.WORD and piece.value in MODIFIERS and _is_modifier(source, index):
            text = text[: piece.start] + " " * (piece.end - piece.start) + text[piece.end :]
    return text


def _is_modifier(source: Source, index: int) -> bool:
    while source.word(index - 1) in MODIFIERS | _QUANTIFIERS.keys():
        index -= 1
    return source.word(index - 1) == "SELECT"


def ends_too_early(source: Source) -> bool:
    """Whether more must follow: then MySQL finds fault with the end, and the parser with what is there."""
    if not source.pieces:
        return False
    last = source.pieces[-1]
    symbols = [piece.value for piece in source.pieces if piece.part is Part.SYMBOL]
    if symbols.count("(") > symbols.count(")"):
        return True
    words = [piece.value for piece in source.pieces if piece.part is Part.WORD]
    if words.count("CASE") > words.count("END"):
        return True
    if last.part is Part.SYMBOL:
        return last.value not in (")", "*")
    return last.part is Part.WORD and last.value in _CONTINUED
