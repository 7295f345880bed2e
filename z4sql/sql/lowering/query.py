"""WITH, UNION and parentheses around SELECT. MySQL manual: WITH; UNION Clause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.aggregates import direction, order_key
from z4sql.sql.lowering.comparison import group_key, order_text, other_column_count
from z4sql.sql.lowering.conversion import convert, unify
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.grouping import has_aggregate
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.scope import Cte, Origin, Relation, Scope, places, unknown_column
from z4sql.sql.lowering.typed import Type, Typed, named
from z4sql.sql.types import Kind

_QUERY_ARGS = frozenset(
    {
        *("with_", "this", "expression", "distinct", "order", "limit", "offset", "by_name"),
        *("side", "kind", "on", "alias", "expressions", "match"),
    }
)


@dataclass(slots=True)
class LoweredQuery:
    """``columns``: names and types, in order. Names may repeat."""

    sql: str
    columns: list[tuple[str, Type]]
    origins: list[Origin | None]
    """Where a result column is a table's own."""
    sides: tuple[LoweredQuery, ...] = ()
    """Of a plain UNION: what it unites. Where it is part of another UNION, all of these have one type."""
    distinct: bool = False
    """Whether a UNION drops rows that are there already."""
    keys: tuple[int, ...] = ()
    """The places of columns that determine the others."""

    def named_keys(self, names: list[str]) -> tuple[str, ...]:
        """The columns that determine the others, where all are called ``names``."""
        return tuple(names[at] for at in self.keys)

    def named_origins(self, names: list[str]) -> dict[str, Origin]:
        """What is known of the columns, where they are called ``names``; an own spelling stays."""
        return {
            name: origin if name.lower() == origin.name.lower() else replace(origin, name=name)
            for name, origin in zip(names, self.origins, strict=True)
            if origin is not None
        }


def lower_query(lowering: Lowering, query: exp.Expression) -> LoweredQuery:
    """Lower a query expression of any shape."""
    from z4sql.sql.lowering.select import lower_select

    if isinstance(query, exp.Subquery):
        if not any(query.args.get(name) for name in ("order", "limit", "offset", "with_")):
            return lower_query(lowering, query.this)
        return _ordered(lowering, query, lower_query(lowering, query.this))
    with_ = query.args.get("with_")
    before = dict(lowering.ctes)
    prefix = "" if with_ is None else _lower_with(lowering, with_)
    try:
        if isinstance(query, exp.SetOperation):
            lowered = _lower_set_operation(lowering, query)
        elif isinstance(query, exp.Select):
            lowered = lower_select(lowering, query)
        else:
            raise unsupported(query.key)
    finally:
        lowering.ctes = before
    return replace(lowered, sql=prefix + lowered.sql, sides=()) if prefix else lowered


def unique_names(columns: list[tuple[str, Type]]) -> list[str]:
    """Names for the engine, each once."""
    seen: set[str] = set()
    names = []
    for position, (name, _) in enumerate(columns):
        unique = name if name.lower() not in seen and name else f"{name}#{position}"
        seen.add(unique.lower())
        names.append(unique)
    return names


def column_names(given: list[str], columns: list[tuple[str, Type]]) -> list[str]:
    """Those of a derived table or CTE: as ``given``, or else its query's own.

    :raises SqlError: there are more or fewer columns (1353), or two with one name (1060)
    """
    if given and len(given) != len(columns):
        raise SqlError(
            "In definition of view, derived table or common table expression, SELECT list and column"
            " names list have different column counts",
            code=1353,
        )
    seen: set[str] = set()
    for name in given or [name for name, _ in columns]:
        if name.lower() in seen:
            raise SqlError(f"Duplicate column name '{name}'", code=1060, state="42S21")
        seen.add(name.lower())
    return given or unique_names(columns)


