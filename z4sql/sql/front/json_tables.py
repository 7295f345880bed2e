"""Columns of JSON_TABLE in a form that the parser reads: what it does not know goes into the path.

MySQL manual: JSON_TABLE(): ``name type [EXISTS] PATH '..' [.. ON EMPTY] [.. ON ERROR]``.
"""

from __future__ import annotations

from collections.abc import Iterator

from z4sql.sql.errors import Unsupported
from z4sql.sql.front.replacing import Replacement
from z4sql.sql.front.source import Part, Piece, Source
from z4sql.sql.json_clauses import NOTHING, Clauses

_ACTIONS = frozenset({"NULL", "ERROR", "DEFAULT"})
_TYPE_WORDS = frozenset({"CHARACTER", "CHARSET", "SET", "COLLATE"})


def replaced_columns(source: Source) -> Iterator[Replacement]:
    """Columns with clauses, all of them inside the path.

    :raises Unsupported: a DEFAULT that is no string (1235), as in MySQL; :raises SyntaxProblem: (1064)
    """
    if "JSON_TABLE" not in source.text.upper():
        return
    for index in range(len(source.pieces)):
        if source.word(index) != "PATH" or not _is(source, index + 1, Part.STRING):
            continue
        if source.word(index - 1) == "NESTED":
            continue
        first, exists = _before(source, index)
        clauses, behind = _clauses(source, index + 1, exists=exists)
        if behind > index + 2 or first < index:
            start, end = source.pieces[first].start, source.pieces[behind - 1].end
            yield Replacement(start, end, f"PATH {clauses.written()}")


def _is(source: Source, index: int, part: Part) -> bool:
    return index < len(source.pieces) and source.pieces[index].part is part


def _before(source: Source, index: int) -> tuple[int, bool]:
    """(the first piece behind the column's type, whether it is EXISTS PATH)."""
    exists = source.word(index - 1) == "EXISTS"
    first = index - exists
    while first >= 2 and source.word(first - 2) in _TYPE_WORDS:
        first -= 3 if source.word(first - 2) == "SET" else 2
    return first, exists


def _clauses(source: Source, at: int, *, exists: bool) -> tuple[Clauses, int]:
    """The clauses behind the path at ``at``, and the index of what follows them."""
    found = {"EMPTY": NOTHING, "ERROR": NOTHING}
    path, at = source.pieces[at].value, at + 1
    while source.word(at) in _ACTIONS:
        action, default = source.word(at), ""
        at += 1
        if action == "DEFAULT":
            default = _default(source, at)
            at += 1
        if source.word(at) != "ON" or source.word(at + 1) not in found:
            raise source.problem(at)
        found[source.word(at + 1)] = (action, default)
        at += 2
    return Clauses(path, exists, found["EMPTY"], found["ERROR"]), at


def _default(source: Source, at: int) -> str:
    piece: Piece | None = source.pieces[at] if at < len(source.pieces) else None
    if piece is None:
        raise source.problem(at)
    if piece.part is not Part.STRING:
        what = "non-string DEFAULT value for a column in a JSON_TABLE expression"
        raise Unsupported(f"This version of MySQL doesn't yet support '{what}'")
    return piece.value
