"""The lowering of one statement: its state, and the walk over expressions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlglot import exp

from z4sql.sql.context import Catalog, StatementContext
from z4sql.sql.errors import SqlError, UnknownFunction, Unsupported
from z4sql.sql.lowering.grouping import one_of_group
from z4sql.sql.lowering.registry import function_handler, lowers, node_handler
from z4sql.sql.lowering.scope import Relation, Scope, unknown_column
from z4sql.sql.lowering.typed import Type, Typed
from z4sql.sql.temporal import from_utc_us, naive_text
from z4sql.sql.types import Kind, TableDefinition

_DEPTH_MAX = 200
_TEXT_MAX = 4 << 20
_WRITTEN_MAX = 32 << 20
"""Characters for the engine, of a node and of all: functions that repeat an argument multiply when nested."""


@dataclass(slots=True)
class SourceUse:
    """A table that the statement reads: its name for the engine, and the columns it needs."""

    name: str
    table: TableDefinition
    columns: tuple[str, ...]


@dataclass(slots=True)
class Lowering:
    """Carried through the walk; good for one statement."""

    catalog: Catalog
    context: StatementContext
    scopes: list[Scope] = field(default_factory=list)
    ctes: dict[str, dict[str, Type]] = field(default_factory=dict)
    tables: dict[str, tuple[TableDefinition, dict[str, None]]] = field(default_factory=dict)
    in_aggregate: bool = False
    clause: str = "field list"
    depth: int = 0
    written: int = 0
    steady: bool = True
    """Whether all that was lowered gives the same for the same rows; RAND() does not."""
    outermost: exp.Expression | None = None
    to_assign: set[str] = field(default_factory=set)
    """User variables that the outermost select list sets, and below what was set so far, by name and node."""
    assigned: dict[str, Typed] = field(default_factory=dict)
    assigned_by: dict[int, Typed] = field(default_factory=dict)

    @property
    def now_local_us(self) -> int:
        """NOW() of this statement, in the session's zone."""
        return from_utc_us(self.context.now_us, self.context.time_zone)

    def day_of(self, value: Typed) -> str:
        """What `today` is, for a TIME; nothing else depends on the clock."""
        return self.today if value.kind is Kind.TIME else ""

    @property
    def today(self) -> str:
        """The date of NOW(), to which a TIME belongs."""
        return naive_text(self.now_local_us, 0)[:10]

    def expression(self, node: exp.Expression) -> Typed:
        """Lower one expression.

        :raises Unsupported: (1235) for what nobody registered, or with an argument that its handler ignores.
        """
        groups = self.scopes[-1].grouped if self.scopes and not self.in_aggregate else ()
        for grouped in groups:
            if node == grouped.node:
                return grouped.shown
        found = node_handler(node)
        if found is None:
            raise unsupported(node.key)
        handler, reads = found
        for name, value in node.args.items():
            if value and name not in reads:
                raise unsupported(f"{node.key} with {name}")
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise SqlError("The expression is nested too deeply", code=1436)
        try:
            lowered = handler(self, node)
        finally:
            self.depth -= 1
        length = len(lowered.sql) + len(lowered.exact)
        self.written += length
        if length > _TEXT_MAX or self.written > _WRITTEN_MAX:
            raise SqlError("The statement is too complex: nest fewer functions in each other", code=1436)
        for grouped in groups:
            # The same expression written otherwise: another case, with or without the table.
            if lowered.sql == grouped.raw:
                return grouped.shown
        return lowered

    def aliased(self, node: exp.Expression) -> Typed:
        """The expression behind an alias, in which names are columns again."""
        scope = self.scopes[-1]
        clause, self.clause = self.clause, "field list"
        use_aliases, scope.use_aliases = scope.use_aliases, False
        try:
            return self.expression(node)
        finally:
            self.clause, scope.use_aliases = clause, use_aliases

    @contextmanager
    def within_aggregate(self) -> Iterator[None]:
        """Inside an aggregate's argument, GROUP BY expressions stand for themselves again."""
        before, self.in_aggregate = self.in_aggregate, True
        try:
            yield
        finally:
            self.in_aggregate = before


def unsupported(what: str) -> Unsupported:
    return Unsupported(f"This version of z4 doesn't yet support '{what}'")


def wrong_count(name: str) -> SqlError:
    """A native function with too few or too many arguments."""
    message = f"Incorrect parameter count in the call to native function '{name}'"
    return SqlError(message, code=1582, state="42000")


@lowers(exp.Column, reads="this table db catalog join_mark")
def _column(lowering: Lowering, node: exp.Expression) -> Typed:
    assert isinstance(node, exp.Column)
    name, table = node.name, node.table
    for depth, scope in enumerate(reversed(lowering.scopes)):
        alias = scope.aliases.get(name.lower()) if scope.use_aliases and not table else None
        if depth:
            value = scope.column(name, table, lowering.clause)
            if value is not None:
                return value
            continue
        in_having = lowering.clause == "having clause" and not lowering.in_aggregate
        found = scope.find(name, table, lowering.clause)
        if alias is not None and (in_having or found is None):
            return lowering.aliased(alias)
        if found is not None:
            return _own_column(lowering, scope, found, node, in_having=in_having)
    raise unknown_column(name, table, lowering.clause)


def _own_column(
    lowering: Lowering, scope: Scope, found: tuple[Relation, Typed], node: exp.Column, *, in_having: bool
) -> Typed:
    relation, value = found
    if lowering.in_aggregate or any(value.sql == grouped.raw for grouped in scope.grouped):
        return value
    if in_having and scope.listed is not None and value.sql not in scope.listed:
        raise unknown_column(node.name, node.table, lowering.clause)
    return one_of_group(value) if scope.loose or relation.determined else value


@lowers(exp.Paren, reads="this")
def _parenthesised(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    return value._replace(sql=f"({value.sql})")


@lowers(exp.Alias, reads="this alias")
def _alias(lowering: Lowering, node: exp.Expression) -> Typed:
    return lowering.expression(node.this)


@lowers(exp.Anonymous, reads="this expressions")
def _anonymous(lowering: Lowering, node: exp.Expression) -> Typed:
    name = node.name.upper()
    found = function_handler(name)
    if found is None:
        raise UnknownFunction(f"FUNCTION {lowering.context.database or 'z4'}.{name} does not exist")
    handler, least, most = found
    if not least <= len(node.expressions) <= most:
        raise wrong_count(name)
    return handler(lowering, node.expressions)
