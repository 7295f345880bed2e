"""FROM: tables, derived tables, joins, JSON_TABLE. MySQL manual: JOIN Clause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from z4sql.sql.errors import NoDatabase, SqlError, UnknownDatabase, UnknownTable
from z4sql.sql.lowering.comparison import compare
from z4sql.sql.lowering.conversion import truth
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.grouping import note_equalities
from z4sql.sql.lowering.json_table import json_table
from z4sql.sql.lowering.query import column_names, lower_query
from z4sql.sql.lowering.scope import Origin, Place, Relation, Scope, columns_of, places, unknown_column
from z4sql.sql.lowering.typed import Typed, named, of_column
from z4sql.sql.lowering.zones import repeats, to_local
from z4sql.sql.planner.references import is_joined
from z4sql.sql.types import Kind, TableDefinition

_TABLE_READS = frozenset({"this", "db", "alias", "hints", "partition", "joins", "catalog"})
_JOIN_READS = frozenset({"this", "on", "using", "side", "kind", "method"})


@dataclass(slots=True, frozen=True)
class _Joined:
    """A part of FROM: its text for the engine, its columns as names without a table mean them, its tables."""

    sql: str
    columns: list[Place]
    relations: list[Relation]


_DUAL = _Joined("(select 1)", [], [])


def lower_from(lowering: Lowering, query: exp.Select, scope: Scope) -> str:
    """The FROM clause; fills ``scope`` with its relations."""
    from_ = query.args.get("from_")
    if from_ is None:
        return ""
    joined = _joins(lowering, _relation(lowering, from_.this, scope), query, scope)
    for lateral in query.args.get("laterals") or []:
        scope.visible = joined.columns
        joined = _beside(joined, _relation(lowering, lateral, scope), "cross join")
    scope.visible = joined.columns
    return "" if joined == _DUAL else f" from {joined.sql}"


def _relation(lowering: Lowering, node: exp.Expression, scope: Scope) -> _Joined:
    """A table, with what is joined to it alone: ``b JOIN c ON ...`` of ``a JOIN b JOIN c ON ... ON ...``."""
    first = _factor(lowering, node, scope)
    if not node.args.get("joins"):
        return first
    joined = _joins(lowering, first, node, scope)
    return replace(joined, sql=f"({joined.sql})")


def _beside(left: _Joined, right: _Joined, word: str, condition: str = "") -> _Joined:
    sql = f"{left.sql} {word} {right.sql}" + (f" on {condition}" if condition else "")
    return _Joined(sql, left.columns + right.columns, left.relations + right.relations)


def _factor(lowering: Lowering, node: exp.Expression, scope: Scope) -> _Joined:
    if isinstance(node, exp.Lateral):
        if isinstance(node.this, exp.Subquery):
            derived = _derived(lowering, node.this, node, scope)
            return replace(derived, sql=f"lateral {derived.sql}")
        raise unsupported("LATERAL")
    if isinstance(node, exp.JSONTable):
        return _document_rows(lowering, node, node.alias, scope)
    if isinstance(node, exp.Table):
        if isinstance(node.this, exp.JSONTable):
            return _document_rows(lowering, node.this, node.alias, scope)
        return _table(lowering, node, scope)
    if isinstance(node, exp.Subquery):
        if is_joined(node):
            return _relation(lowering, node.this, scope)
        return _derived(lowering, node, node, scope)
    raise unsupported(f"FROM {node.key}")


def _derived(lowering: Lowering, node: exp.Expression, owner: exp.Expression, scope: Scope) -> _Joined:
    """``node``: the subquery; ``owner``: what has its alias, a LATERAL or itself."""
    alias = owner.alias
    if not alias:
        raise SqlError("Every derived table must have its own alias", code=1248, state="42000")
    before = scope.relations, scope.visible
    if owner is node:
        # Only LATERAL sees the relations before it. MySQL manual: Lateral Derived Tables.
        scope.relations, scope.visible = [], []
    lowered = lower_query(lowering, node.this if not node.args.get("order") else node)
    scope.relations, scope.visible = before
    given = [column.name for column in (owner.args["alias"].args.get("columns") or [])]
    names = column_names(given, lowered.columns)
    types = {name: type_ for name, (_, type_) in zip(names, lowered.columns, strict=True)}
    relation = Relation(
        alias, columns_of(alias, types), lowered.named_keys(names), lowered.named_origins(names)
    )
    listed = ", ".join(named(name) for name in names)
    sql = f"({lowered.sql}) as {named(alias)}({listed})"
    return _added(scope, relation, sql)


def _document_rows(lowering: Lowering, node: exp.Expression, alias: str, scope: Scope) -> _Joined:
    if not alias:
        raise SqlError("Every table function must have an alias", code=3667, state="42000")
    sql, types = json_table(lowering, node)
    relation = Relation(alias, columns_of(alias, types))
    return _added(scope, relation, f"lateral ({sql}) as {named(alias)}")


def _added(scope: Scope, relation: Relation, sql: str) -> _Joined:
    if any(other.alias.lower() == relation.alias.lower() for other in scope.relations):
        raise SqlError(f"Not unique table/alias: '{relation.alias}'", code=1066, state="42000")
    scope.relations.append(relation)
    return _Joined(sql, places(relation), [relation])


def _table(lowering: Lowering, node: exp.Table, scope: Scope) -> _Joined:
    for name, value in node.args.items():
        if value and name not in _TABLE_READS:
            raise unsupported(f"a table with {name}")
    if node.args.get("partition"):
        raise SqlError("PARTITION () clause on non partitioned table", code=1747)
    alias = node.alias or node.name
    if not node.db and node.name.lower() in lowering.ctes:
        cte = lowering.ctes[node.name.lower()]
        relation = Relation(
            alias, columns_of(alias, cte.types), keys=cte.keys, origins=cte.origins, step=cte.step
        )
        return _added(scope, relation, f"{named(cte.source)} as {named(alias)}")
    if not node.db and node.name.lower() == "dual":
        return _DUAL
    definition = find_table(lowering, node)
    source = node.meta.get("source") or f"s{len(lowering.tables)}"
    used: dict[str, None] = {}
    lowering.tables[source] = (definition, used)
    relation = _TableRelation(lowering, alias, definition, used)
    return _added(scope, relation, f"{named(source)} as {named(alias)}")


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
        origins = {
            column.name: Origin(
                *(alias, column.name, definition.name, definition.database, column.nullable, column.key)
            )
            for column in definition.columns
        }
        super().__init__(alias, columns, keys, origins)
        self._definition = definition
        self._used = used

    def named(self, name: str) -> str | None:
        column = self._definition.column(name)
        return None if column is None else column.name

    def find(self, name: str) -> Typed | None:
        column = self.named(name)
        if column is None:
            return None
        self._used[column] = None
        return self.columns[column]


def _joins(lowering: Lowering, left: _Joined, owner: exp.Expression, scope: Scope) -> _Joined:
    """``left`` with the joins of ``owner``."""
    outside = scope.visible
    for join in owner.args.get("joins") or []:
        scope.visible = outside + left.columns
        left = _join(lowering, join, left, scope)
    scope.visible = outside
    return left


def _join(lowering: Lowering, join: exp.Join, left: _Joined, scope: Scope) -> _Joined:
    for name, value in join.args.items():
        if value and name not in _JOIN_READS:
            raise unsupported(f"a join with {name}")
    side, kind = (str(join.args.get(name) or "").lower() for name in ("side", "kind"))
    if side == "full" or kind not in ("", "inner", "cross", "outer", "straight", "straight_join"):
        raise unsupported(f"{side} {kind} JOIN")
    if side == "right" and isinstance(join.this, exp.Lateral):
        raise unsupported("RIGHT JOIN LATERAL")
    right = _relation(lowering, join.this, scope)
    optional = {"left": right.relations, "right": left.relations}.get(side, [])
    for relation in optional:
        relation.optional = True
    on, using = join.args.get("on"), join.args.get("using")
    if using or join.args.get("method"):
        names = [each.name for each in using] if using else _shared(left, right)
        pairs = [(_common(left, name), _common(right, name)) for name in names]
        conditions = [compare(lowering, "=", one, other).sql for one, other in pairs]
        for one, other in pairs:
            scope.determines += [(one.sql, other.sql)] if side != "right" else []
            scope.determines += [(other.sql, one.sql)] if side != "left" else []
        joined = _beside(left, right, f"{side} join", " and ".join(conditions) or "true")
        # RIGHT JOIN is the LEFT JOIN of its operands the other way round, and its columns come so too.
        operands = (right, left) if side == "right" else (left, right)
        return replace(joined, columns=_merged(*operands, names))
    if on is not None:
        joined = _beside(left, right, f"{side} join")
        return replace(joined, sql=f"{joined.sql} on {_condition(lowering, on, joined, scope, optional)}")
    if side:
        raise unsupported(f"{side} JOIN without ON")
    return _beside(left, right, "cross join")


def _condition(
    lowering: Lowering, on: exp.Expression, joined: _Joined, scope: Scope, optional: Sequence[Relation]
) -> str:
    """ON sees the operands of its own join. MySQL manual: JOIN Clause."""
    clause, relations, visible = lowering.clause, scope.relations, scope.visible
    lowering.clause, scope.relations, scope.visible = "on clause", joined.relations, joined.columns
    condition = truth(lowering.expression(on))
    note_equalities(scope, on, optional)
    lowering.clause, scope.relations, scope.visible = clause, relations, visible
    return condition


def _shared(left: _Joined, right: _Joined) -> list[str]:
    earlier = {name.lower() for _, name in left.columns}
    return [name for _, name in right.columns if name.lower() in earlier]


def _common(side: _Joined, name: str) -> Typed:
    """:raises SqlError: no column of that name (1054), or several (1052)"""
    found = Scope(visible=side.columns).column(name, "", "from clause")
    if found is None:
        raise unknown_column(name, "", "from clause")
    return found


def _merged(first: _Joined, second: _Joined, names: list[str]) -> list[Place]:
    """The columns in common, then the other ones of each side. MySQL manual: JOIN Clause."""
    common = {name.lower() for name in names}
    merged = [place for place in first.columns if place[1].lower() in common]
    return merged + [
        place for side in (first, second) for place in side.columns if place[1].lower() not in common
    ]
