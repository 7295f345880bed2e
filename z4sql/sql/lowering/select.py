"""One SELECT. MySQL manual: SELECT Statement; MySQL Handling of GROUP BY."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.aggregates import direction
from z4sql.sql.lowering.assignments import Running, assigned, with_running
from z4sql.sql.lowering.comparison import group_key, order_text
from z4sql.sql.lowering.conversion import truth
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.grouping import (
    ONLY_FULL_GROUP_BY,
    aggregates,
    has_aggregate,
    mark_determined,
    not_in_group,
    note_equalities,
)
from z4sql.sql.lowering.names import shown_name
from z4sql.sql.lowering.query import LoweredQuery, limit_clause, unique_names
from z4sql.sql.lowering.relations import lower_from
from z4sql.sql.lowering.scope import Grouped, Origin, Scope, places, unknown_column
from z4sql.sql.lowering.typed import INT, Type, Typed, named, quoted
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
    clause, aggregate, window = lowering.clause, lowering.in_aggregate, lowering.in_window
    lowering.clause, lowering.in_aggregate, lowering.in_window = "field list", False, None
    try:
        return _Select(lowering, query, scope).lower()
    finally:
        lowering.clause, lowering.in_aggregate, lowering.in_window = clause, aggregate, window
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


def _finite(cell: Typed, name: str) -> str:
    """What the engine shows of ``cell``: MySQL refuses doubles that are too large (1690)."""
    if cell.kind is not Kind.DOUBLE or "(" not in cell.sql:
        return cell.sql
    if "my_" not in cell.sql:
        return f"my_finite({cell.sql},{quoted(name)})"
    # The macro repeats it, and what may warn is worked out once.
    return f"list_transform([{cell.sql}], lambda cell: my_finite(cell,{quoted(name)}))[1]"


class _Select:
    """The clauses of one SELECT, lowered in the order in which names come into being."""

    def __init__(self, lowering: Lowering, query: exp.Select, scope: Scope) -> None:
        self._lowering = lowering
        self._query = query
        self._scope = scope
        self._distinct = query.args.get("distinct") is not None
        self._aggregated = aggregates(query)
        self._strict = ONLY_FULL_GROUP_BY in lowering.context.sql_mode
        self._columns: list[tuple[str, Type]] = []
        self._origins: list[Origin | None] = []
        self._cells: list[Typed] = []
        self._texts: list[str] = []
        self._running: dict[int, Running] = {}

    def lower(self) -> LoweredQuery:
        query, lowering = self._query, self._lowering
        from_ = lower_from(lowering, query, self._scope)
        self._name_items()
        self._require_aggregated()
        where = self._condition("where", "where clause")
        group = self._group()
        if self._aggregated:
            if not any(each.rolled_up for each in self._scope.grouped):
                mark_determined(self._scope)
            self._scope.aggregated, self._scope.loose = True, not self._strict
        self._list()
        self._scope.use_aliases = True
        having = self._having(group)
        self._check_windows()
        order = self._order()
        names = unique_names(self._columns)
        cells = ", ".join(
            f"{_finite(cell, name)} as {named(name)}" for cell, name in zip(self._cells, names, strict=True)
        )
        cells += "".join(
            f", {named(each.alias)}.{named(each.step)} + 1 as {named(each.step)}"
            for each in self._scope.relations
            if each.step
        )
        sql = f"select {self._distinction()}{cells}{from_}{where}{group}"
        sql = f"{sql}{having}{order}{limit_clause(query)}"
        if self._running:
            sql = with_running(sql, names, self._running)
        return LoweredQuery(sql, self._columns, self._origins, keys=self._keys())

    def _name_items(self) -> None:
        """Remember what the items of the select list are called."""
        aliases, ambiguous = self._scope.aliases, self._scope.ambiguous
        for each in self._query.expressions:
            if isinstance(each, exp.Alias) or (isinstance(each, exp.Column) and not each.is_star):
                name, item = each.alias_or_name.lower(), each.unalias()
                assert isinstance(item, exp.Expression)
                if aliases.setdefault(name, item) != item:
                    ambiguous.add(name)

    def _keys(self) -> tuple[int, ...]:
        """The places of columns that determine the others."""
        if self._aggregated:
            wanted = [each.shown.sql for each in self._scope.grouped]
        else:
            relations = self._scope.relations
            wanted = [each.columns[name].sql for each in relations for name in each.keys]
            if not all(each.keys for each in relations):
                return ()
        texts = self._texts
        return tuple(map(texts.index, wanted)) if set(wanted) <= set(texts) else ()

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
        note_equalities(self._scope, node.this)
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
            shown = value.sql
            if key != value.sql:
                shown = f"any_value({value.sql})"
                shown = f"case grouping({key}) when 0 then {shown} end" if rollup else shown
            if not isinstance(node, exp.Literal):
                one = value if value.stored else Typed(shown, value.type)
                grouped.append(Grouped(node, value.sql, one, key if rollup else ""))
        self._lowering.clause = "field list"
        self._scope.grouped = grouped
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
            self._require_groupable(node, self._shown(position))
        if isinstance(node, exp.Alias):
            node = node.this
            assert isinstance(node, exp.Expression)
            return node
        if isinstance(node, exp.Column) and not node.table:
            clause = self._lowering.clause
            alias = self._scope.listed_as(node.name, clause)
            if isinstance(alias, exp.Column) and alias.name.lower() == node.name.lower():
                return alias
            if alias is not None and self._scope.column(node.name, "", clause) is None:
                self._require_groupable(alias, node.name)
                return alias
        if has_aggregate(node):
            raise SqlError("Invalid use of group function", code=1111)
        return node

    def _require_groupable(self, node: exp.Expression, name: str) -> None:
        """:raises SqlError: an item of the select list that groups give rise to (1056)"""
        if has_aggregate(node) or node.find(exp.Window) is not None:
            raise SqlError(f"Can't group on '{name}'", code=1056, state="42000")

    def _shown(self, position: int) -> str:
        typed = self._query.meta.get("typed_names") or []
        known = typed[position] if position < len(typed) else None
        return shown_name(self._query.expressions[position], known)

    def _list(self) -> None:
        for position, each in enumerate(self._query.expressions):
            if isinstance(each, exp.Star) or (
                isinstance(each, exp.Column) and isinstance(each.this, exp.Star)
            ):
                self._star(each)
                continue
            value = self._item(each)
            self._require_grouped(f"expression #{len(self._cells) + 1} of SELECT list")
            self._texts.append(value.sql)
            if value.kind is Kind.BOOL:
                value = Typed(f"({value.sql})::bigint", INT)
            running = self._running.get(len(self._cells))
            type_ = value.type if running is None else running.total("").type
            self._columns.append((self._shown(position), type_))
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
        table = node.table if isinstance(node, exp.Column) else ""
        relations = [each for each in self._scope.relations if each.alias.lower() == table.lower()]
        if table and not relations:
            raise SqlError(f"Unknown table '{table}'", code=1051, state="42S02")
        if not self._scope.relations:
            raise SqlError("No tables used", code=1096)
        for relation, name in places(relations[0]) if table else self._scope.visible:
            column = exp.Column(this=exp.to_identifier(name), table=exp.to_identifier(relation.alias))
            self._columns.append((name, relation.columns[name].type))
            self._origins.append(relation.origin(name))
            self._cells.append(self._lowering.expression(column))
            self._texts.append(self._cells[-1].sql)
            self._require_grouped(f"expression #{len(self._cells)} of SELECT list")

    def _require_grouped(self, place: str) -> None:
        """:raises SqlError: what was lowered there has not one value for each group (1055, 1140)"""
        if self._scope.ungrouped:
            grouped = self._query.args.get("group") is not None
            raise not_in_group(place, self._scope.ungrouped[0], grouped=grouped)

    def _require_aggregated(self) -> None:
        """:raises SqlError: an aggregate in ORDER BY alone, which makes no groups (3029)"""
        order = self._query.args.get("order")
        if order is None or not self._aggregated or aggregates(self._query, ordered=False):
            return
        at = next(at for at, each in enumerate(order.expressions, 1) if has_aggregate(each))
        message = (
            f"Expression #{at} of ORDER BY contains aggregate function and applies to the result of a"
            " non-aggregated query"
        )
        raise SqlError(message, code=3029)

    def _origin(self, node: exp.Expression) -> Origin | None:
        node = node.this if isinstance(node, exp.Alias) else node
        if not isinstance(node, exp.Column) or any(each.rolled_up for each in self._scope.grouped):
            return None
        found = self._scope.find(node.name, node.table)
        return None if found is None else found[0].origin(node.name)

    def _having(self, group: str) -> str:
        node = self._query.args.get("having")
        if node is None:
            return ""
        self._lowering.clause = "having clause"
        self._scope.listed = self._listed_columns()
        condition = truth(self._lowering.expression(node.this))
        self._require_grouped("expression #1 of HAVING clause")
        self._lowering.clause = "field list"
        if not self._aggregated:
            # HAVING without groups is a filter on the output. MySQL manual: SELECT Statement.
            return f" qualify {condition} and row_number() over () > 0"
        return f" having {condition}"

    def _listed_columns(self) -> set[str]:
        """The columns that the select list names, alone or by *."""
        names = {(origin.table, origin.name) for origin in self._origins if origin is not None}
        found = (self._scope.column(name, table) for table, name in names)
        return {value.sql for value in found if value is not None}

    def _check_windows(self) -> None:
        """Those that nothing uses: the others are spelled out where they are used."""
        for each in self._scope.windows.values():
            window_specification(self._lowering, each)

    def _order(self) -> str:
        order = self._query.args.get("order")
        if order is None:
            return "" if self._distinct else self._rolled_up()
        self._lowering.clause = "order clause"
        if self._aggregated and self._query.args.get("group") is None:
            # One row needs no order; the names in it are looked up all the same.
            for each in order.expressions:
                self._ordered_value(each)
            self._lowering.clause = "field list"
            return ""
        keys = [self._order_key(each, at) for at, each in enumerate(order.expressions, 1)]
        self._lowering.clause = "field list"
        return " order by " + ", ".join(key for key in keys if key) if any(keys) else ""

    def _rolled_up(self) -> str:
        """Each total behind the rows that it is of. MySQL manual: GROUP BY Modifiers."""
        keys = [each.rolled_up for each in self._scope.grouped if each.rolled_up]
        return " order by " + ", ".join(f"grouping({key}), {key} nulls first" for key in keys) if keys else ""

    def _ordered_value(self, ordered: exp.Expression) -> tuple[exp.Expression, Typed]:
        """What is ordered by, and its value: of a position, or of a name alone, that of the select list."""
        node: exp.Expression = ordered.this
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Literal) and node.is_int:
            position = int(str(node.this)) - 1
            if not 0 <= position < len(self._cells):
                raise unknown_column(str(node.this), "", "order clause")
            return node, self._cells[position]
        alias = self._alias(node)
        return node, self._lowering.expression(node) if alias is None else self._lowering.aliased(alias)

    def _order_key(self, ordered: exp.Expression, at: int) -> str:
        node, value = self._ordered_value(ordered)
        if isinstance(node, exp.Null):
            return ""
        self._require_grouped(f"expression #{at} of ORDER BY clause")
        key = order_text(value)
        if self._distinct:
            listed = next(
                (at for at, cell in enumerate(self._cells, 1) if cell.sql in (value.sql, key)), None
            )
            if listed is None:
                self._require_listed(node, at)
            elif not self._keyed:
                return f"{listed}{direction(ordered)}"
        return key + direction(ordered)

    def _require_listed(self, node: exp.Expression, at: int) -> None:
        """DISTINCT orders by what it shows. :raises SqlError: by something else (3065, 3066)"""
        if not self._strict:
            return
        what = f"Expression #{at} of ORDER BY clause is not in SELECT list"
        if has_aggregate(node):
            what += ", contains aggregate function"
            raise SqlError(f"{what}; this is incompatible with DISTINCT", code=3066)
        listed = self._listed_columns()
        for each in node.find_all(exp.Column):
            found = self._scope.find(each.name, each.table)
            if found is not None and found[1].sql not in listed:
                column = found[0].origin(each.name).shown
                what += f", references column '{column}' which is not in SELECT list"
                raise SqlError(f"{what}; this is incompatible with DISTINCT", code=3065)

    def _alias(self, node: exp.Expression) -> exp.Expression | None:
        """What a name alone means in ORDER BY: there, and only there, an alias wins over a column."""
        if isinstance(node, exp.Column) and not node.table:
            return self._scope.listed_as(node.name, self._lowering.clause)
        return None
