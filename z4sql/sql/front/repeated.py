"""Finds the shape of a statement by its text alone, before anything is read or parsed.

What stands between the quotes of plain literals is cut out; the rest is looked up. It is the same statement
up to these texts, as no literal holds a character that could end it or that means something in it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.source import Part, Piece, Source, read_source
from z4sql.sql.shapes import Shape, Shaped

_LITERAL: Final = re.compile(r"'([^'\\\x00-\x1f]*)'")
_TEXT_MAX: Final = 2 << 10
"""Characters of a text that is looked up; a literal may become longer without harm."""
_KNOWN_MAX: Final = 512
_SIGHTINGS: Final = 2
"""A text is worth to be looked into when one of its shape comes for the second time."""
_COMPARED: Final = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)
_OPERATORS: Final = frozenset({"=", "<", ">", "<=", ">="})


@dataclass(slots=True)
class _Known:
    """``holes``: for each literal whether it may change; where not, its text is that of ``texts``."""

    sightings: int = 0
    shape: Shape | None = None
    texts: tuple[str, ...] = ()
    holes: tuple[bool, ...] = ()

    def shaped(self, texts: Sequence[str]) -> Shaped | None:
        if self.shape is None:
            return None
        values = []
        for text, known, is_hole in zip(texts, self.texts, self.holes, strict=True):
            if is_hole:
                values.append(text)
            elif text != known:
                return None
        return Shaped(self.shape, tuple(values))


class Shapes:
    """The shapes seen last. Lives on one event loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def find(self, text: str) -> Shaped | None:
        """What ``text`` is, if a statement of its shape was `seen` often enough."""
        if len(text) > _TEXT_MAX:
            return None
        rest, texts = _cut(text)
        known = self._known.get(rest)
        if known is None or known.shape is None or not text.isascii():
            return None
        self._known.move_to_end(rest)
        return known.shaped(texts)

    def seen(self, source: Source, query: exp.Expression) -> None:
        """``query`` was parsed from ``source`` and runs as it stands: no hints, nothing done beside it."""
        if len(source.text) > _TEXT_MAX:
            return
        rest, texts = _cut(source.text)
        known = self._known.setdefault(rest, _Known())
        known.sightings += 1
        if known.sightings == _SIGHTINGS:
            found = _with_holes(source.text, query, texts)
            if found is not None:
                tree, holes = found
                known.shape = Shape(tree, source.text, tuple(holes.values()))
                known.texts = tuple(texts)
                known.holes = tuple(at in holes for at in range(len(texts)))
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)


def _cut(text: str) -> tuple[str, list[str]]:
    """``text`` without what stands in its plain literals, and that."""
    parts = _LITERAL.split(text)
    return "\0".join(parts[::2]), parts[1::2]


def _with_holes(
    text: str, query: exp.Expression, texts: Sequence[str]
) -> tuple[exp.Expression, dict[int, exp.Literal]] | None:
    """A tree like ``query``, and those of its literals that may change, by their number in the text.

    None where reader, parser and this module do not see the same literals.
    """
    if "\0" in text or not text.isascii():
        return None
    pieces = read_source(text).pieces
    strings = [at for at, piece in enumerate(pieces) if piece.part is Part.STRING]
    if [(pieces[at].start, pieces[at].end) for at in strings] != [
        one.span() for one in _LITERAL.finditer(text)
    ]:
        return None
    marks = [
        f"z4 hole {number}" if _is_compared(pieces, at) else known
        for number, (at, known) in enumerate(zip(strings, texts, strict=True))
    ]
    marked = iter(marks)
    try:
        tree = QueryParser().parse(read_source(_LITERAL.sub(lambda _: f"'{next(marked)}'", text)))
    except SqlError:
        return None
    where = tree.args.get("where")
    holes: dict[int, exp.Literal] = {}
    numbers = {mark: number for number, mark in enumerate(marks) if mark != texts[number]}
    if not isinstance(tree, exp.Select) or where is None:
        return None
    for node in tree.find_all(exp.Literal):
        at = numbers.get(node.this) if node.is_string else None
        if at is not None:
            if isinstance(node.parent, _COMPARED) and node.find_ancestor(exp.Where, exp.Query) is where:
                holes[at] = node
            node.set("this", texts[at])
    return (tree, dict(sorted(holes.items()))) if holes and tree == query else None


def _is_compared(pieces: Sequence[Piece], at: int) -> bool:
    """Whether the literal may be one that is compared; others are left alone: paths, formats."""
    before, behind = (
        pieces[there].value if there in range(len(pieces)) else "" for there in (at - 1, at + 1)
    )
    return before in _OPERATORS or before in ("BETWEEN", "AND") or behind in _OPERATORS
