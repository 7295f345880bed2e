"""Queries that read what they gave before. MySQL manual: WITH (Common Table Expressions), Recursive CTEs."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.engine.refusals import Refused
from z4sql.sql.errors import SqlError, Unsupported
from z4sql.sql.lowering.conversion import unify
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.grouping import aggregates
from z4sql.sql.lowering.query import LoweredQuery, column_names, limit_clause, lower_query, other_count, side
from z4sql.sql.lowering.scope import Cte
from z4sql.sql.lowering.typed import Type, named, quoted, without_literal
from z4sql.sql.types import Kind

_DEPTH = "cte_max_recursion_depth"
_USUAL_DEPTH = 1000
_STEP = "#step"
"""How many steps led to a row, in a column that no query can name."""

_IN_BLOCK = "ORDER BY / LIMIT / SELECT DISTINCT in recursive query block of Common Table Expression"
_OVER_UNION = "ORDER BY over UNION in recursive Common Table Expression"


def refers(query: exp.Expression, name: str) -> bool:
    """Whether ``query`` reads the CTE that it defines."""
    return bool(_references(query, name))


def _references(query: exp.Expression, name: str) -> list[exp.Table]:
    return [each for each in query.find_all(exp.Table) if not each.db and each.name.lower() == name.lower()]


def recursive_cte(
    lowering: Lowering, query: exp.Expression, name: str, given: list[str]
) -> tuple[list[str], Cte]:
    """Its definitions for the engine, and what it is to those who read it.

    The first part tells the types, to which what the steps give is converted.

    :raises SqlError: what MySQL does not let a recursion do (3573-3577), or 1235.
    """
    bases, steps = _parts(query, name)
    united = _united(bases)
    base = lower_query(lowering, united)
    names = column_names(given, base.columns)
    rows = f"{name.lower()}{_STEP}s"
    distinct = bool(query.args.get("distinct"))
    # Rows that differ by the number of their step would all be new to UNION.
    step = "" if distinct else _STEP
    known = dict(zip(names, (without_literal(type_) for _, type_ in base.columns), strict=True))
    lowering.ctes[name.lower()] = Cte(known, rows, step)
    following = [lower_query(lowering, each) for each in steps]
    columns = _kept(base, following)
    word = "union" if distinct else "union all"
    places = [f"c{at}" for at in range(len(columns))]
    first = side(base, columns, places, distinct=distinct, also="0" if step else "")
    more = [
        side(each, columns, places, distinct=distinct, also=_counted(lowering) if step else "", step=step)
        for each in following
    ]
    listed = ", ".join(map(named, names))
    inner = f"{listed}, {named(step)}" if step else listed
    # The engine lets one SELECT go on, whatever that reads from.
    rest = more[0] if len(more) == 1 else f"select * from ({' union all '.join(more)})"
    definitions = [
        f"{named(rows)}({inner}) as ({first} {word} ({rest}))",
        f"{named(name.lower())}({listed}) as (select {listed} from {named(rows)}{limit_clause(query)})",
    ]
    types = {column: type_ for column, (_, type_) in zip(names, columns, strict=True)}
    return definitions, Cte(types, name.lower())


def _parts(query: exp.Expression, name: str) -> tuple[list[exp.Expression], list[exp.Expression]]:
    """What begins, and what goes on from it. :raises SqlError: see `recursive_cte`"""
    if not isinstance(query, exp.Union):
        raise _wrong(name, "should contain a UNION", 3573)
    if query.args.get("order") is not None:
        raise _not_yet(_OVER_UNION)
    parts = [*_flat(query.this, bool(query.args.get("distinct"))), query.expression]
    recursive = [refers(each, name) for each in parts]
    first = recursive.index(True)
    if first == 0 or not all(recursive[first:]):
        message = "should have one or more non-recursive query blocks followed by one or more recursive ones"
        raise _wrong(name, message, 3574)
    for step in parts[first:]:
        _check_step(step, name)
    return parts[:first], parts[first:]


def _flat(query: exp.Expression, distinct: bool) -> list[exp.Expression]:
    """What a UNION without clauses of its own unites."""
    own = any(query.args.get(key) for key in ("with_", "order", "limit", "offset"))
    if own or not isinstance(query, exp.Union):
        return [query]
    if bool(query.args.get("distinct")) is not distinct:
        raise _not_yet("UNION and UNION ALL in one recursion")
    return [*_flat(query.this, distinct), query.expression]


def _check_step(step: exp.Expression, name: str) -> None:
    select = step.unnest()
    if not isinstance(select, exp.Select):
        return
    blocks = (step, select)
    if any(each.args.get(key) is not None for each in blocks for key in ("order", "limit", "distinct")):
        raise _not_yet(_IN_BLOCK)
    if aggregates(select) or any(each.parent_select is select for each in select.find_all(exp.Window)):
        raise SqlError(
            f"Recursive Common Table Expression '{name}' can contain neither aggregation nor window functions"
            " in recursive query block",
            code=3575,
        )
    references = _references(select, name)
    if len(references) > 1 or references[0].parent_select is not select:
        raise SqlError(
            f"In recursive query block of Recursive Common Table Expression '{name}', the recursive table"
            " must be referenced only once, and not in any subquery",
            code=3577,
        )


def _wrong(name: str, what: str, code: int) -> SqlError:
    return SqlError(f"Recursive Common Table Expression '{name}' {what}", code=code)


def _not_yet(what: str) -> Unsupported:
    return Unsupported(f"This version of MySQL doesn't yet support '{what}'")


def _united(parts: list[exp.Expression]) -> exp.Expression:
    united = parts[0]
    for each in parts[1:]:
        united = exp.Union(this=united, expression=each, distinct=False)
    return united


def _kept(base: LoweredQuery, following: list[LoweredQuery]) -> list[tuple[str, Type]]:
    """The columns of the first part; where that has NULL only, the steps tell the type."""
    for each in following:
        if len(each.columns) != len(base.columns):
            raise other_count()
    return [
        (
            header,
            unify([type_, *(each.columns[at][1] for each in following)])
            if type_.kind is Kind.NULL
            else without_literal(type_),
        )
        for at, (header, type_) in enumerate(base.columns)
    ]


def _counted(lowering: Lowering) -> str:
    """The number of a step, unless it is one too many: then 3636. MySQL manual: Limiting CTE Recursion."""
    variable = lowering.context.variable
    depth = int(str(variable(_DEPTH))) if variable is not None else _USUAL_DEPTH
    message = (
        f"Recursive query aborted after {depth + 1} iterations. Try increasing @@{_DEPTH} to a larger value."
    )
    refused = quoted(str(Refused(3636, message)))
    step = f"side_.{named(_STEP)}"
    return f"case when {step} >= {depth} then error({refused})::integer else {step} end"
