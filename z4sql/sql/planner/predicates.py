"""What a predicate says of the places where its rows can lie.

For each node: if it is TRUE (not FALSE, not NULL) of a row, where does that row lie? The answer may be too
wide, never too narrow. De Morgan's laws hold for the rows of which an expression is TRUE, in three-valued
logic too, so NOT is carried downwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from operator import and_, or_
from typing import Final

from sqlglot import exp

from z4sql.sql.planner.choices import constant_query
from z4sql.sql.planner.constants import DAY_US, Bytes, Constant, Moment, Null, Number, Text, instants
from z4sql.sql.planner.fold import Folder, midnight
from z4sql.sql.planner.region import EVER, EVERYWHERE, NEVER, NOWHERE, Intervals, Region, interval
from z4sql.sql.planner.shape import bare, row
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN
from z4sql.sql.temporal import fixed_offset_us

NAMESPACE: Final = "namespace"
DELIVER_AT: Final = "deliver_at"
ID: Final = "id"

Role = Callable[[exp.Column], tuple[str, bool] | None]
"""Which of the three columns above a column is, and whether it is the scanned table's own."""


@dataclass(slots=True, frozen=True)
class Bounds:
    """Rows of which a predicate is TRUE lie in ``region`` and, unless None, have one of ``ids``.

    ``namespace``, ``deliver_at``: whether the text bounds them. ``exact``: it is TRUE of all of the region.
    """

    region: Region = EVERYWHERE
    ids: frozenset[str] | None = None
    namespace: bool = False
    deliver_at: bool = False
    exact: bool = False

    def __and__(self, other: Bounds) -> Bounds:
        ids = self.ids if other.ids is None else other.ids if self.ids is None else self.ids & other.ids
        return Bounds(
            self.region & other.region,
            ids,
            self.namespace or other.namespace,
            self.deliver_at or other.deliver_at,
            self.exact and other.exact,
        )

    def __or__(self, other: Bounds) -> Bounds:
        ids = None if self.ids is None or other.ids is None else self.ids | other.ids
        return Bounds(
            self.region | other.region,
            ids,
            self.namespace and other.namespace,
            self.deliver_at and other.deliver_at,
            self.exact and other.exact,
        )

    @property
    def has_namespace(self) -> bool:
        return self.namespace and self.region.bounds_namespace

    @property
    def has_deliver_at(self) -> bool:
        return self.ids is not None or (self.deliver_at and self.region.bounds_time)


def _joined(parts: list[Bounds], join: Callable[[Bounds, Bounds], Bounds]) -> Bounds:
    """All of them, by halves: one after the other, each would copy the ids of all before it."""
    while len(parts) > 1:
        odd = parts[len(parts) - len(parts) % 2 :]
        parts = [join(parts[at], parts[at + 1]) for at in range(0, len(parts) - 1, 2)] + odd
    return parts[0]


UNKNOWN: Final = Bounds()
TRUE: Final = Bounds(exact=True)
NEVER_TRUE: Final = Bounds(NOWHERE, frozenset(), True, True, True)

_FLIPPED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<=", "<>": "<>"}
_NEGATED: Final = {"=": "<>", "<": ">=", "<=": ">", ">": "<=", ">=": "<", "<>": "="}
_OPERATORS: Final[dict[type[exp.Expression], str]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}

_FOLD_US: Final = 2 * 3_600_000_000
"""No zone is put back by more."""


