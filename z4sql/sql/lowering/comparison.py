"""Comparing values of any types. MySQL manual: Comparison Functions; Ordering of JSON Values."""

from __future__ import annotations

import re

from sqlglot import exp

from z4sql.sql.engine.temporal_text import datetime_of_number
from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.conversion import (
    alike,
    as_bytes,
    as_text,
    clock_time,
    common_collation,
    instant,
    number,
    truth,
)
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.json_values import json_string, order_key, truth_of
from z4sql.sql.lowering.precision import unrounded
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import BOOL, INSTANTS, NUMBERS, Typed, constant_text, datetime, quoted
from z4sql.sql.planner.constants import Bytes, Number
from z4sql.sql.planner.fold import Folder
from z4sql.sql.planner.shape import bare, row
from z4sql.sql.temporal import naive_text, parse_temporal
from z4sql.sql.types import Collation, Kind

_ENGINE = {"=": "=", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "<=>": "is not distinct from"}
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_TEMPORAL = INSTANTS | {Kind.DATE}
_LISTED_MIN = 9
_CONVERTED = NUMBERS | {Kind.BINARY}
"""What a constant may be that a column of instants is compared with; texts see `_comparable_instant`."""


def key(sql: str, collation: Collation) -> str:
    """What stands for a text so that equal keys are equal texts, in the same order."""
    match collation:
        case Collation.BIN:
            return f"rtrim({sql},' ')"
        case Collation.AI_CI:
            return f"my_ci({sql})"
        case Collation.BIN_0900 | Collation.BINARY:
            return sql


def ordered_key(sql: str, collation: Collation) -> str:
    """As `key`, in the order of the collation."""
    return f"my_ci_order({sql})" if collation is Collation.AI_CI else key(sql, collation)


def group_key(value: Typed) -> str:
    """What to group, order and compare rows by."""
    if value.stored:
        # A clock that is put back shows two instants alike, and would mix the order of those around them.
        return value.stored
    if value.kind is Kind.STRING:
        return key(value.sql, value.type.collation)
    if value.kind is Kind.JSON:
        return json_string(value) or (value.sql if value.type.flat else order_key(value))
    return value.sql


def order_text(value: Typed) -> str:
    """What to order rows by; also what the least and the greatest are found by."""
    if value.kind is Kind.STRING and not value.stored:
        return ordered_key(value.sql, value.type.collation)
    return order_key(value) if value.type.flat else group_key(value)


def compare(lowering: Lowering, operator: str, left: Typed, right: Typed) -> Typed:
    """``left operator right`` as a condition."""
    kinds = {left.kind, right.kind}
    if left.stored and right.stored:
        return _plain(operator, left.stored, right.stored)
    if Kind.NULL in kinds:
        if operator != "<=>":
            return Typed("null::boolean", BOOL)
        other = right if left.kind is Kind.NULL else left
        return Typed(f"(({other.sql}) is null)", BOOL)
    if kinds <= NUMBERS:
        return _plain(operator, unrounded(number(left)).sql, unrounded(number(right)).sql)
    if Kind.JSON in kinds:
        return _compare_json(operator, left, right)
    if kinds & _TEMPORAL:
        return _compare_instants(lowering, operator, left, right)
    if Kind.TIME in kinds:
        return _plain(operator, _time(left), _time(right))
    if Kind.BINARY in kinds and kinds <= {Kind.BINARY, Kind.STRING}:
        return _plain(operator, as_bytes(left), as_bytes(right))
    if kinds == {Kind.STRING}:
        collation = common_collation(left.type, right.type)
        by = ordered_key if operator in _MIRRORED else key
        return _plain(operator, by(left.sql, collation), by(right.sql, collation))
    return _plain(operator, f"({number(left).sql})::double", f"({number(right).sql})::double")


def _plain(operator: str, left: str, right: str) -> Typed:
    return Typed(f"({left} {_ENGINE[operator]} {right})", BOOL)


def _time(value: Typed) -> str:
    if value.kind is Kind.TIME:
        return value.sql
    return clock_time(value).sql


def _compare_json(operator: str, left: Typed, right: Typed) -> Typed:
    """MySQL manual: Comparison and Ordering of JSON Values."""
    strings = [json_string(side) for side in (left, right)]
    if None not in strings:
        return _plain(operator, str(strings[0]), str(strings[1]))
    return _plain(operator, order_key(left), order_key(right))


