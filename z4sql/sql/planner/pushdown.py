"""What else a scan can be spared: rows by a byte needle, the sort, whole queries that keys answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from json.encoder import encode_basestring as _quote
from typing import Final

from sqlglot import exp

from z4sql.sql.planner.predicates import DELIVER_AT, ID, NAMESPACE
from z4sql.sql.planner.references import Condition, Frame, References, Source
from z4sql.sql.planner.shape import bare
from z4sql.sql.types import TableDefinition

METADATA: Final = "metadata"
STATE: Final = "state"
_COUNTING: Final = (exp.Count, exp.Sum, exp.Min, exp.Max, exp.Avg)
_FIRST_ROWS_MIN: Final = 128
_FIRST_ROWS_MAX: Final = 16_384
_PLAIN_KEY: Final = re.compile(r'[^"\\\x00-\x1f]+')


class Fact(Enum):
    """A number that keys alone tell."""

    COUNT = auto()
    FIRST = auto()
    LAST = auto()


@dataclass(slots=True, frozen=True)
class Shortcut:
    """The answer is one row: these facts of the ranges of ``source``."""

    source: str
    facts: tuple[Fact, ...]


@dataclass(slots=True, frozen=True)
class KeyOrder:
    """The query's ORDER BY is the order of keys. ``by_id``: only as long as no task was moved."""

    descending: bool
    by_id: bool


def needle(condition: Condition, source: Source, references: References) -> bytes | None:
    """Bytes that the stored metadata of every row has of which ``condition`` is TRUE."""
    node = bare(condition.node)
    if isinstance(node, exp.In) and len(node.expressions) == 1 and not node.args.get("query"):
        left, right = node.this, node.expressions[0]
    elif isinstance(node, exp.EQ):
        left, right = bare(node.this), bare(node.expression)
        if isinstance(left, exp.Literal):
            left, right = right, left
    else:
        return None
    if not isinstance(right, exp.Literal) or not right.is_string:
        return None
    unquoted = isinstance(left, exp.JSONExtractScalar)
    if isinstance(left, exp.Anonymous) and left.name.upper() == "JSON_UNQUOTE" and len(left.expressions) == 1:
        left, unquoted = left.expressions[0], True
    if not isinstance(left, (exp.JSONExtract, exp.JSONExtractScalar)) or left.expressions:
        return None
    key = _member(left.expression)
    if key is None or not isinstance(left.this, exp.Column):
        return None
    place = references.place(left.this, condition.frame, source)
    if place is None or place.source is not source or place.column != METADATA:
        return None
    # Text that JSON_UNQUOTE gives compares without regard to trailing spaces (utf8mb4_bin is PAD SPACE).
    value = _quote(right.name.rstrip(" "))[:-1] if unquoted else _quote(right.name)
    return f"{_quote(key)}: {value}".encode()


def of_state(condition: Condition, source: Source, references: References) -> bool:
    """Whether ``condition`` depends on the state of the row of ``source``, and on nothing else of any row."""
    if condition.node.find(exp.Query) is not None:
        return False
    places = [references.place(one, condition.frame, source) for one in condition.node.find_all(exp.Column)]
    return all(one is not None and one.source is source and one.column == STATE for one in places)


def tallies(select: exp.Select, table: TableDefinition) -> bool:
    """Whether the answer is made of counts of the rows of ``table`` by namespace and state.

    Everything but the conditions is looked at. An alias that is called like a column may hide it, or not.
    """
    if any(select.args.get(name) for name in ("joins", "laterals", "windows", "with_")):
        return False
    aliases = {shown.alias.lower() for shown in select.expressions if isinstance(shown, exp.Alias)}
    if any(table.column(alias) is not None for alias in aliases):
        return False
    known = aliases | {STATE, NAMESPACE}
    counted = False
    for name, part in select.args.items():
        for clause in () if name in ("where", "from_") else part if isinstance(part, list) else [part]:
            for node in clause.walk() if isinstance(clause, exp.Expression) else ():
                if isinstance(node, (exp.Query, exp.Window, exp.Parameter, exp.Anonymous)):
                    return False
                if isinstance(node, exp.Column) and node.name.lower() not in known:
                    return False
                if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
                    return False
                if isinstance(node, exp.AggFunc):
                    if not isinstance(node, _COUNTING):
                        return False
                    counted = True
    return counted


