"""Folding of functions that choose among constants, or make a text or an instant of them.

Arguments of mixed types are left to the engine, and so are texts that a collation may take for equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, Final

from sqlglot import exp

from z4sql.sql.engine.temporal_text import read_time
from z4sql.sql.introducers import constant_bytes, introduced
from z4sql.sql.planner.constants import (
    DAY_US,
    Bytes,
    Constant,
    Moment,
    Null,
    Number,
    Span,
    Text,
    add_months,
)

if TYPE_CHECKING:
    from z4sql.sql.planner.fold import Folder

Handler = Callable[["Folder", exp.Expression], Constant | None]

_PLAIN: Final = re.compile(r"[0-9A-Za-z]*", re.ASCII)
_TEXT_MAX: Final = 4096
_EXACT_COLLATION: Final = "utf8mb4_0900_bin"
"""That of the columns which bound a scan. Others take more texts for equal."""
_TO_1970: Final = 1970 * 12
_COMPARISONS: Final[dict[type[exp.Expression], Callable[[Decimal | int, Decimal | int], bool]]] = {
    exp.EQ: eq,
    exp.NEQ: ne,
    exp.LT: lt,
    exp.LTE: le,
    exp.GT: gt,
    exp.GTE: ge,
}


def constant_query(node: exp.Expression | None) -> exp.Expression | None:
    """The one expression of ``(SELECT expression)`` without FROM."""
    while isinstance(node, (exp.Subquery, exp.Paren)):
        if any(value for name, value in node.args.items() if name != "this"):
            return None
        node = node.this
    if not isinstance(node, exp.Select) or len(node.expressions) != 1:
        return None
    if any(value for name, value in node.args.items() if name != "expressions"):
        return None
    only = node.expressions[0].unalias()
    return only if isinstance(only, exp.Expression) else None


def makedate(folder: Folder, arguments: Sequence[exp.Expression]) -> Constant | None:
    """MySQL manual: MAKEDATE()."""
    folded = [folder.fold(each) for each in arguments]
    if any(isinstance(each, Null) for each in folded):
        return Null()
    year, day = (_whole(each) for each in folded)
    if year is None or day is None or not 0 <= year <= 9999:
        return None
    if not 0 < day < 3_700_000:
        return Null()
    full = year + (2000 if year < 70 else 1900) if year < 100 else year
    first = add_months(0, full * 12 - _TO_1970)
    return None if first is None else Span(0, (day - 1) * DAY_US, True).after(Moment(first, is_date=True))


def timestamp_with_time(folder: Folder, node: exp.Expression) -> Constant | None:
    """``TIMESTAMP(instant, time)``. MySQL manual: TIMESTAMP()."""
    moment, added = folder.moment_of(node.this), folder.fold(node.args["zone"])
    if isinstance(moment, Null) or isinstance(added, Null):
        return Null()
    if moment is None or not isinstance(added, Text):
        return None
    time_us, whole = read_time(added.value)
    return Span(0, time_us, False).after(Moment(moment.naive_us)) if whole and time_us is not None else None


def _whole(constant: Constant | None) -> int | None:
    if not isinstance(constant, Number) or constant.value != constant.value.to_integral_value():
        return None
    return int(constant.value)


def _alike(constants: Sequence[Constant | None]) -> list[Constant] | None:
    """What is not NULL, as one type; None where the types differ or one is unknown."""
    present = [each for each in constants if not isinstance(each, Null)]
    kinds = {type(each) for each in present}
    if len(kinds) > 1 or kinds & {type(None), Bytes}:
        return None
    found: list[Constant] = []
    dates = all(isinstance(each, Moment) and each.is_date for each in present)
    for each in present:
        match each:
            case Moment():
                found.append(Moment(each.naive_us, dates))
            case Text():
                found.append(Text(each.value, literal=False))
            case Number():
                found.append(each)
            case _:
                return None
    return found


def _concat(folder: Folder, node: exp.Expression) -> Constant | None:
    parts, null = [], False
    for each in node.expressions:
        constant = folder.fold(each)
        match constant:
            case Null():
                null = True
            case Text():
                parts.append(constant.value)
            case Number() if isinstance(each, exp.Literal) and each.is_int:
                parts.append(str(int(constant.value)))
            case _:
                return None
    text = "".join(parts)
    return Null() if null else Text(text, literal=False) if len(text) <= _TEXT_MAX else None


def _coalesce(folder: Folder, node: exp.Expression) -> Constant | None:
    present = _alike([folder.fold(each) for each in (node.this, *node.expressions)])
    if present is None:
        return None
    return present[0] if present else Null()


def _if(folder: Folder, node: exp.Expression) -> Constant | None:
    condition, no = folder.fold(node.this), node.args.get("false")
    branches = [folder.fold(node.args["true"]), Null() if no is None else folder.fold(no)]
    if not isinstance(condition, (Number, Null)) or _alike(branches) is None:
        return None
    chosen = branches[0 if isinstance(condition, Number) and condition.value else 1]
    if isinstance(chosen, Moment):
        dates = all(each.is_date for each in branches if isinstance(each, Moment))
        return Moment(chosen.naive_us, dates)
    return Text(chosen.value, literal=False) if isinstance(chosen, Text) else chosen


def _extreme(folder: Folder, node: exp.Expression) -> Constant | None:
    """GREATEST and LEAST: NULL when any is; texts are the collation's matter."""
    folded = [folder.fold(each) for each in (node.this, *node.expressions)]
    present = _alike(folded)
    if present is None or (present and isinstance(present[0], Text)):
        return None
    if len(present) < len(folded):
        return Null()
    choose = max if isinstance(node, exp.Greatest) else min
    return choose(present, key=_size)