class Predicates:
    """Reads predicates for one table reference; ``role`` says which columns are its own."""

    def __init__(self, folder: Folder, role: Role) -> None:
        self._folder = folder
        self._role = role

    def bounds(self, node: exp.Expression, *, negated: bool = False) -> Bounds:
        """:raises BadTemporal: deliver_at is compared with a literal that is no instant."""
        match node:
            case exp.Paren():
                return self.bounds(node.this, negated=negated)
            case exp.Not():
                return self.bounds(node.this, negated=not negated)
            case exp.And() | exp.Or():
                left = self.bounds(node.this, negated=negated)
                right = self.bounds(node.expression, negated=negated)
                return left & right if isinstance(node, exp.And) != negated else left | right
            case exp.Between() if not node.args.get("symmetric"):
                return self._between(node, negated)
            case exp.In():
                return self._in(node, negated)
            case exp.NullSafeEQ():
                return UNKNOWN if negated else self._compare("=", node.this, node.expression)
            case exp.Is():
                return self._is(node, negated)
            case exp.Like():
                return self._like(node, negated)
            case exp.Literal() | exp.Boolean() | exp.Null() | exp.Neg():
                return self._constant(node, negated)
        operator = _OPERATORS.get(type(node))
        if operator is None:
            return UNKNOWN
        if negated:
            operator = _NEGATED[operator]
        return self._compare(operator, node.this, node.expression)

    def _constant(self, node: exp.Expression, negated: bool) -> Bounds:
        constant = self._folder.fold(node)
        if isinstance(constant, Null):
            return NEVER_TRUE
        if isinstance(constant, Number):
            return TRUE if bool(constant.value) != negated else NEVER_TRUE
        return UNKNOWN

    def _between(self, node: exp.Expression, negated: bool) -> Bounds:
        low, high = node.args["low"], node.args["high"]
        if negated:
            return self._compare("<", node.this, low) | self._compare(">", node.this, high)
        return self._compare(">=", node.this, low) & self._compare("<=", node.this, high)

    def _in(self, node: exp.Expression, negated: bool) -> Bounds:
        alone = constant_query(node.args.get("query"))
        values = node.expressions if alone is None else [alone]
        if (
            not values
            or (alone is None and node.args.get("query"))
            or node.args.get("unnest")
            or node.args.get("field")
        ):
            return UNKNOWN
        of_another = isinstance(node.this, exp.Column) and self._role(node.this) is None
        if of_another and all(isinstance(value, exp.Literal) for value in values):
            return UNKNOWN
        if negated:
            return _joined([TRUE, *(self._compare("<>", node.this, value) for value in values)], and_)
        if isinstance(node.this, exp.Column):
            role = self._role(node.this)
            constants = [self._folder.fold(value) for value in values]
            if role is not None and role[0] == NAMESPACE and all(isinstance(c, Text) for c in constants):
                named = {constant.value: EVER for constant in constants if isinstance(constant, Text)}
                return Bounds(Region(named, NEVER), None, True, False, role[1])
        return _joined([NEVER_TRUE, *(self._compare("=", node.this, value) for value in values)], or_)

    def _is(self, node: exp.Expression, negated: bool) -> Bounds:
        if isinstance(node.expression, exp.Boolean) and not negated:
            found = self.bounds(node.this, negated=not node.expression.this)
            return replace(found, exact=False)
        return UNKNOWN

    def _like(self, node: exp.Expression, negated: bool) -> Bounds:
        pattern = self._folder.fold(node.expression)
        plain = isinstance(pattern, Text) and not set(pattern.value) & set("%_\\")
        if negated or node.args.get("negate") or not plain or not isinstance(node.this, exp.Column):
            return UNKNOWN
        role = self._role(node.this)
        if role is None or role[0] == DELIVER_AT:
            return UNKNOWN
        return self._compare("=", node.this, node.expression)

    def _compare(self, operator: str, left: exp.Expression, right: exp.Expression) -> Bounds:
        left, right = bare(left), bare(right)
        rows = row(left), row(right)
        if rows[0] is not None or rows[1] is not None:
            return self._compare_rows(operator, *rows)
        subject = self._subject(left)
        if subject is None:
            left, right, operator = right, left, _FLIPPED[operator]
            subject = self._subject(left)
        if subject is None:
            return self._compare_constants(operator, left, right)
        constant = self._folder.fold(right)
        if constant is None:
            return UNKNOWN
        if isinstance(constant, Null):
            return NEVER_TRUE
        what, own = subject
        found = _READERS[what](self, operator, constant)
        return found if own else replace(found, exact=False)

    def _compare_rows(
        self, operator: str, left: list[exp.Expression] | None, right: list[exp.Expression] | None
    ) -> Bounds:
        if left is None or right is None or len(left) != len(right) or operator == "<>":
            return UNKNOWN
        pairs = list(zip(left, right, strict=True))
        if operator == "=":
            return _joined([TRUE, *(self._compare("=", *pair) for pair in pairs)], and_)
        # (a, b) > (c, d): the first columns that differ decide.
        result = self._compare(operator, *pairs[-1])
        for pair in reversed(pairs[:-1]):
            result = self._compare(operator[0], *pair) | (self._compare("=", *pair) & result)
        return result

    def _compare_constants(self, operator: str, left: exp.Expression, right: exp.Expression) -> Bounds:
        """``1 = 1``, ``1 <> 1``: what clients write to say "all" or "none"."""
        first, second = self._folder.fold(left), self._folder.fold(right)
        if not isinstance(first, Number) or not isinstance(second, Number):
            return UNKNOWN
        return TRUE if _holds(first.value, operator, second.value) else NEVER_TRUE

    def _subject(self, node: exp.Expression) -> tuple[str, bool] | None:
        """What is compared: one of the columns, or a function of deliver_at that keeps its order."""
        if isinstance(node, exp.Column):
            return self._role(node)
        inside: exp.Expression | None = None
        kind = ""
        if _is_date_of(node):
            inside, kind = node.this, "date"
        elif isinstance(node, exp.Anonymous) and node.name.upper() == "UNIX_TIMESTAMP" and node.expressions:
            inside, kind = node.expressions[0], "unix_timestamp"
        if not isinstance(inside, exp.Column):
            return None
        role = self._role(inside)
        return (kind, role[1]) if role is not None and role[0] == DELIVER_AT else None

    def _namespace(self, operator: str, constant: Constant) -> Bounds:
        constant = _as_text(constant)
        if operator != "=" or not isinstance(constant, Text):
            return UNKNOWN
        return Bounds(Region({constant.value: EVER}, NEVER), None, True, False, True)

    def _id(self, operator: str, constant: Constant) -> Bounds:
        constant = _as_text(constant)
        if operator != "=" or not isinstance(constant, Text):
            return UNKNOWN
        return Bounds(EVERYWHERE, frozenset({constant.value}), False, False, False)

    def _deliver_at(self, operator: str, constant: Constant) -> Bounds:
        moment = self._folder.naive(constant)
        if moment is None or operator == "<>":
            return UNKNOWN
        first, last = instants(moment.naive_us, self._folder.zone)
        return _at(_reach(operator, first, last), exact=first == last)

    def _date(self, operator: str, constant: Constant) -> Bounds:
        if isinstance(constant, Number):
            constant = Text(f"{constant.value:f}", literal=False)
        moment = self._folder.naive(constant)
        if moment is None or operator == "<>":
            return UNKNOWN
        zone, day = self._folder.zone, midnight(moment)
        starts = instants(day.naive_us, zone)
        ends = instants(Moment(day.naive_us + DAY_US).naive_us, zone)
        whole = day.naive_us == moment.naive_us
        exact = whole and starts[0] == starts[1] and ends[0] == ends[1]
        lo, hi = INSTANT_MIN, INSTANT_MAX
        if operator in ("=", ">="):
            lo = starts[0]
        elif operator == ">":
            lo = ends[0] if whole else starts[0]
        if operator in ("=", "<="):
            hi = ends[1]
        elif operator == "<":
            hi = starts[1] if whole else ends[1]
        return _at(interval(lo, hi), exact=exact)

    def _unix_timestamp(self, operator: str, constant: Constant) -> Bounds:
        seconds = self._folder.number(constant)
        if seconds is None or operator == "<>" or abs(seconds) > 10**13:
            return UNKNOWN
        us = seconds * 1_000_000
        first, last = int(us.to_integral_value(ROUND_CEILING)), int(us.to_integral_value(ROUND_FLOOR))
        if operator == "=" and first != last:
            return NEVER_TRUE
        if operator == ">=":
            reach = interval(first, INSTANT_MAX)
        elif operator == "<":
            reach = interval(INSTANT_MIN, first)
        else:
            reach = _reach(operator, last, last)
        if fixed_offset_us(self._folder.zone) is None:
            # Of a derived table's column the engine knows the wall clock only, not the instant.
            reach = tuple(part for lo, hi in reach for part in interval(lo - _FOLD_US, hi + _FOLD_US))
        return _at(reach, exact=False)


