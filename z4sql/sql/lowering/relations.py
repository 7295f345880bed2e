"""FROM: tables, derived tables, joins, JSON_TABLE. MySQL manual: JOIN Clause."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.errors import NoDatabase, SqlError, UnknownDatabase, UnknownTable
from z4sql.sql.lowering.comparison import compare
from z4sql.sql.lowering.conversion import truth
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.json_table import json_table
from z4sql.sql.lowering.query import column_names, lower_query
from z4sql.sql.lowering.scope import Relation, Scope, columns_of
from z4sql.sql.lowering.typed import Typed, named, of_column
from z4sql.sql.lowering.zones import repeats, to_local
from z4sql.sql.planner.references import is_joined
from z4sql.sql.types import Kind, TableDefinition

_TABLE_READS = frozenset({"this", "db", "alias", "hints", "partition", "joins", "catalog"})
_JOIN_READS = frozenset({"this", "on", "using", "side", "kind", "method"})


def lower_from(lowering: Lowering, query: exp.Select, scope: Scope) -> str:
    """The FROM clause; fills ``scope`` with its relations."""
    from_ = query.args.get("from_")
    if from_ is None:
        return ""
    sql = _relation(lowering, from_.this, scope)
    for join in [*(from_.this.args.get("joins") or []), *(query.args.get("joins") or [])]:
        sql += _join(lowering, join, scope)
    for lateral in query.args.get("laterals") or []:
        sql += f" cross join {_relation(lowering, lateral, scope)}"
    return "" if sql == _DUAL else f" from {sql}"


_DUAL = "(select 1)"


def _relation(lowering: Lowering, node: exp.Expression, scope: Scope) -> str:
    if isinstance(node, exp.Lateral):
        if isinstance(node.this, exp.Subquery):
            return "lateral " + _derived(lowering, node.this, node, scope)
        raise unsupported("LATERAL")
    if isinstance(node, exp.JSONTable):
        return _document_rows(lowering, node, node.alias, scope)
    if isinstance(node, exp.Table):
        if isinstance(node.this, exp.JSONTable):
            return _document_rows(lowering, node.this, node.alias, scope)
        return _table(lowering, node, scope)
    if isinstance(node, exp.Subquery):
        if isinstance(node.this, exp.Join) or is_joined(node):
            sql = _relation(lowering, node.this, scope)
            for join in node.this.args.get("joins") or []:
                sql += _join(lowering, join, scope)
            return f"({sql})" if node.this.args.get("joins") else sql
        return _derived(lowering, node, node, scope)
    raise unsupported(f"FROM {node.key}")


def _derived(lowering: Lowering, node: exp.Expression, owner: exp.Expression, scope: Scope) -> str:
    """``node``: the subquery; ``owner``: what has its alias, a LATERAL or itself."""
    alias = owner.alias
    if not alias:
        raise SqlError("Every derived table must have its own alias", code=1248, state="42000")
    before = scope.relations
    if owner is node:
        # Only LATERAL sees the relations before it. MySQL manual: Lateral Derived Tables.
        scope.relations = []
    lowered = lower_query(lowering, node.this if not node.args.get("order") else node)
    scope.relations = before
    given = [column.name for column in (owner.args["alias"].args.get("columns") or [])]
    names = column_names(given, lowered.columns)
    types = {name: type_ for name, (_, type_) in zip(names, lowered.columns, strict=True)}
    _add(scope, Relation(alias, columns_of(alias, types)))
    listed = ", ".join(named(name) for name in names)
    return f"({lowered.sql}) as {named(alias)}({listed})"


def _document_rows(lowering: Lowering, node: exp.Expression, alias: str, scope: Scope) -> str:
    sql, types = json_table(lowering, node)
    _add(scope, Relation(alias, columns_of(alias, types)))
    return f"lateral ({sql}) as {named(alias)}"


def _add(scope: Scope, relation: Relation) -> None:
    if any(other.alias.lower() == relation.alias.lower() for other in scope.relations):
        raise SqlError(f"Not unique table/alias: '{relation.alias}'", code=1066, state="42000")
    scope.relations.append(relation)


def _table(lowering: Lowering, node: exp.Table, scope: Scope) -> str:
    for name, value in node.args.items():
        if value and name not in _TABLE_READS:
            raise unsupported(f"a table with {name}")
    if node.args.get("partition"):
        raise SqlError("PARTITION () clause on non partitioned table", code=1747)
    alias = node.alias or node.name
    if not node.db and node.name.lower() in lowering.ctes:
        types = lowering.ctes[node.name.lower()]
        _add(scope, Relation(alias, columns_of(alias, types)))
        return f"{named(node.name.lower())} as {named(alias)}"
    if not node.db and node.name.lower() == "dual":
        return _DUAL
    definition = find_table(lowering, node)
    source = node.meta.get("source") or f"s{len(lowering.tables)}"
    used: dict[str, None] = {}
    lowering.tables[source] = (definition, used)
    _add(scope, _TableRelation(lowering, alias, definition, used))
    return f"{named(source)} as {named(alias)}"


def find_table(lowering: Lowering, node: exp.Table) -> TableDefinition:
    """:raises NoDatabase: :raises UnknownDatabase: :raises UnknownTable:"""
    database = node.db or lowering.context.database
    if not database:
        raise NoDatabase()
    definition = lowering.catalog.table(database, node.name)
    if definition is None:
        known = {each.lower() for each in lowering.catalog.databases()}
        if database.lower() not in known:
            raise UnknownDatabase(f"Unknown database '{database}'")
        if database.lower() == "information_schema":
            message = f"Unknown table '{node.name.upper()}' in information_schema"
            raise SqlError(message, code=1109, state="42S02")
        raise UnknownTable(f"Table '{database}.{node.name}' doesn't exist")
    return definition


class _TableRelation(Relation):
    """A catalog table; remembers which of its columns are used."""

    def __init__(
        self, lowering: Lowering, alias: str, definition: TableDefinition, used: dict[str, None]
    ) -> None:
        columns = {}
        for column in definition.columns:
            flat = column.type.kind is Kind.JSON and definition.name == "tasks"
            sql, stored = f"{named(alias)}.{named(column.name)}", ""
            if column.type.kind is Kind.TIMESTAMP:
                stored = sql if repeats(lowering.context.time_zone) else ""
                sql = to_local(sql, lowering.context.time_zone)
            columns[column.name] = Typed(sql, of_column(column.type, flat=flat), stored=stored)
        keys = tuple(column.name for column in definition.columns if column.key == "PRI")
        super().__init__(alias, columns, keys=keys)
        self._definition = definition
        self._used = used

    def find(self, name: str) -> Typed | None:
        column = self._definition.column(name)
        if column is None:
            return None
        self._used[column.name] = None
        return self.columns[column.name]


def _join(lowering: Lowering, join: exp.Join, scope: Scope) -> str:
    for name, value in join.args.items():
        if value and name not in _JOIN_READS:
            raise unsupported(f"a join with {name}")
    side, kind = (str(join.args.get(name) or "").lower() for name in ("side", "kind"))
    method = str(join.args.get("method") or "").lower()
    if side == "full" or kind not in ("", "inner", "cross", "outer", "straight", "straight_join"):
        raise unsupported(f"{side} {kind} JOIN")
    if side == "right" and isinstance(join.this, exp.Lateral):
        raise unsupported("RIGHT JOIN LATERAL")
    before = len(scope.relations)
    right = _relation(lowering, join.this, scope)
    on, using = join.args.get("on"), join.args.get("using")
    if method == "natural":
        using = [exp.to_identifier(name) for name in _shared(scope, before)]
    if using:
        conditions = [_using(lowering, scope, before, each.name) for each in using]
        return f" {side} join {right} on {' and '.join(conditions)}"
    if on is not None:
        clause, lowering.clause = lowering.clause, "on clause"
        condition = truth(lowering.expression(on))
        lowering.clause = clause
        return f" {side} join {right} on {condition}"
    if side:
        raise SqlError("You have an error in your SQL syntax near 'JOIN'", code=1064, state="42000")
    return f" cross join {right}"


def _shared(scope: Scope, before: int) -> list[str]:
    earlier = {name.lower() for relation in scope.relations[:before] for name in relation.columns}
    return [name for name in scope.relations[before].columns if name.lower() in earlier]


def _using(lowering: Lowering, scope: Scope, before: int, name: str) -> str:
    left = next((found for r in scope.relations[:before] if (found := r.find(name)) is not None), None)
    right_relation = scope.relations[before]
    right = right_relation.find(name)
    if left is None or right is None:
        raise SqlError(f"Unknown column '{name}' in 'from clause'", code=1054, state="42S22")
    right_relation.joined |= {name.lower()}
    return compare(lowering, "=", left, right).sql