def _lower_with(lowering: Lowering, with_: exp.Expression) -> str:
    from z4sql.sql.lowering.recursion import recursive_cte, refers

    recursive = bool(with_.args.get("recursive"))
    definitions: list[str] = []
    names = [cte.alias for cte in with_.expressions]
    for at, (name, cte) in enumerate(zip(names, with_.expressions, strict=True)):
        if name.lower() in {each.lower() for each in names[:at]}:
            raise SqlError(f"Not unique table/alias: '{name}'", code=1066, state="42000")
        given = [column.name for column in cte.args["alias"].args.get("columns") or []]
        if recursive and refers(cte.this, name):
            lowering.inflated = True
            parts, defined = recursive_cte(lowering, cte.this, name, given)
        else:
            lowered = lower_query(lowering, cte.this)
            columns = column_names(given, lowered.columns)
            types = {column: type_ for column, (_, type_) in zip(columns, lowered.columns, strict=True)}
            listed = ", ".join(map(named, columns))
            parts = [f"{named(name.lower())}({listed}) as ({lowered.sql})"]
            keys, origins = lowered.named_keys(columns), lowered.named_origins(columns)
            defined = Cte(types, name.lower(), keys=keys, origins=origins)
        lowering.ctes[name.lower()] = defined
        definitions += parts
    return f"with {'recursive ' if recursive else ''}{', '.join(definitions)} "


def _lower_set_operation(lowering: Lowering, query: exp.Expression) -> LoweredQuery:
    for name, value in query.args.items():
        if value and name not in _QUERY_ARGS:
            raise unsupported(f"{query.key} with {name}")
    left, right = lower_query(lowering, query.this), lower_query(lowering, query.expression)
    if len(left.columns) != len(right.columns):
        raise other_count()
    distinct = bool(query.args.get("distinct"))
    word = query.key
    flat = word == "union" and left.sides and (distinct or not left.distinct)
    united = (*left.sides, right) if flat else (left, right)
    columns = [
        (left.columns[at][0], unify([side.columns[at][1] for side in united]))
        for at in range(len(left.columns))
    ]
    names = [f"c{position}" for position in range(len(columns))]
    keys = [group_key(Typed(name, type_)) for name, (_, type_) in zip(names, columns, strict=True)]
    if word == "union" and distinct and keys != names:
        return _ordered(lowering, query, _keyed_union(united, columns, names, keys))
    sides = [side(each, columns, names, distinct=distinct) for each in united]
    if word not in ("union", "except", "intersect"):
        raise unsupported(word)
    shown = unique_names(columns)
    listed = ", ".join(f"{name} as {named(header)}" for name, header in zip(names, shown, strict=True))
    body = f" {word}{'' if distinct else ' all'} ".join(f"({each})" for each in sides)
    sql = f"select {listed} from ({body}) as set_({', '.join(names)})"
    lowered = LoweredQuery(sql, columns, [None] * len(columns), united if word == "union" else (), distinct)
    return _ordered(lowering, query, lowered)


def _keyed_union(
    sides: Sequence[LoweredQuery],
    columns: list[tuple[str, Type]],
    names: list[str],
    keys: list[str],
) -> LoweredQuery:
    """A UNION of texts: of rows that count as equal, the first stays as it is."""
    body = " union all ".join(f"({side(each, columns, names, distinct=False)})" for each in sides)
    shown = unique_names(columns)
    listed = ", ".join(f"{name} as {named(header)}" for name, header in zip(names, shown, strict=True))
    sql = f"select distinct on ({', '.join(keys)}) {listed} from ({body}) as set_({', '.join(names)})"
    return LoweredQuery(sql, columns, [None] * len(columns), tuple(sides), True)


def other_count() -> SqlError:
    message = "The used SELECT statements have a different number of columns"
    return SqlError(message, code=1222, state="21000")