_READERS: Final[dict[str, Callable[[Predicates, str, Constant], Bounds]]] = {
    NAMESPACE: Predicates._namespace,
    ID: Predicates._id,
    DELIVER_AT: Predicates._deliver_at,
    "date": Predicates._date,
    "unix_timestamp": Predicates._unix_timestamp,
}


def _as_text(constant: Constant) -> Constant:
    """Bytes count as the text that they are, to a column of texts."""
    if not isinstance(constant, Bytes):
        return constant
    try:
        return Text(constant.value.decode())
    except UnicodeDecodeError:
        return constant


def _is_date_of(node: exp.Expression) -> bool:
    """``DATE(x)``, ``CAST(x AS DATE)``, and the parser's forms of them."""
    match node:
        case exp.Date():
            return not node.expressions
        case exp.TsOrDsToDate():
            return True
        case exp.Cast():
            return bool(node.args["to"].this == exp.DType.DATE)
        case exp.DateTrunc():
            return bool(node.args["unit"].name.upper() == "DAY")
        case _:
            return False


def _at(reach: Intervals, *, exact: bool) -> Bounds:
    return Bounds(Region({}, reach), None, False, True, exact)


def _reach(operator: str, first: int, last: int) -> Intervals:
    """Instants that compare so with a clock reading that means an instant from ``first`` to ``last``."""
    match operator:
        case "=":
            return interval(first, last + 1)
        case "<":
            return interval(INSTANT_MIN, last)
        case "<=":
            return interval(INSTANT_MIN, last + 1)
        case ">":
            return interval(first + 1, INSTANT_MAX)
        case ">=":
            return interval(first, INSTANT_MAX)
        case _:
            return EVER


def _holds(left: Decimal, operator: str, right: Decimal) -> bool:
    match operator:
        case "=":
            return left == right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case _:
            return left != right