def _member(path: exp.Expression) -> str | None:
    """``k`` of the path ``$.k``."""
    steps = path.expressions if isinstance(path, exp.JSONPath) else []
    if (
        len(steps) != 2
        or not isinstance(steps[0], exp.JSONPathRoot)
        or not isinstance(steps[1], exp.JSONPathKey)
    ):
        return None
    key = steps[1].this
    return key if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else None


def streams(select: exp.Select, frame: Frame) -> bool:
    """Whether the answer's rows are single rows of one table: what comes first can be given first."""
    arguments = select.args
    if any(arguments.get(name) for name in ("group", "having", "distinct", "windows", "qualify", "with_")):
        return False
    if len(frame.sources) != 1 or frame.sources[0].table is None:
        return False
    # A subquery or an aggregate anywhere: not worth telling the harmless ones apart.
    return not any(
        isinstance(node, (exp.AggFunc, exp.AnonymousAggFunc, exp.Window, exp.Query)) and node is not select
        for node in select.walk()
    )


def first_rows(select: exp.Select) -> int:
    """Rows worth reading at first for a LIMIT; the usual size without one."""
    limit = _whole(select.args.get("limit"))
    if limit is None:
        return _FIRST_ROWS_MAX
    offset = _whole(select.args.get("offset")) or 0
    return min(max(limit + offset, _FIRST_ROWS_MIN), _FIRST_ROWS_MAX)


def _whole(clause: exp.Expression | None) -> int | None:
    if clause is None or not isinstance(clause.expression, exp.Literal) or not clause.expression.is_int:
        return None
    return int(clause.expression.name)


def key_order(select: exp.Select, frame: Frame, references: References) -> KeyOrder | None:
    """How the keys' order answers ``ORDER BY deliver_at [, id] ... LIMIT n``; None when it does not.

    An alias of the select list hides the column of that name, so any such alias is enough to decline.
    """
    order, limit = select.args.get("order"), select.args.get("limit")
    if order is None or limit is None or order.args.get("siblings"):
        return None
    source = frame.sources[0]
    aliases = {shown.alias.lower() for shown in select.expressions if isinstance(shown, exp.Alias)}
    wanted = [DELIVER_AT, ID]
    directions = set()
    for position, ordered in enumerate(order.expressions):
        column = ordered.this
        if position >= len(wanted) or not isinstance(column, exp.Column) or ordered.args.get("with_fill"):
            return None
        place = references.place(column, frame, source)
        if place is None or place.column != wanted[position] or column.name.lower() in aliases:
            return None
        directions.add(bool(ordered.args.get("desc")))
    if len(directions) != 1:
        return None
    return KeyOrder(directions.pop(), by_id=len(order.expressions) > 1)


def shortcut(select: exp.Select, frame: Frame, references: References, source: str) -> Shortcut | None:
    """COUNT(*), MIN(deliver_at) and MAX(deliver_at), and nothing else, of one table."""
    allowed = {"expressions", "from_", "where"}
    if any(value and name not in allowed for name, value in select.args.items()):
        return None
    if len(frame.sources) != 1 or not select.expressions:
        return None
    facts = [_fact(shown.unalias(), frame, references) for shown in select.expressions]
    known = tuple(fact for fact in facts if fact is not None)
    return Shortcut(source, known) if len(known) == len(facts) else None


def _fact(node: exp.Expression, frame: Frame, references: References) -> Fact | None:
    inside = node.this
    if isinstance(node, exp.Count) and not node.expressions:
        counts_rows = isinstance(inside, exp.Star) or (
            isinstance(inside, exp.Literal) and not inside.is_string
        )
        return Fact.COUNT if counts_rows else None
    if isinstance(node, (exp.Min, exp.Max)) and isinstance(inside, exp.Column) and not node.expressions:
        place = references.place(inside, frame, frame.sources[0])
        if place is not None and place.column == DELIVER_AT:
            return Fact.FIRST if isinstance(node, exp.Min) else Fact.LAST
    return None