def side(
    lowered: LoweredQuery,
    columns: list[tuple[str, Type]],
    names: list[str],
    *,
    distinct: bool,
    also: str = "",
    step: str = "",
) -> str:
    """What a UNION unites: ``lowered`` with the types of ``columns``.

    ``also``: one cell more, for which there is the column ``step``.
    """
    cells = []
    for name, (_, own), (_, type_) in zip(names, lowered.columns, columns, strict=True):
        cell = convert(Typed(f"side_.{name}", own), type_)
        if distinct and type_.kind is Kind.STRING:
            cell = group_key(Typed(cell, type_))
        cells.append(f"{cell} as {name}")
    listed = ", ".join([*names, named(step)] if step else names)
    return f"select {', '.join([*cells, also] if also else cells)} from ({lowered.sql}) as side_({listed})"


def _ordered(lowering: Lowering, query: exp.Expression, lowered: LoweredQuery) -> LoweredQuery:
    """ORDER BY and LIMIT of a whole query expression."""
    order = query.args.get("order")
    if order is None and query.args.get("limit") is None and query.args.get("offset") is None:
        return lowered
    names = unique_names(lowered.columns)
    relation = Relation(
        "set_",
        {
            name: Typed(f"set_.{named(name)}", type_)
            for name, (_, type_) in zip(names, lowered.columns, strict=True)
        },
    )
    sql = f"select * from ({lowered.sql}) as set_({', '.join(named(name) for name in names)})"
    lowering.scopes.append(Scope([relation], places(relation)))
    try:
        if order is not None:
            keys = []
            for each in order.expressions:
                keys.append(_united_key(lowering, each, relation, names))
            sql += " order by " + ", ".join(keys)
    finally:
        lowering.scopes.pop()
    return LoweredQuery(sql + limit_clause(query), lowered.columns, lowered.origins)


def _united_key(lowering: Lowering, ordered: exp.Expression, relation: Relation, names: list[str]) -> str:
    """:raises SqlError: no such column (1054); one by its table (1250), an aggregate (3028)"""
    node = ordered.this.unnest()
    if isinstance(node, exp.Literal) and node.is_int:
        position = int(str(node.this)) - 1
        if not 0 <= position < len(names):
            raise unknown_column(str(node.this), "", "order clause")
        return order_text(relation.columns[names[position]]) + direction(ordered)
    if isinstance(node, exp.Column) and node.table:
        message = f"Table '{node.table}' from one of the SELECTs cannot be used in global ORDER clause"
        raise SqlError(message, code=1250, state="42000")
    if has_aggregate(node):
        place = f"Expression #{(ordered.index or 0) + 1} of ORDER BY"
        message = f"{place} contains aggregate function and applies to a UNION, EXCEPT or INTERSECT"
        raise SqlError(message, code=3028)
    clause, lowering.clause = lowering.clause, "order clause"
    try:
        return order_key(lowering, ordered)
    finally:
        lowering.clause = clause


def limit_clause(query: exp.Expression) -> str:
    """LIMIT and OFFSET, constants both."""
    clause = ""
    for word in ("limit", "offset"):
        node = query.args.get(word)
        if node is not None:
            count = node.expression
            if not isinstance(count, exp.Literal) or not str(count.this).isdecimal():
                raise unsupported(f"{word.upper()} that is no constant")
            clause += f" {word} {min(int(str(count.this)), 2**62)}"
    return clause


@lowers(exp.Subquery, reads="this alias")
def _scalar_subquery(lowering: Lowering, node: exp.Expression) -> Typed:
    lowered = lower_query(lowering, node.this)
    if len(lowered.columns) != 1:
        raise other_column_count(1)
    return Typed(f"({lowered.sql})", lowered.columns[0][1])


@lowers(exp.Select, reads=" ".join(sorted(exp.Select.arg_types)))
def _bare_select(lowering: Lowering, node: exp.Expression) -> Typed:
    lowered = lower_query(lowering, node)
    if len(lowered.columns) != 1:
        raise other_column_count(1)
    return Typed(f"({lowered.sql})", lowered.columns[0][1])
