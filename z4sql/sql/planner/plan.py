"""Plans a query: which key ranges each of its table references reads. Refuses it where they are open.

Ranges may be wider than the predicate, never narrower: the engine evaluates the whole predicate again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from sqlglot import exp

from z4sql.sql.context import Catalog, StatementContext
from z4sql.sql.errors import Unsupported
from z4sql.sql.planner import pushdown
from z4sql.sql.planner.fold import Folder
from z4sql.sql.planner.predicates import DELIVER_AT, ID, NAMESPACE, TRUE, Bounds, Predicates
from z4sql.sql.planner.pushdown import KeyOrder, Shortcut
from z4sql.sql.planner.references import Condition, Frame, Place, References, Source
from z4sql.sql.planner.refusal import Refused, unbounded
from z4sql.sql.planner.shape import bare, disjuncts
from z4sql.sql.scan.request import ScanRequest, TimeRange
from z4sql.sql.types import Collation, Kind, TableDefinition
from z4sql.tasks.model import NAMESPACE_BYTES_MAX

SOURCE: Final = "source"
"""Key in a Table node's ``meta``: the name of its relation."""
_BATCH_ROWS: Final = 16_384
_BRANCH_SHOWN_MAX: Final = 80


@dataclass(slots=True, frozen=True)
class TablePlan:
    """How one reference to a bounded table is read. ``exact``: the predicate is TRUE of all of its ranges.

    ``exact_with_needles``: it is TRUE of those rows of them of which the conditions with needles are;
    ``exact_with_states``: of which those conditions are that ask for nothing but the state.
    """

    source: str
    table: TableDefinition
    alias: str
    ranges: tuple[TimeRange, ...]
    needles: tuple[bytes, ...] = ()
    ids: frozenset[str] | None = None
    descending: bool = False
    batch_rows: int = _BATCH_ROWS
    exact: bool = False
    exact_with_needles: bool = False
    exact_with_states: bool = False

    def request(self, columns: tuple[str, ...]) -> ScanRequest:
        """The scan that gives these columns."""
        return ScanRequest(self.ranges, columns, self.needles, self.ids, self.descending, self.batch_rows)


@dataclass(slots=True, frozen=True)
class Plan:
    """``references`` by source name. ``sorted_by_id``: the order below holds only while no task was moved.

    ``sorted``: the scan gives the rows in the query's order, so ORDER BY may be dropped.
    """

    references: dict[str, TablePlan]
    shortcut: Shortcut | None = None
    sorted: bool = False
    sorted_by_id: bool = False
    live: frozenset[str] = frozenset()
    """Tables whose rows the peer tells when the query runs."""

    @property
    def ranges(self) -> tuple[TimeRange, ...]:
        """What is read of bounded tables, by all references."""
        return tuple(one for table in self.references.values() for one in table.ranges)


def plan(query: exp.Expression, text: str, catalog: Catalog, context: StatementContext) -> Plan:
    """Plan ``query``, which was parsed from ``text``. Names its Table nodes by ``meta["source"]``.

    :raises Unbounded: (1104) a reference to a bounded table lacks a bound.
    :raises BadTemporal: (1525) deliver_at is compared with a literal that is no instant.
    """
    return Planner(query, text, catalog, context).plan()


