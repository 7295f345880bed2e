"""The lowering of one statement: its state, and the walk over expressions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlglot import exp

from z4sql.sql.context import Catalog, StatementContext
from z4sql.sql.errors import SqlError, UnknownFunction, Unsupported
from z4sql.sql.lowering.registry import function_handler, lowers, node_handler
from z4sql.sql.lowering.scope import Scope, unknown_column
from z4sql.sql.lowering.typed import Type, Typed
from z4sql.sql.temporal import from_utc_us
from z4sql.sql.types import TableDefinition

_DEPTH_MAX = 200


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

    @property
    def now_local_us(self) -> int:
        """NOW() of this statement, in the session's zone."""
        return from_utc_us(self.context.now_us, self.context.time_zone)

    def expression(self, node: exp.Expression) -> Typed:
        """Lower one expression.

        :raises Unsupported: (1235) for what nobody registered, or with an argument that its handler ignores.
        """
        if self.scopes and not self.in_aggregate:
            for grouped, value in self.scopes[-1].grouped:
                if node == grouped:
                    return value
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
            return handler(self, node)
        finally:
            self.depth -= 1

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


@lowers(exp.Column, reads="this table db catalog join_mark")
def _column(lowering: Lowering, node: exp.Expression) -> Typed:
    assert isinstance(node, exp.Column)
    name, table = node.name, node.table
    for depth, scope in enumerate(reversed(lowering.scopes)):
        alias = scope.aliases.get(name.lower()) if scope.use_aliases and not table else None
        if alias is not None and depth == 0 and lowering.clause == "order clause":
            return lowering.expression(alias)
        value = scope.column(name, table)
        if value is not None:
            return value
        if alias is not None:
            return lowering.expression(alias)
    raise unknown_column(name, table, lowering.clause)


@lowers(exp.Paren, reads="this")
def _parenthesised(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    return Typed(f"({value.sql})", value.type)


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
        raise SqlError(
            f"Incorrect parameter count in the call to native function '{name}'", code=1582, state="42000"
        )
    return handler(lowering, node.expressions)