def _compare_instants(lowering: Lowering, operator: str, left: Typed, right: Typed) -> Typed:
    if left.kind is Kind.DATE and right.kind is Kind.DATE:
        return _plain(operator, left.sql, right.sql)
    if any(side.kind in NUMBERS and not _is_date_number(side) for side in (left, right)):
        return _plain(operator, number(left).double, number(right).double)
    return _plain(operator, _comparable_instant(lowering, left), _comparable_instant(lowering, right))


def _is_date_number(value: Typed) -> bool:
    """Whether a constant reads as a date; other numbers compare with a datetime's YYYYMMDDHHMMSS."""
    match = re.fullmatch(r"(\d+)::bigint", value.sql)
    return match is not None and datetime_of_number(match[1]) is not None


def _comparable_instant(lowering: Lowering, value: Typed) -> str:
    text = constant_text(value) if value.type.literal else None
    if text is not None:
        return literal_instant(lowering, text)
    if value.kind is Kind.STRING:
        # A text that is no date counts as 0000-00-00, which is before all others.
        return (
            f"(case when {value.sql} is not null then"
            f" coalesce(my_datetime({value.sql}),timestamp '0001-01-01 00:00:00') end)"
        )
    return instant(value, lowering.day_of(value)).sql


def literal_instant(lowering: Lowering, text: str) -> str:
    """A text constant as an instant of the session's zone. :raises BadTemporal: (1525) when it is none."""
    parsed = parse_temporal(text)
    return f"timestamp {quoted(naive_text(parsed.local_us(lowering.context.time_zone)))}"


def _comparison(operator: str, kind: type[exp.Expression]) -> None:
    @lowers(kind, reads="this expression")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        left, right = node.args["this"], node.args["expression"]
        if isinstance(right, (exp.All, exp.Any)):
            if row(bare(left)) is not None:
                return _quantified_rows(lowering, operator, left, right)
            return _quantified(lowering, operator, left, right)
        return _compare_nodes(lowering, operator, left, right)


for _operator, _kind in (
    ("=", exp.EQ),
    ("<>", exp.NEQ),
    ("<", exp.LT),
    ("<=", exp.LTE),
    (">", exp.GT),
    (">=", exp.GTE),
    ("<=>", exp.NullSafeEQ),
):
    _comparison(_operator, _kind)


_Side = tuple[Typed, exp.Expression]


def _compare_nodes(lowering: Lowering, operator: str, left: exp.Expression, right: exp.Expression) -> Typed:
    from z4sql.sql.lowering.row_comparison import compare_rows

    rows = compare_rows(lowering, operator, left, right)
    if rows is not None:
        return rows
    one, other = (lowering.expression(left), left), (lowering.expression(right), right)
    return compare(lowering, operator, *converted(lowering, one, other))


def converted(lowering: Lowering, one: _Side, other: _Side) -> tuple[Typed, Typed]:
    """Two sides of a comparison: a constant that a column of instants is compared with as an instant.

    MySQL manual: Type Conversion in Expression Evaluation. The planner reads such constants alike.

    :raises BadTemporal: it is none
    """
    return _beside(lowering, one, other), _beside(lowering, other, one)


def _beside(lowering: Lowering, side: _Side, other: _Side) -> Typed:
    value, node = side
    if other[0].kind is Kind.JSON:
        return truth_of(node) or value
    if value.kind not in _CONVERTED or other[0].kind not in INSTANTS:
        return value
    if not isinstance(bare(other[1]), exp.Column):
        return value
    folder = Folder(lowering.context)
    constant = folder.fold(bare(node))
    moment = folder.naive(constant) if isinstance(constant, (Number, Bytes)) else None
    if moment is None:
        return value
    return Typed(f"timestamp {quoted(naive_text(moment.naive_us))}", datetime(6))