class Planner:
    """Plans one query; `again` when the literals that its conditions compare with are others."""

    def __init__(self, query: exp.Expression, text: str, catalog: Catalog, context: StatementContext) -> None:
        self._query = query
        self._text = text
        self._catalog = catalog
        self._database = context.database
        self._folder = Folder(context)
        self._references = References(query, catalog, context.database)
        self._conditions: dict[str, tuple[Source, list[Condition], dict[Place, str]]] = {}
        """Of each bounded table, what does not depend on the values of literals."""
        self._live: frozenset[str] = frozenset()

    def plan(self) -> Plan:
        """:raises SqlError: as the function `plan`"""
        live = set()
        for number, source in enumerate(self._references.tables, 1):
            assert source.table is not None
            name = f"{source.table.name.lower()}_{number}"
            source.node.meta[SOURCE] = name
            if source.table.bounded:
                conditions = self._references.conditions(source)
                self._conditions[name] = source, conditions, self._roles(source, conditions)
            elif source.table.live:
                live.add(source.table.name)
        self._live = frozenset(live)
        planned = self._planned()
        self._require_all_named()
        return planned

    def again(self, context: StatementContext) -> Plan:
        """As `plan`, which ended well; since then, only literals in comparisons have got other texts."""
        self._folder = Folder(context)
        return self._planned()

    def _planned(self) -> Plan:
        plans: dict[str, TablePlan] = {}
        refused: list[Refused] = []
        for name, found in self._conditions.items():
            one = self._table_plan(name, *found)
            if isinstance(one, Refused):
                refused.append(one)
            else:
                plans[name] = one
        if refused:
            raise unbounded(refused, self._text)
        return replace(self._streamed(plans), live=self._live)

    def _table_plan(
        self, name: str, source: Source, conditions: list[Condition], roles: dict[Place, str]
    ) -> TablePlan | Refused:
        assert source.table is not None
        found = [self._bounds(condition, source, roles) for condition in conditions]
        bounds = _all(found)
        if not bounds.has_namespace or not bounds.has_deliver_at:
            return self._refusal(source, conditions, found, roles)
        # No namespace has a longer name, nor has any key room for it.
        ranges = tuple(
            one for one in bounds.region.ranges() if len(one.namespace.encode()) <= NAMESPACE_BYTES_MAX
        )
        if bounds.ids is not None and len(bounds.ids) == 0:
            ranges = ()
        needles = [pushdown.needle(condition, source, self._references) for condition in conditions]
        return TablePlan(
            name,
            source.table,
            source.name,
            ranges,
            tuple(dict.fromkeys(one for one in needles if one is not None)),
            bounds.ids,
            exact=bounds.exact and bounds.ids is None,
            exact_with_needles=bounds.ids is None
            and all(one.exact or sought is not None for one, sought in zip(found, needles, strict=True)),
            exact_with_states=bounds.ids is None
            and all(
                one.exact or pushdown.of_state(condition, source, self._references)
                for one, condition in zip(found, conditions, strict=True)
            ),
        )

    def _bounds(self, condition: Condition, source: Source, roles: dict[Place, str]) -> Bounds:
        def role(column: exp.Column) -> tuple[str, bool] | None:
            place = self._references.place(column, condition.frame, source)
            found = roles.get(place) if place is not None else None
            return None if found is None or place is None else (found, place.source is source)

        return Predicates(self._folder, role).bounds(condition.node)

    def _roles(self, source: Source, conditions: list[Condition]) -> dict[Place, str]:
        """The columns whose bounds bound ``source``: its own, and those that must be equal to them."""
        roles = {Place(source, _named(source, role)): role for role in (NAMESPACE, DELIVER_AT, ID)}
        links: list[tuple[Place, Place]] = []
        for condition in conditions:
            node = bare(condition.node)
            if not isinstance(node, exp.EQ):
                continue
            left, right = bare(node.this), bare(node.expression)
            if not isinstance(left, exp.Column) or not isinstance(right, exp.Column):
                continue
            one = self._references.place(left, condition.frame, source)
            other = self._references.place(right, condition.frame, source)
            if one is not None and other is not None:
                links += [(one, other), (other, one)]
        changed = True
        while changed:
            changed = False
            for known, equal in links:
                role = roles.get(known)
                if role is not None and equal not in roles and _compares_as(equal, role):
                    roles[equal] = role
                    changed = True
        return roles

    def _refusal(
        self, source: Source, conditions: list[Condition], found: list[Bounds], roles: dict[Place, str]
    ) -> Refused:
        bounds = _all(found)
        branches: list[str] = []
        for number, condition in enumerate(conditions):
            arms = disjuncts(condition.node)
            if len(arms) == 1:
                continue
            rest = _all(found[:number] + found[number + 1 :])
            open_arms = []
            for arm in arms:
                whole = rest & self._bounds(Condition(arm, condition.frame), source, roles)
                if not (whole.has_namespace and whole.has_deliver_at):
                    open_arms.append(arm)
            if 0 < len(open_arms) < len(arms):
                branches = [_shown(arm) for arm in open_arms]
        missing = [NAMESPACE] if not bounds.has_namespace else []
        if not bounds.has_deliver_at:
            missing.append(DELIVER_AT)
        return Refused(source, missing, branches)

    def _require_all_named(self) -> None:
        """Nothing reads a bounded table past this planner."""
        withs = {table.alias.lower() for table in self._query.find_all(exp.CTE)}
        for table in self._query.find_all(exp.Table):
            if SOURCE in table.meta or (not table.db and table.name.lower() in withs):
                continue
            database = table.db or self._database
            definition = self._catalog.table(database, table.name) if database else None
            if definition is not None and definition.bounded:
                raise Unsupported(f"This version of z4 doesn't yet support '{definition.name}' at this place")

    def _streamed(self, plans: dict[str, TablePlan]) -> Plan:
        """Add what can be spared when the whole query is one SELECT of one bounded table."""
        if not isinstance(self._query, exp.Select) or len(plans) != 1 or len(self._references.frames) != 1:
            return Plan(plans)
        ((name, table),) = plans.items()
        if not table.table.one_row_a_key:
            return Plan(plans)
        found = self._shortcut if table.exact else None
        if found is not None or not self._streams:
            return Plan(plans, found)
        namespaces = {one.namespace for one in table.ranges}
        order = self._key_order
        if order is not None and len(namespaces) == 1 and table.ids is None:
            plans[name] = _with(table, batch_rows=self._first_rows, descending=order.descending)
            return Plan(plans, sorted=True, sorted_by_id=order.by_id)
        if self._query.args.get("order") is None:
            plans[name] = _with(table, batch_rows=self._first_rows)
        return Plan(plans)

    # Of one SELECT of one bounded table; what values of literals do not change is found out once.

    @cached_property
    def _shortcut(self) -> Shortcut | None:
        return pushdown.shortcut(*self._only, self._references, next(iter(self._conditions)))

    @cached_property
    def _streams(self) -> bool:
        return pushdown.streams(*self._only)

    @cached_property
    def _first_rows(self) -> int:
        return pushdown.first_rows(self._only[0])

    @cached_property
    def _key_order(self) -> KeyOrder | None:
        return pushdown.key_order(*self._only, self._references)

    @property
    def _only(self) -> tuple[exp.Select, Frame]:
        assert isinstance(self._query, exp.Select)
        return self._query, self._references.frames[0]


def _with(table: TablePlan, *, batch_rows: int, descending: bool = False) -> TablePlan:
    return replace(table, batch_rows=batch_rows, descending=descending)


def _all(found: list[Bounds]) -> Bounds:
    bounds = TRUE
    for one in found:
        bounds = bounds & one
    return bounds


def _named(source: Source, role: str) -> str:
    """The table's name for the column of a role: of events, ``id`` is ``task_id``."""
    definition = source.table.column(role) if source.table is not None else None
    return role if definition is None else definition.name.lower()


def _compares_as(place: Place, role: str) -> bool:
    """Whether a column of another table compares as ours does, so that equality carries bounds over."""
    definition = place.source.table.column(place.column) if place.source.table is not None else None
    if definition is None:
        return False
    if role in (NAMESPACE, ID):
        return definition.type.kind is Kind.STRING and definition.type.collation is Collation.BIN_0900
    return definition.type.kind is Kind.TIMESTAMP


def _shown(node: exp.Expression) -> str:
    text = node.sql(dialect="mysql")
    return text if len(text) <= _BRANCH_SHOWN_MAX else text[:_BRANCH_SHOWN_MAX] + "..."