def _size(constant: Constant) -> Decimal | int:
    assert isinstance(constant, (Number, Moment))
    return constant.value if isinstance(constant, Number) else constant.naive_us


def _compared(folder: Folder, node: exp.Expression) -> Constant | None:
    """``1 = 1`` and the like, inside other expressions."""
    pair = folder.fold(node.this), folder.fold(node.expression)
    if any(isinstance(each, Null) for each in pair):
        return Null()
    one, other = pair
    holds: bool | None = None
    if (isinstance(one, Number) and isinstance(other, Number)) or (
        isinstance(one, Moment) and isinstance(other, Moment)
    ):
        holds = _COMPARISONS[type(node)](_size(one), _size(other))
    elif isinstance(node, (exp.EQ, exp.NEQ)):
        same = _same_text(node.this, node.expression, one, other)
        holds = None if same is None else same == isinstance(node, exp.EQ)
    return None if holds is None else Number(Decimal(holds))


def _same_text(
    node: exp.Expression, node_other: exp.Expression, one: Constant | None, other: Constant | None
) -> bool | None:
    if not isinstance(one, Text) or not isinstance(other, Text):
        return None
    if any(each.find(exp.Collate, exp.Cast, exp.Subquery) for each in (node, node_other)):
        return None
    if one.value == other.value:
        return True
    if _PLAIN.fullmatch(one.value) and _PLAIN.fullmatch(other.value):
        return one.value.lower() == other.value.lower()
    return None


def _nullif(folder: Folder, node: exp.Expression) -> Constant | None:
    value = folder.fold(node.this)
    equal = _compared(folder, exp.EQ(this=node.this.copy(), expression=node.expression.copy()))
    if not isinstance(equal, (Number, Null)) or value is None:
        return None
    if isinstance(equal, Number) and equal.value:
        return Null()
    return Text(value.value, literal=False) if isinstance(value, Text) else value


def _case_mapped(folder: Folder, node: exp.Expression) -> Constant | None:
    constant = folder.fold(node.this)
    if not isinstance(constant, Text):
        return constant if isinstance(constant, Null) else None
    if not constant.value.isascii():
        return None
    changed = constant.value.lower() if isinstance(node, exp.Lower) else constant.value.upper()
    return Text(changed, literal=False)


def _collated(folder: Folder, node: exp.Expression) -> Constant | None:
    constant = folder.fold(node.this)
    if node.expression.name.lower() != _EXACT_COLLATION or not isinstance(constant, Text):
        return None
    return Text(constant.value, literal=False)


def _bytes(_: Folder, node: exp.Expression) -> Constant | None:
    data = constant_bytes(node)
    return None if data is None else Bytes(data)


def _introducer(_: Folder, node: exp.Expression) -> Constant | None:
    constant = introduced(node)
    return Bytes(constant) if isinstance(constant, bytes) else Text(constant)


def _subquery(folder: Folder, node: exp.Expression) -> Constant | None:
    only = constant_query(node)
    constant = None if only is None else folder.fold(only)
    return Text(constant.value, literal=False) if isinstance(constant, Text) else constant


CHOICES: Final[dict[type[exp.Expression], Handler]] = {
    exp.Concat: _concat,
    exp.Coalesce: _coalesce,
    exp.If: _if,
    exp.Nullif: _nullif,
    exp.Greatest: _extreme,
    exp.Least: _extreme,
    exp.Lower: _case_mapped,
    exp.Upper: _case_mapped,
    exp.Collate: _collated,
    exp.HexString: _bytes,
    exp.BitString: _bytes,
    exp.Introducer: _introducer,
    exp.Subquery: _subquery,
    **dict.fromkeys(_COMPARISONS, _compared),
}
