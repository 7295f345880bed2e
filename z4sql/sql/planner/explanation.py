"""A plan in words: which ranges are read, what the scan filters, and how fresh the answer is."""

from __future__ import annotations

from z4sql.sql.context import StatementContext
from z4sql.sql.planner.plan import Plan, TablePlan
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN
from z4sql.sql.temporal import from_utc_us, naive_text

_SHOWN_MIN_US = -62_135_596_800_000_000  # 0001-01-01
_SHOWN_MAX_US = 253_402_300_800_000_000  # 10000-01-01


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
        (
            f"scan {table.alias}",
            f"namespace = {each.namespace!r}, deliver_at in"
            f" [{_instant(each.from_us, context)}, {_instant(each.to_us, context)})",
        )
        for each in table.ranges
    ]
    if not steps:
        steps.append((f"scan {table.alias}", "nothing: no row can satisfy the condition"))
    if table.descending:
        steps.append((f"scan {table.alias}", "newest first"))
    steps += [(f"filter {table.alias}", f"metadata contains {needle!r}") for needle in table.needles]
    if table.ids is not None:
        steps.append((f"filter {table.alias}", f"id in {sorted(table.ids)}"))
    return steps


def _instant(instant_us: int, context: StatementContext) -> str:
    if instant_us <= max(INSTANT_MIN, _SHOWN_MIN_US):
        return "ever"
    if instant_us >= min(INSTANT_MAX, _SHOWN_MAX_US):
        return "ever"
    return naive_text(from_utc_us(instant_us, context.time_zone))
