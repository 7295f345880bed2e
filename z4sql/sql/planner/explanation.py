"""A plan in words: which ranges are read, what the scan filters, and how fresh the answer is."""

from __future__ import annotations

from typing import Final

from z4sql.sql.context import StatementContext
from z4sql.sql.planner.plan import Plan, TablePlan
from z4sql.sql.planner.predicates import ID
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, TimeRange
from z4sql.sql.temporal import from_utc_us, naive_text

_FIRST_US: Final = max(INSTANT_MIN, -62_135_596_800_000_000)  # 0001-01-01
_LAST_US: Final = min(INSTANT_MAX, 253_402_300_800_000_000)  # 10000-01-01
"""What is before the first, or not before the last, is no bound that a clock could show."""


def explained(planned: Plan, context: StatementContext) -> list[tuple[str, str]]:
    """(step, detail) lines, in the order in which things happen."""
    steps = [("consistency", context.consistency.value)]
    for table in planned.references.values():
        steps += _table(table, context)
    if planned.sorted:
        steps.append(("order", "by key: no sort, the scan stops at LIMIT"))
    if planned.shortcut is not None:
        facts = ", ".join(fact.name.lower() for fact in planned.shortcut.facts)
        steps.append(("shortcut", f"{facts} from keys alone"))
    return steps


def _table(table: TablePlan, context: StatementContext) -> list[tuple[str, str]]:
    steps = [
        (f"scan {table.alias}", f"namespace = {each.namespace!r}, {_when(each, table, context)}")
        for each in table.ranges
    ]
    if not steps:
        steps.append((f"scan {table.alias}", "nothing: no row can satisfy the condition"))
    if table.descending:
        steps.append((f"scan {table.alias}", "newest first"))
    steps += [(f"filter {table.alias}", f"metadata contains {needle!r}") for needle in table.needles]
    return steps


def _when(each: TimeRange, table: TablePlan, context: StatementContext) -> str:
    """Which deliver_at a range has, or which ids are looked up in it."""
    parts = []
    if table.ids is not None:
        column = table.table.column(ID)
        parts.append(f"{ID if column is None else column.name} in {sorted(table.ids)} looked up one by one")
    since, until = each.from_us > _FIRST_US, each.to_us < _LAST_US
    first, last = _instant(each.from_us, context), _instant(each.to_us, context)
    if since and until:
        parts.append(f"deliver_at in [{first}, {last})")
    elif since:
        parts.append(f"deliver_at >= {first}")
    elif until:
        parts.append(f"deliver_at < {last}")
    elif table.ids is None:
        parts.append("any deliver_at")
    return ", ".join(parts)


def _instant(instant_us: int, context: StatementContext) -> str:
    return naive_text(from_utc_us(min(max(instant_us, _FIRST_US), _LAST_US - 1), context.time_zone))
