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
from z4sql.sql.lowering.scope import Cte, Relation, Scope, unknown_column
from z4sql.sql.lowering.typed import Typed
from z4sql.sql.temporal import from_utc_us, naive_text
from z4sql.sql.types import Kind, TableDefinition

_NOT_BUILT = frozenset(
    [
        "AES_DECRYPT",
        "AES_ENCRYPT",
        "EXTRACTVALUE",
        "GET_LOCK",
        "GTID_SUBSET",
        "GTID_SUBTRACT",
        "ICU_VERSION",
        "IS_FREE_LOCK",
        "IS_USED_LOCK",
        "LOAD_FILE",
        "PS_CURRENT_THREAD_ID",
        "PS_THREAD_ID",
        "RANDOM_BYTES",
        "RELEASE_ALL_LOCKS",
        "RELEASE_LOCK",
        "SLEEP",
        "SOURCE_POS_WAIT",
        "STATEMENT_DIGEST",
        "STATEMENT_DIGEST_TEXT",
        "UPDATEXML",
        "UUID_SHORT",
        "VALIDATE_PASSWORD_STRENGTH",
        "WAIT_FOR_EXECUTED_GTID_SET",
    ]
)
"""Functions of MySQL that are not here. MySQL manual: Built-In Function and Operator Reference."""
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
    ctes: dict[str, Cte] = field(default_factory=dict)
    tables: dict[str, tuple[TableDefinition, dict[str, None]]] = field(default_factory=dict)
    in_aggregate: bool = False
    in_window: str | None = None
    """The window in whose specification this is, by name; empty in the arguments of a window function."""
    over: str = ""
    """What the engine wants behind the function whose window this is."""
    clause: str = "field list"
    depth: int = 0
    written: int = 0
    inflated: bool = False
    """Whether texts may have become long, so that functions of them must look at what they make."""
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
        ungrouped = len(self.scopes[-1].ungrouped) if groups else 0
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise SqlError("The expression is nested too deeply", code=1436)
        try:
            lowered = self._within_packet(node, handler(self, node))
        finally:
            self.depth -= 1
        length = len(lowered.sql) + len(lowered.exact)
        self.written += length
        if length > _TEXT_MAX or self.written > _WRITTEN_MAX:
            raise SqlError("The statement is too complex: nest fewer functions in each other", code=1436)
        for grouped in groups:
            # The same expression written otherwise: another case, with or without the table.
            if lowered.sql == grouped.raw:
                del self.scopes[-1].ungrouped[ungrouped:]
                return grouped.shown
        return lowered

    def _within_packet(self, node: exp.Expression, lowered: Typed) -> Typed:
        """Of texts made of long ones, what is larger than a packet is NULL. MySQL manual: String Functions"""
        if self.inflated and lowered.kind is Kind.STRING and _is_called(node):
            return lowered._replace(sql=f"my_packet('{node.key}',{lowered.sql})")
        self.inflated = self.inflated or _inflates(node)
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

    @contextmanager
    def within_window(self, name: str = "") -> Iterator[None]:
        """Inside the specification of the window ``name``, or inside a window function's arguments."""
        before, self.in_window = self.in_window, name
        try:
            yield
        finally:
            self.in_window = before

    def taken_over(self) -> str:
        """`over`, for the one function that asks for it, before its arguments are looked at."""
        over, self.over = self.over, ""
        return over


def _is_called(node: exp.Expression) -> bool:
    return isinstance(node, exp.Func) and not isinstance(node, exp.AggFunc)


_TIMES: dict[type[exp.Expression], tuple[str, int]] = {
    exp.Repeat: ("times", 64),
    exp.Space: ("this", 4_096),
    exp.Pad: ("expression", 4_096),
}
"""Functions that make texts as long as an argument says, and up to where that is nothing to look at."""


def _inflates(node: exp.Expression) -> bool:
    if isinstance(node, exp.Replace):
        return not isinstance(node.args["replacement"], exp.Literal)
    name, harmless = _TIMES.get(type(node), ("", 0))
    times = node.args.get(name)
    written = str(times.this) if isinstance(times, exp.Literal) else ""
    return bool(name) and not (written.isdecimal() and int(written) <= harmless)


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
        if depth:
            value = scope.column(name, table, lowering.clause)
            if value is not None:
                return value
            continue
        in_having = lowering.clause == "having clause" and not lowering.in_aggregate
        found = scope.find(name, table, lowering.clause)
        if scope.use_aliases and not table and (in_having or found is None):
            listed = scope.listed_as(name, lowering.clause)
            if listed is not None:
                if in_having and listed.find(exp.Window) is not None:
                    raise _windowed_alias(name)
                return lowering.aliased(listed)
        if found is not None:
            return _own_column(lowering, scope, found, node, in_having=in_having)
    raise unknown_column(name, table, lowering.clause)


def _windowed_alias(name: str) -> SqlError:
    message = f"You cannot use the alias '{name}' of an expression containing a window function"
    return SqlError(f"{message} in this context.'", code=3594)


def _own_column(
    lowering: Lowering, scope: Scope, found: tuple[Relation, Typed], node: exp.Column, *, in_having: bool
) -> Typed:
    relation, value = found
    if lowering.in_aggregate or any(value.sql == grouped.raw for grouped in scope.grouped):
        return value
    if in_having and scope.listed is not None and value.sql not in scope.listed:
        raise unknown_column(node.name, node.table, lowering.clause)
    if scope.loose or value.sql in scope.determined:
        return one_of_group(value)
    if scope.aggregated:
        scope.ungrouped.append(relation.origin(node.name).shown)
    return value


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
    if found is None and name in _NOT_BUILT:
        raise unsupported(f"{name}() in this place")
    if found is None:
        raise _unknown_function(lowering.context.database or "z4", node.name)
    handler, least, most = found
    if not least <= len(node.expressions) <= most:
        raise wrong_count(name)
    return handler(lowering, node.expressions)


@lowers(exp.Dot, reads="this expression")
def _stored_function(_lowering: Lowering, node: exp.Expression) -> Typed:
    """``database.function()``: there are none of those. :raises UnknownFunction: (1305)"""
    raise _unknown_function(node.this.name, node.name)


def _unknown_function(database: str, name: str) -> UnknownFunction:
    return UnknownFunction(f"FUNCTION {database}.{name} does not exist")