def _quantified(lowering: Lowering, operator: str, left: exp.Expression, right: exp.Expression) -> Typed:
    from z4sql.sql.lowering.query import lower_query

    value = lowering.expression(left)
    query = right.this.this if isinstance(right.this, exp.Subquery) else right.this
    inner = lower_query(lowering, query)
    if len(inner.columns) != 1:
        raise SqlError("Operand should contain 1 column(s)", code=1241, state="21000")
    every, kind = isinstance(right, exp.All), inner.columns[0][1]
    if {value.kind, kind.kind} <= NUMBERS:
        word = "all" if every else "any"
        return Typed(f"({number(value).sql} {operator} {word} ({inner.sql}))", BOOL)
    holds = compare(lowering, operator, value, Typed("each_.cell", kind)).sql
    # Of no rows ALL is true and ANY false; NULL is in between.
    aggregate, without = ("bool_and", "true") if every else ("bool_or", "false")
    decided = f"{aggregate}({holds}) is {'false' if every else 'true'}"
    unknown = f"bool_or(({holds}) is null)"
    cases = f"case when count(*)=0 then {without} when {decided} then {'false' if every else 'true'}"
    whole = f"{cases} when {unknown} then null else {without} end"
    return Typed(f"(select {whole} from ({inner.sql}) as each_(cell))", BOOL)


@lowers(exp.Between, reads="this low high symmetric")
def _between(lowering: Lowering, node: exp.Expression) -> Typed:
    if node.args.get("symmetric"):
        raise unsupported("BETWEEN SYMMETRIC")
    bounds = (node.args["low"], node.args["high"])
    value, *limits = alike([lowering.expression(each) for each in (node.this, *bounds)])
    low, high = (
        compare(lowering, operator, *converted(lowering, (value, node.this), (limit, bound)))
        for operator, limit, bound in zip((">=", "<="), limits, bounds, strict=True)
    )
    return Typed(f"({low.sql} and {high.sql})", BOOL)


def other_column_count(count: int) -> SqlError:
    return SqlError(f"Operand should contain {count} column(s)", code=1241, state="21000")


@function("ROW", least=2, most=4096)
@lowers(exp.Tuple, reads="expressions")
def _row(_lowering: Lowering, _node: object) -> Typed:
    """:raises SqlError: a row where only one value may stand (1241)"""
    raise other_column_count(1)


@lowers(exp.In, reads="this expressions query")
def _in(lowering: Lowering, node: exp.Expression) -> Typed:
    if node.args.get("query") is not None:
        return _in_query(lowering, node)
    if row(node.this) is not None:
        rows = [_compare_nodes(lowering, "=", node.this, each).sql for each in node.expressions]
        return Typed("(" + " or ".join(rows) + ")", BOOL)
    value = lowering.expression(node.this)
    members = [lowering.expression(member) for member in node.expressions]
    if value.kind is Kind.STRING and all(member.kind is Kind.STRING for member in members):
        collation = common_collation(value.type, *(member.type for member in members))
        listed = ", ".join(key(member.sql, collation) for member in members)
        return Typed(f"({key(value.sql, collation)} in ({listed}))", BOOL)
    if len(members) >= _LISTED_MIN:
        looked_up = _in_numbers(value, members)
        if looked_up is not None:
            return looked_up
    parts = [
        compare(lowering, "=", *converted(lowering, (value, node.this), (member, each))).sql
        for member, each in zip(members, node.expressions, strict=True)
    ]
    return Typed("(" + " or ".join(parts) + ")", BOOL)


def _quantified_rows(lowering: Lowering, operator: str, left: exp.Expression, right: exp.Expression) -> Typed:
    """Rows are compared with all those of a query by IN and NOT IN alone. MySQL manual: Row Subqueries.

    :raises SqlError: any other comparison (1241)
    """
    if (operator, isinstance(right, exp.Any)) not in (("=", True), ("<>", False)):
        raise other_column_count(1)
    found = _in_query(lowering, exp.In(this=left, query=right.this))
    return found if operator == "=" else Typed(f"(not {found.sql})", BOOL)


def _in_numbers(value: Typed, members: list[Typed]) -> Typed | None:
    """A long list of whole numbers, where the engine can look values up instead of comparing with each."""
    if any(member.kind is not Kind.INT for member in members):
        return None
    listed = ", ".join(member.sql for member in members)
    if value.kind is Kind.INT:
        return Typed(f"({value.sql} in ({listed}))", BOOL)
    if value.kind is Kind.UINT:
        return Typed(f"(({value.sql})::hugeint in ({listed}))", BOOL)
    if value.kind is Kind.STRING:
        doubles = ", ".join(member.double for member in members)
        return Typed(f"({number(value).double} in ({doubles}))", BOOL)
    return None


