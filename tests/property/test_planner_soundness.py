"""No row that a predicate is TRUE of lies outside the ranges that the planner derives from it.

The judge is a small three-valued evaluator of its own, over rows in memory, that shares nothing with the
planner: a full scan filtered by it must equal a scan of the ranges filtered by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planner_tables import planned
from z4sql.sql.errors import Unbounded
from z4sql.sql.planner.plan import TablePlan

Truth = bool | None
BASE = datetime(2022, 10, 30)  # noqa: DTZ001 - a wall clock
ZONES = (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"))
NAMES = ("a", "b", "ab")
MINUTES = (-1500, -61, -60, -1, 0, 1, 59, 60, 61, 119, 120, 121, 150, 180, 1440, 1500)


@dataclass(frozen=True)
class Row:
    """A task, or, all None, the missing side of an outer join."""

    namespace: str | None
    at_us: int | None
    kind: int | None


NULLS = Row(None, None, None)


ROWS = [
    Row(name, int((BASE.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() + 60 * minute)
        * 1_000_000 + tick, kind)
    for name, minute, tick, kind in product((*NAMES, "c"), MINUTES, (0, 1), (None, 1))
]  # fmt: skip


@dataclass(frozen=True)
class Predicate:
    """SQL of a predicate over alias ``t``, and what it is worth for a row in a zone."""

    sql: str
    value: Callable[[Row, ZoneInfo], Truth]


def local(us: int | None, zone: ZoneInfo) -> datetime | None:
    if us is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return moment.astimezone(zone).replace(tzinfo=None)


def negation(one: Truth) -> Truth:
    return None if one is None else not one


def conjunction(one: Truth, other: Truth) -> Truth:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def disjunction(one: Truth, other: Truth) -> Truth:
    return negation(conjunction(negation(one), negation(other)))


def compared(operator: str, one: object, other: object) -> Truth:
    return None if one is None or other is None else OPERATORS[operator](one, other)


OPERATORS: dict[str, Callable[[object, object], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,  # type: ignore[operator]  # both of one ordered type
    "<=": lambda a, b: a <= b,  # type: ignore[operator]
    ">": lambda a, b: a > b,  # type: ignore[operator]
    ">=": lambda a, b: a >= b,  # type: ignore[operator]
}
FLIPPED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime | None]:
    """A constant in one of its spellings."""
    minute = draw(st.sampled_from(MINUTES))
    tick = draw(st.sampled_from((0, 0, 1)))
    moment = BASE + timedelta(minutes=minute, microseconds=tick)
    text = moment.isoformat(" ")
    spelling = draw(st.integers(0, 5))
    match spelling:
        case 0:
            return f"'{text}'", moment
        case 1:
            return f"TIMESTAMP'{text}'", moment
        case 2:
            return f"'{(moment - timedelta(days=1)).isoformat(' ')}' + INTERVAL 1 DAY", moment
        case 3:
            return f"DATE_SUB('{(moment + timedelta(hours=5)).isoformat(' ')}', INTERVAL 5 HOUR)", moment
        case 4:
            return f"CAST('{text}' AS DATETIME(6))", moment
        case _:
            return (f"'{text}'", moment) if draw(st.integers(0, 9)) else ("NULL", None)


@st.composite
def times(draw: st.DrawFn) -> Predicate:
    text, moment = draw(moments())
    operator = draw(st.sampled_from(sorted(OPERATORS)))
    how = draw(st.integers(0, 4))
    if how == 0:
        other_text, other = draw(moments())
        negated = draw(st.booleans())

        def between(row: Row, zone: ZoneInfo) -> Truth:
            at = local(row.at_us, zone)
            found = conjunction(compared(">=", at, moment), compared("<=", at, other))
            return negation(found) if negated else found

        return Predicate(f"t.deliver_at {'NOT ' * negated}BETWEEN {text} AND {other_text}", between)
    if how == 1:

        def by_day(row: Row, zone: ZoneInfo) -> Truth:
            at = local(row.at_us, zone)
            day = None if at is None else datetime.combine(at.date(), datetime.min.time())
            return compared(operator, day, moment)

        return Predicate(f"DATE(t.deliver_at) {operator} {text}", by_day)
    flip = draw(st.booleans())
    shown = f"{text} {FLIPPED[operator]} deliver_at" if flip else f"deliver_at {operator} {text}"
    return Predicate(shown, lambda row, zone: compared(operator, local(row.at_us, zone), moment))


@st.composite
def names(draw: st.DrawFn) -> Predicate:
    name = draw(st.sampled_from(NAMES))
    match draw(st.integers(0, 4)):
        case 0:
            listed = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
            negated = draw(st.booleans())
            texts = ", ".join(f"'{one}'" for one in listed)
            return Predicate(
                f"t.namespace {'NOT ' * negated}IN ({texts})",
                lambda row, _zone: None if row.namespace is None else (row.namespace in listed) != negated,
            )
        case 1:
            return Predicate(f"'{name}' = queue", lambda row, _zone: compared("=", row.namespace, name))
        case 2:
            return Predicate(f"namespace <> '{name}'", lambda row, _zone: compared("<>", row.namespace, name))
        case 3:
            return Predicate(f"namespace <=> '{name}'", lambda row, _zone: row.namespace == name)
        case _:
            return Predicate(f"namespace = '{name}'", lambda row, _zone: compared("=", row.namespace, name))


@st.composite
def others(draw: st.DrawFn) -> Predicate:
    match draw(st.integers(0, 5)):
        case 0:
            return Predicate("t.attempts = 1", lambda row, _zone: compared("=", row.kind, 1))
        case 1:
            return Predicate("t.attempts IS NULL", lambda row, _zone: row.kind is None)
        case 2:
            return Predicate("NULL", lambda _row, _zone: None)
        case 3:
            return Predicate("1 = 1", lambda _row, _zone: True)
        case 4:
            return Predicate("FALSE", lambda _row, _zone: False)
        case _:
            return Predicate(
                "IF(t.attempts = 1, namespace = 'a', 0)",
                lambda row, _zone: compared("=", row.namespace, "a") if row.kind == 1 else False,
            )


def combined(children: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    def both(one: Predicate, other: Predicate) -> Predicate:
        return Predicate(
            f"({one.sql} AND {other.sql})",
            lambda row, zone: conjunction(one.value(row, zone), other.value(row, zone)),
        )

    def either(one: Predicate, other: Predicate) -> Predicate:
        return Predicate(
            f"({one.sql} OR {other.sql})",
            lambda row, zone: disjunction(one.value(row, zone), other.value(row, zone)),
        )

    def neither(one: Predicate) -> Predicate:
        return Predicate(f"(NOT ({one.sql}))", lambda row, zone: negation(one.value(row, zone)))

    def surely(one: Predicate, wanted: bool) -> Predicate:
        return Predicate(
            f"(({one.sql}) IS {str(wanted).upper()})",
            lambda row, zone: one.value(row, zone) is wanted,
        )

    return st.one_of(
        st.builds(both, children, children),
        st.builds(both, children, children),
        st.builds(either, children, children),
        st.builds(neither, children),
        st.builds(surely, children, st.booleans()),
    )


PREDICATES = st.recursive(st.one_of(names(), times(), times(), others()), combined, max_leaves=10)


def inside(row: Row, plan: TablePlan) -> bool:
    assert row.at_us is not None
    return any(one.namespace == row.namespace and one.from_us <= row.at_us < one.to_us for one in plan.ranges)


def plan_of(sql: str, zone: ZoneInfo) -> dict[str, TablePlan] | None:
    try:
        made, _ = planned(sql, zone=zone)
    except Unbounded:
        return None
    return {table.alias: table for table in made.references.values()}


@settings(max_examples=600, deadline=None)
@given(PREDICATES, names(), times(), st.sampled_from(ZONES))
def test_a_scan_of_the_ranges_finds_what_a_full_scan_finds(
    predicate: Predicate, name: Predicate, at: Predicate, zone: ZoneInfo
) -> None:
    sql = f"SELECT * FROM tasks t WHERE {name.sql} AND {predicate.sql} AND {at.sql}"
    plans = plan_of(sql, zone)
    if plans is None:
        return

    def value(row: Row) -> Truth:
        return conjunction(
            conjunction(name.value(row, zone), predicate.value(row, zone)), at.value(row, zone)
        )

    found = [row for row in ROWS if value(row) is True]
    assert [row for row in found if inside(row, plans["t"])] == found, sql
    if plans["t"].exact:
        assert [row for row in ROWS if inside(row, plans["t"])] == found, sql


@settings(max_examples=300, deadline=None)
@given(PREDICATES, PREDICATES, st.sampled_from(("JOIN", "LEFT JOIN", "RIGHT JOIN")), st.booleans())
def test_joins_over_the_ranges_give_the_same_rows(
    on: Predicate, where: Predicate, join: str, outside: bool
) -> None:
    """``t`` is joined with a table that needs no bounds; the predicates speak of ``t``."""
    order = f"namespaces s {join} tasks t" if outside else f"tasks t {join} namespaces s"
    plans = plan_of(f"SELECT * FROM {order} ON {_qualified(on.sql)} WHERE {_qualified(where.sql)}", ZONES[0])
    if plans is None:
        return
    every = _joined(ROWS, on, where, join, outside)
    narrowed = _joined([row for row in ROWS if inside(row, plans["t"])], on, where, join, outside)
    assert narrowed == every


def _qualified(sql: str) -> str:
    return re.sub(r"(?<![.\w])(namespace|deliver_at|queue)", r"t.\1", sql)


def _joined(
    rows: list[Row], on: Predicate, where: Predicate, join: str, s_first: bool
) -> set[tuple[int | None, Row]]:
    """(s, t) of the join of two other rows with ``rows``; the missing side is None, or `NULLS`."""
    zone = ZONES[0]
    matching = [row for row in rows if on.value(row, zone) is True]
    pairs: set[tuple[int | None, Row]] = {(s, row) for s in (1, 2) for row in matching}
    keeps_s = join != "JOIN" and (join == "LEFT JOIN") == s_first
    if keeps_s and not matching:
        pairs |= {(1, NULLS), (2, NULLS)}
    if join != "JOIN" and not keeps_s:
        pairs |= {(None, row) for row in rows if row not in matching}
    return {(s, row) for s, row in pairs if where.value(row, zone) is True}
