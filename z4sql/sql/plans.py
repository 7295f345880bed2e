"""Statements that were planned and lowered before: dashboards and prepared statements repeat themselves.

What a plan may depend on besides the text is found out, not guessed: planner and lowering read the context
through `Watched`, and only a plan that read nothing but what is part of its key is kept. Nothing of the data
or of anybody's rights is in a plan.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final, cast

from sqlglot import exp

from z4sql.sql.cheaper import cheaper
from z4sql.sql.context import StatementContext
from z4sql.sql.lowering.statement import Lowered
from z4sql.sql.planner.plan import Plan
from z4sql.sql.planner.pushdown import tallies
from z4sql.sql.projection import Projection
from z4sql.sql.scan.cached_source import CachedSource
from z4sql.sql.scan.members import with_member_columns
from z4sql.sql.scan.request import ScanRequest

_REMEMBERED_MAX: Final = 1_000
_KEYED: Final = frozenset({"database", "time_zone", "sql_mode"})

Key = tuple[object, ...]


@dataclass(slots=True, frozen=True)
class ReadyQuery:
    """A query as it is run. ``scans``: of its bounded tables, by relation.

    ``cached_sql`` and ``cached_scans`` are the same for a source that has members of metadata as columns,
    and that knows how many tasks are in each state.
    """

    planned: Plan
    lowered: Lowered
    picked: Projection | None
    scans: dict[str, ScanRequest]
    cached_sql: str
    cached_scans: dict[str, ScanRequest]


@dataclass(slots=True)
class KnownStatement:
    """``ready``: by whether the scan gives the rows in the query's order, which depends on the data."""

    planned: Plan
    ready: dict[bool, ReadyQuery] = field(default_factory=dict)


class Watched:
    """A context that remembers which of its fields were read."""

    def __init__(self, context: StatementContext) -> None:
        self._context = context
        self.fields: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.fields.add(name)
        return getattr(self._context, name)

    @property
    def as_context(self) -> StatementContext:
        """For those who only read."""
        return cast("StatementContext", self)

    @property
    def keyed(self) -> bool:
        """Whether everything that was read is part of the key."""
        return self.fields <= _KEYED


class PlanCache:
    """The statements used last. Lives on one event loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, KnownStatement] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: Key) -> KnownStatement | None:
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def remember(
        self, key: Key, ready: ReadyQuery, watched: Watched, *, planned: Plan, ordered: bool
    ) -> None:
        """Keep what was made with ``watched``, if the key tells all that it depends on."""
        if not watched.keyed or not key[0]:
            return
        self._known.setdefault(key, KnownStatement(planned)).ready[ordered] = ready
        if len(self._known) > _REMEMBERED_MAX:
            self._known.popitem(last=False)


def statement_key(query: exp.Expression, text: str, context: StatementContext) -> Key:
    """What tells statements apart; of a query without a text nothing is kept.

    A session may have given the query a LIMIT that the text does not show.
    """
    limit = query.args.get("limit")
    rows = limit.expression.name if isinstance(limit, exp.Limit) and limit.expression is not None else None
    zone = str(context.time_zone)
    return text, rows, context.database, zone, context.limits.select_limit, context.sql_mode


def ready_query(
    query: exp.Expression, planned: Plan, lowered: Lowered, picked: Projection | None
) -> ReadyQuery:
    """A query with the scans that its relations need."""
    scans = {
        name: planned.references[name].request(use.columns or ("deliver_at",))
        for name, use in lowered.sources.items()
        if name in planned.references
    }
    sql, cached_scans = lowered.sql, scans
    if picked is None and len(scans) == len(lowered.sources) == 1:
        ((name, scan),) = scans.items()
        read = planned.references[name]
        if read.table.name == "tasks" and len(list(query.find_all(exp.Query))) == 1:
            sql, scan = _with_members(cheaper(sql), scan)
            if read.exact_with_states and isinstance(query, exp.Select) and tallies(query, read.table):
                scan = replace(scan, tallied=True)
            cached_scans = {name: scan}
    return ReadyQuery(planned, lowered, picked, scans, sql, cached_scans)


def _with_members(sql: str, scan: ScanRequest) -> tuple[str, ScanRequest]:
    """The engine's SQL and its only scan, with members of metadata as columns where these can be cached."""
    if '."metadata"' not in sql:
        return sql, scan
    changed, members, metadata = with_member_columns(sql)
    kept = [name for name in scan.columns if metadata or name != "metadata"]
    wanted = scan.of((*kept, *members))
    if not members or CachedSource.picks(wanted) or not CachedSource.serves(wanted):
        return sql, scan
    return changed, wanted