def _in_query(lowering: Lowering, node: exp.Expression) -> Typed:
    from z4sql.sql.lowering.query import lower_query

    query = node.args["query"]
    if isinstance(query, exp.Subquery):
        query = query.this
    values = [lowering.expression(member) for member in row(bare(node.this)) or [node.this]]
    inner = lower_query(lowering, query)
    if len(inner.columns) != len(values):
        raise other_column_count(len(values))
    left, right = [], []
    for position, (value, (_, type_)) in enumerate(zip(values, inner.columns, strict=True)):
        column = Typed(f"in_.c{position}", type_)
        one, other = _joinable(value, column)
        left.append(one)
        right.append(other)
    names = ", ".join(f"c{position}" for position in range(len(values)))
    listed = f"select {', '.join(right)} from ({inner.sql}) as in_({names})"
    shown = left[0] if len(left) == 1 else f"({', '.join(left)})"
    return Typed(f"({shown} in ({listed}))", BOOL)


def _joinable(one: Typed, other: Typed) -> tuple[str, str]:
    """Both sides of an equality as the engine compares them plainly."""
    kinds = {one.kind, other.kind}
    if kinds == {Kind.STRING}:
        collation = common_collation(one.type, other.type)
        return key(one.sql, collation), key(other.sql, collation)
    if kinds <= NUMBERS:
        return number(one).sql, number(other).sql
    if kinds <= _TEMPORAL:
        return instant(one).sql, instant(other).sql
    if len(kinds) == 1 and Kind.JSON not in kinds:
        return one.sql, other.sql
    if Kind.NULL in kinds:
        return one.sql, other.sql
    raise unsupported("IN between " + " and ".join(sorted(kind.name for kind in kinds)))


@lowers(exp.Exists, reads="this")
def _exists(lowering: Lowering, node: exp.Expression) -> Typed:
    from z4sql.sql.lowering.query import lower_query

    query = node.this.this if isinstance(node.this, exp.Subquery) else node.this
    return Typed(f"exists({lower_query(lowering, query).sql})", BOOL)


@lowers(exp.Is, reads="this expression")
def _is(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    if isinstance(node.expression, exp.Null):
        return Typed(f"(({value.sql}) is null)", BOOL)
    if isinstance(node.expression, exp.Boolean):
        word = "true" if node.expression.this else "false"
        return Typed(f"(({truth(value)}) is {word})", BOOL)
    raise unsupported("IS")


@lowers(exp.Like, reads="this expression negate")
def _like(lowering: Lowering, node: exp.Expression) -> Typed:
    return _like_with_escape(lowering, node, "\\")


@lowers(exp.Escape, reads="this expression")
def _escape(lowering: Lowering, node: exp.Expression) -> Typed:
    if isinstance(node.this, exp.Like) and isinstance(node.expression, exp.Null):
        return _like(lowering, node.this)
    if not isinstance(node.this, exp.Like) or not isinstance(node.expression, exp.Literal):
        raise unsupported("ESCAPE")
    escape = str(node.expression.this)
    if len(escape) > 1:
        raise SqlError("Incorrect arguments to ESCAPE", code=1210)
    return _like_with_escape(lowering, node.this, escape)


def _like_with_escape(lowering: Lowering, node: exp.Expression, escape: str) -> Typed:
    value, pattern = lowering.expression(node.this), lowering.expression(node.expression)
    if Kind.BINARY in (value.kind, pattern.kind):
        left, right = (f"my_latin1({as_bytes(side)})" for side in (value, pattern))
    else:
        value, pattern = as_text(value), as_text(pattern)
        collation = common_collation(value.type, pattern.type)
        if collation is not Collation.AI_CI:
            collation = Collation.BIN_0900  # LIKE compares character by character, without padding
        left, right = key(value.sql, collation), key(pattern.sql, collation)
    word = "not like" if node.args.get("negate") else "like"
    constant = constant_text(pattern)
    if escape and (constant is None or constant.endswith(escape)):
        # At the end of a pattern it stands for itself; the engine refuses it there.
        right = f"my_pattern({right},{quoted(escape)})"
    return Typed(f"({left} {word} {right} escape {quoted(escape)})", BOOL)
