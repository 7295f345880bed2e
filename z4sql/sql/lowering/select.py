"""One SELECT. MySQL manual: SELECT Statement; MySQL Handling of GROUP BY."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.aggregates import direction
from z4sql.sql.lowering.assignments import Running, assigned, with_running
from z4sql.sql.lowering.comparison import group_key, order_text
from z4sql.sql.lowering.conversion import truth
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.grouping import ONLY_FULL_GROUP_BY, aggregates, mark_determined
from z4sql.sql.lowering.names import shown_name
from z4sql.sql.lowering.query import LoweredQuery, limit_clause, unique_names
from z4sql.sql.lowering.relations import lower_from
from z4sql.sql.lowering.scope import Grouped, Scope, unknown_column
from z4sql.sql.lowering.typed import INT, Type, Typed, named
from z4sql.sql.lowering.windows import defined_windows, window_specification
from z4sql.sql.types import Kind

_READS = frozenset(
    {
        *("with_", "kind", "hint", "distinct", "expressions", "limit", "offset", "from_", "joins", "where"),
        *("group", "having", "windows", "order", "operation_modifiers", "locks", "laterals"),
    }
)
_IGNORED_MODIFIERS = frozenset(
    {
        *("SQL_NO_CACHE", "SQL_CALC_FOUND_ROWS", "HIGH_PRIORITY", "STRAIGHT_JOIN", "SQL_CACHE"),
        *("SQL_SMALL_RESULT", "SQL_BIG_RESULT", "SQL_BUFFER_RESULT"),
    }
)


def lower_select(lowering: Lowering, query: exp.Select) -> LoweredQuery:
    """Lower one SELECT without its WITH."""
    _check(query)
    scope = Scope(windows=defined_windows(query))
    lowering.scopes.append(scope)
    clause, aggregate = lowering.clause, lowering.in_aggregate
    lowering.clause, lowering.in_aggregate = "field list", False
    try:
        return _Select(lowering, query, scope).lower()
    finally:
        lowering.clause, lowering.in_aggregate = clause, aggregate
        lowering.scopes.pop()


def _check(query: exp.Select) -> None:
    for name, value in query.args.items():
        if value and name not in _READS:
            raise unsupported(f"SELECT with {name}")
    for modifier in query.args.get("operation_modifiers") or []:
        if str(modifier).upper() not in _IGNORED_MODIFIERS:
            raise unsupported(f"SELECT {modifier}")
    distinct = query.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        raise unsupported("DISTINCT ON")


class _Select:
    """The clauses of one SELECT, lowered in the order in which names come into being."""

    def __init__(self, lowering: Lowering, query: exp.Select, scope: Scope) -> None:
        self._lowering = lowering
        self._query = query
        self._scope = scope
        self._distinct = query.args.get("distinct") is not None
        self._columns: list[tuple[str, Type]] = []
        self._origins: list[tuple[str, str, str] | None] = []
        self._cells: list[Typed] = []
        self._running: dict[int, Running] = {}

    def lower(self) -> LoweredQuery:
        query, lowering = self._query, self._lowering
        from_ = lower_from(lowering, query, self._scope)
        for each in query.expressions:
            if isinstance(each, exp.Alias):
                self._scope.aliases.setdefault(each.alias.lower(), each.this)
        where = self._condition("where", "where clause")
        group = self._group()
        self._scope.loose = ONLY_FULL_GROUP_BY not in lowering.context.sql_mode and aggregates(query)
        self._list()
        self._scope.use_aliases = True
        having = self._having(group)
        self._check_windows()
        order = self._order()
        names = unique_names(self._columns)
        cells = ", ".join(
            f"{cell.sql} as {named(name)}" for cell, name in zip(self._cells, names, strict=True)
        )
        sql = f"select {self._distinction()}{cells}{from_}{where}{group}"
        sql = f"{sql}{having}{order}{limit_clause(query)}"
        if self._running:
            sql = with_running(sql, names, self._running)
        return LoweredQuery(sql, self._columns, self._origins)

    @property
    def _keyed(self) -> bool:
        """Whether rows may count as equal although their texts differ."""
        return any(group_key(cell) != cell.sql for cell in self._cells)

    def _distinction(self) -> str:
        """DISTINCT; of rows that count as equal, the first stays as it is."""
        if not self._distinct:
            return ""
        return f"distinct on ({', '.join(map(group_key, self._cells))}) " if self._keyed else "distinct "

    def _condition(self, argument: str, clause: str) -> str:
        node = self._query.args.get(argument)
        if node is None:
            return ""
        self._lowering.clause = clause
        condition = truth(self._lowering.expression(node.this))
        self._lowering.clause = "field list"
        return f" {argument} {condition}"

    def _group(self) -> str:
        group = self._query.args.get("group")
        if group is None:
            return ""
        for name, value in group.args.items():
            if value and name not in ("expressions", "rollup"):
                raise unsupported(f"GROUP BY with {name}")
        rollup = bool(group.args.get("rollup"))
        expressions = list(group.expressions)
        if rollup and not expressions:
            expressions = [each for part in group.args["rollup"] for each in part.expressions]
        self._lowering.clause = "group statement"
        keys, grouped = [], []
        for each in expressions:
            node = self._grouped_node(each)
            value = self._lowering.expression(node)
            key = group_key(value)
            keys.append(key)
            shown = key if rollup else value.sql if key == value.sql else f"any_value({value.sql})"
            if not isinstance(node, exp.Literal):
                one = value if value.stored else Typed(shown, value.type)
                grouped.append(Grouped(node, value.sql, one))
        self._lowering.clause = "field list"
        self._scope.grouped = grouped
        mark_determined(self._scope)
        listed = ", ".join(keys)
        return f" group by rollup ({listed})" if rollup else f" group by {listed}"

    def _grouped_node(self, node: exp.Expression) -> exp.Expression:
        """GROUP BY takes a position, a column, or an alias; a column wins over an alias."""
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Literal) and node.is_int:
            position = int(str(node.this)) - 1
            if not 0 <= position < len(self._query.expressions):
                raise unknown_column(str(node.this), "", "group statement")
            node = self._query.expressions[position]
        if isinstance(node, exp.Alias):
            node = node.this
            assert isinstance(node, exp.Expression)
            return node
        if isinstance(node, exp.Column) and not node.table:
            alias = self._scope.aliases.get(node.name.lower())
            if alias is not None and self._scope.column(node.name, "", self._lowering.clause) is None:
                return alias
        return node

    def _list(self) -> None:
        typed = self._query.meta.get("typed_names") or []
        for position, each in enumerate(self._query.expressions):
            if isinstance(each, exp.Star) or (
                isinstance(each, exp.Column) and isinstance(each.this, exp.Star)
            ):
                self._star(each)
                continue
            known = typed[position] if position < len(typed) else None
            value = self._item(each)
            if value.kind is Kind.BOOL:
                value = Typed(f"({value.sql})::bigint", INT)
            running = self._running.get(len(self._cells))
            type_ = value.type if running is None else running.total("").type
            self._columns.append((shown_name(each, known), type_))
            self._origins.append(self._origin(each))
            self._cells.append(value)

    def _item(self, node: exp.Expression) -> Typed:
        if self._lowering.to_assign and self._query is self._lowering.outermost:
            value = assigned(self._lowering, self._query, node)
            if isinstance(value, Running):
                self._running[len(self._cells)] = value
                return value.step
            if value is not None:
                return value
        return self._lowering.expression(node)

    def _star(self, node: exp.Expression) -> None:
        star = node if isinstance(node, exp.Star) else node.this
        if any(star.args.get(name) for name in ("except_", "replace", "rename", "except")):
            raise unsupported("* with exceptions")
        table = node.table.lower() if isinstance(node, exp.Column) else ""
        found = False
        for relation in self._scope.relations:
            if table and relation.alias.lower() != table:
                continue
            found = True
            for name, value in relation.columns.items():
                if not table and name.lower() in relation.joined:
                    continue
                column = exp.Column(this=exp.to_identifier(name), table=exp.to_identifier(relation.alias))
                self._columns.append((name, value.type))
                self._origins.append((relation.alias, relation.alias, name))
                self._cells.append(self._lowering.expression(column))
        if not found:
            if table:
                raise SqlError(f"Unknown table '{table}'", code=1051, state="42S02")
            raise SqlError("No tables used", code=1096)

    def _origin(self, node: exp.Expression) -> tuple[str, str, str] | None:
        node = node.this if isinstance(node, exp.Alias) else node
        if not isinstance(node, exp.Column):
            return None
        for relation in self._scope.relations:
            if (not node.table or relation.alias.lower() == node.table.lower()) and relation.find(node.name):
                return (relation.alias, relation.alias, node.name)
        return None

    def _having(self, group: str) -> str:
        node = self._query.args.get("having")
        if node is None:
            return ""
        self._lowering.clause = "having clause"
        self._scope.listed = self._listed_columns()
        condition = truth(self._lowering.expression(node.this))
        self._lowering.clause = "field list"
        if not aggregates(self._query):
            # HAVING without groups is a filter on the output. MySQL manual: SELECT Statement.
            return f" qualify {condition} and row_number() over () > 0"
        return f" having {condition}"

    def _listed_columns(self) -> set[str]:
        """The columns that the select list names, alone or by *."""
        names = {(origin[0], origin[2]) for origin in self._origins if origin is not None}
        found = (self._scope.column(name, table) for table, name in names)
        return {value.sql for value in found if value is not None}

    def _check_windows(self) -> None:
        """Those that nothing uses: the others are spelled out where they are used."""
        for each in self._scope.windows.values():
            window_specification(self._lowering, each)

    def _order(self) -> str:
        order = self._query.args.get("order")
        if order is None:
            return ""
        self._lowering.clause = "order clause"
        keys = [self._order_key(each) for each in order.expressions]
        self._lowering.clause = "field list"
        return " order by " + ", ".join(key for key in keys if key) if any(keys) else ""

    def _order_key(self, ordered: exp.Expression) -> str:
        node = ordered.this
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Null):
            return ""
        if isinstance(node, exp.Literal) and node.is_int:
            position = int(str(node.this)) - 1
            if not 0 <= position < len(self._cells):
                raise unknown_column(str(node.this), "", "order clause")
            value = self._cells[position]
        else:
            value = (
                self._lowering.aliased(alias)
                if (alias := self._alias(node))
                else self._lowering.expression(node)
            )
        key = order_text(value)
        if self._distinct and not self._keyed:
            for position, cell in enumerate(self._cells):
                if cell.sql in (value.sql, key):
                    return f"{position + 1}{direction(ordered)}"
        return key + direction(ordered)

    def _alias(self, node: exp.Expression) -> exp.Expression | None:
        """What a name alone means in ORDER BY: there, and only there, an alias wins over a column."""
        if isinstance(node, exp.Column) and not node.table:
            return self._scope.aliases.get(node.name.lower())
        return None
