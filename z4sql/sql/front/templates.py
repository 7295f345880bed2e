"""Prepared queries that are parsed once: the tree is kept with holes where values go.

Where a value decides how the text around it is parsed (a JSON path, the format of a date, a sign), there is
no hole in the tree to be found, and the statement is parsed anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.front.headers import PreparedHeader, as_prepared, prepared_headers
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.prepared import bind, counting, literal
from z4sql.sql.front.source import Part, Source, read_source
from z4sql.sql.front.verbs import QUERY_WORDS
from z4sql.sql.result import Parameter, Prepared
from z4sql.sql.types import ResultColumn

_HOLE: Final = "hole"
_TEXT_MAX: Final = 4 << 10
"""Characters of a text that is worth it: longer ones are parsed beside the event loop."""
_KINDS_MAX: Final = 8
_ESCAPED: Final = frozenset("\\'\0\n\r\x1a")
_NUMBER: Final = 7_310_004_000_000
_PLACES: Final = (exp.Predicate, exp.Limit, exp.Offset, exp.Paren, exp.Tuple, exp.Select, exp.Add, exp.Sub)
"""Where a value is a value. Elsewhere it may be read when it is parsed: as a path, a format, a unit."""
_Kinds = tuple[object, ...]


@dataclass(slots=True)
class Templates:
    """Of one prepared statement, by the kinds of its values. ``source`` has the placeholders, and no pieces
    when it is too long to be worth it."""

    source: Source
    offsets: tuple[int, ...]
    counts: tuple[bool, ...]
    _trees: dict[_Kinds, exp.Expression | None] = field(default_factory=dict)

    def parsed(self, text: str, values: Sequence[Parameter]) -> tuple[Source, exp.Expression] | None:
        """The statement with ``values``, whose text is ``text``; None where it has to be read and parsed."""
        kinds = self._kinds(text, values)
        tree = None if kinds is None else self._trees.get(kinds)
        return None if tree is None else (self._source(text), _filled(tree, values))

    def learn(self, text: str, values: Sequence[Parameter], parser: QueryParser) -> None:
        """Keep the tree for values of this kind, if it is the one that ``text`` is parsed to."""
        kinds = self._kinds(text, values)
        if kinds is None or kinds in self._trees or len(self._trees) >= _KINDS_MAX:
            return
        self._trees[kinds] = None
        parsed = parser.known(self._source(text))
        tree = self._with_holes(values)
        if tree is not None and parsed is not None and _filled(tree, values) == parsed:
            self._trees[kinds] = tree

    def _kinds(self, text: str, values: Sequence[Parameter]) -> _Kinds | None:
        if not self.offsets or len(text) > _TEXT_MAX or self.source.word(0) not in QUERY_WORDS:
            return None
        kinds = tuple(
            "count" if counted else _kind(value) for value, counted in zip(values, self.counts, strict=True)
        )
        return None if None in kinds else kinds

    def _with_holes(self, values: Sequence[Parameter]) -> exp.Expression | None:
        marks = [
            _mark(at, _NUMBER if counted else value)
            for at, (value, counted) in enumerate(zip(values, self.counts, strict=True))
        ]
        try:
            source = read_source(bind(self.source.text, self.offsets, marks, self.counts))
            tree = QueryParser().parse(source)
        except SqlError:
            return None
        sought = {
            _written(mark): at
            for at, mark in enumerate(marks)
            if mark is not None and not isinstance(mark, bool)
        }
        for node in tree.find_all(exp.Literal, exp.HexString):
            at = sought.pop(str(node.this), None)
            if at is not None and not isinstance(node.parent, _PLACES):
                return None
            if at is not None:
                node.meta[_HOLE] = at
        return tree if not sought else None

    def _source(self, text: str) -> Source:
        """As read from ``text``, but for what stands in the places of values, which nobody asks for."""
        pieces = tuple(
            replace(piece, part=Part.STRING, value="") if piece.part is Part.PARAMETER else piece
            for piece in self.source.pieces
        )
        return Source(text, pieces, self.source.hints)


@dataclass(slots=True)
class Placed(Prepared):
    """A prepared statement with its text read and its placeholders found."""

    text: str
    templates: Templates
    headers: tuple[PreparedHeader, ...]


def placed(sql: str, source: Source, offsets: tuple[int, ...], columns: tuple[ResultColumn, ...]) -> Placed:
    """``sql``, which was read as ``source``, to be kept; pieces of a long text are many times its size."""
    counts = counting(source)
    kept = source if len(source.text) <= _TEXT_MAX else replace(source, pieces=())
    headers = prepared_headers(source.text, offsets)
    nothing = [1 if counted else None for counted in counts]
    shown = as_prepared(columns, headers, nothing)
    return Placed(sql, len(offsets), shown, source.text, Templates(kept, offsets, counts), headers)


def _kind(value: Parameter) -> object:
    """What the tree depends on; None for values that are not put into holes."""
    match value:
        case None | bool():
            return repr(value)
        case str():
            return None if _ESCAPED.intersection(value) else "text"
        case int() | float() | Decimal():
            return type(value) if value >= 0 else None
        case bytes():
            return "bytes"
        case datetime() | date() | timedelta():
            return "text"


def _mark(at: int, value: Parameter) -> Parameter:
    """A value of the same kind that stands nowhere else; NULL, TRUE and FALSE stand for themselves."""
    match value:
        case None | bool():
            return value
        case int():
            return _NUMBER + at
        case float():
            return 7.310004 + at / 1024
        case Decimal():
            return Decimal(_NUMBER + at) + Decimal("0.731")
        case bytes():
            return b"z4 hole %d" % at
        case _:
            return f"z4 hole {at}"


def _written(value: Parameter) -> str:
    """The value as it stands in the tree."""
    text = literal(value)
    return text[2:-1] if isinstance(value, bytes) else text[1:-1] if text.startswith("'") else text


def _filled(tree: exp.Expression, values: Sequence[Parameter]) -> exp.Expression:
    tree = tree.copy()
    for node in list(tree.find_all(exp.Literal, exp.HexString)):
        at = node.meta.get(_HOLE)
        if at is not None:
            node.set("this", _counted(values[at]) if _is_count(node) else _written(values[at]))
    return tree


def _is_count(node: exp.Expression) -> bool:
    return isinstance(node.parent, (exp.Limit, exp.Offset))


def _counted(value: Parameter) -> str:
    """A number of rows, however a client sends it; it was checked before."""
    return str(int(value)) if isinstance(value, (int, float, Decimal, str)) else ""
