"""Functions and variables of the session. MySQL manual: Information Functions."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlglot import exp

from z4sql.sql.lowering.conversion import integer
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import DOUBLE, INT, NULL, TEXT, UINT, Typed, decimal, quoted
from z4sql.sql.types import Collation, Kind

Arguments = Sequence[exp.Expression]


def constant(value: object) -> Typed:
    """A Python value as a constant."""
    if value is None:
        return Typed("null", NULL)
    if isinstance(value, bool):
        return Typed(f"{int(value)}::bigint", INT)
    if isinstance(value, int):
        return Typed(f"{value}::bigint", INT) if value < 2**63 else Typed(f"{value}::ubigint", UINT)
    if isinstance(value, float):
        return Typed(f"{value!r}::double", DOUBLE)
    if isinstance(value, Decimal):
        scale = max(0, -int(value.as_tuple().exponent))
        return Typed(f"{value:f}", decimal(scale))
    return Typed(quoted(str(value)), TEXT)


@lowers(exp.SessionParameter, reads="this kind")
def _session_variable(lowering: Lowering, node: exp.Expression) -> Typed:
    if lowering.context.variable is None:
        raise unsupported("@@variables")
    name = node.this.name if isinstance(node.this, exp.Expression) else str(node.this)
    scope = str(node.args.get("kind") or "").lower()
    return constant(lowering.context.variable(f"{scope}.{name.lower()}".removeprefix(".")))


@lowers(exp.CurrentSchema, exp.CurrentDatabase, reads="this")
def _database(lowering: Lowering, _node: exp.Expression) -> Typed:
    return constant(lowering.context.database)


@function("DATABASE", "SCHEMA", least=0)
def _database_function(lowering: Lowering, _arguments: Arguments) -> Typed:
    return constant(lowering.context.database)


def _account(lowering: Lowering) -> Typed:
    return constant(f"{lowering.context.user}@{lowering.context.host}")


@lowers(exp.CurrentUser, reads="this")
def _current_user(lowering: Lowering, _node: exp.Expression) -> Typed:
    """The account that let the user in, which is one of any host."""
    return constant(f"{lowering.context.user}@%")


@lowers(exp.SessionUser, reads="this")
def _session_user(lowering: Lowering, _node: exp.Expression) -> Typed:
    return _account(lowering)


@function("USER", "SESSION_USER", "SYSTEM_USER", least=0)
def _user(lowering: Lowering, _arguments: Arguments) -> Typed:
    return _account(lowering)


@lowers(exp.CurrentRole, reads="")
def _current_role(_lowering: Lowering, _node: exp.Expression) -> Typed:
    return constant("NONE")


@function("VERSION", least=0)
def _version(lowering: Lowering, _arguments: Arguments) -> Typed:
    variable = lowering.context.variable
    return constant(variable("version") if variable is not None else "8.0.36-z4")


@lowers(exp.Version, exp.CurrentVersion, reads="")
def _version_node(lowering: Lowering, _node: exp.Expression) -> Typed:
    return _version(lowering, ())


@function("CONNECTION_ID", least=0)
def _connection_id(lowering: Lowering, _arguments: Arguments) -> Typed:
    return constant(lowering.context.connection_id)


@function("Z4_APPLIED_INDEX", least=0)
def _applied_index(lowering: Lowering, _arguments: Arguments) -> Typed:
    return constant(lowering.context.position()[0])


@function("Z4_LAG_MS", least=0)
def _lag_ms(lowering: Lowering, _arguments: Arguments) -> Typed:
    return constant(lowering.context.position()[1])


@function("FOUND_ROWS", least=0)
def _found_rows(lowering: Lowering, _arguments: Arguments) -> Typed:
    return constant(lowering.context.found_rows)


@function("LAST_INSERT_ID", "ROW_COUNT", least=0, most=1)
def _counters(_lowering: Lowering, _arguments: Arguments) -> Typed:
    return constant(0)


@function("BENCHMARK", least=2)
def _benchmark(lowering: Lowering, arguments: Arguments) -> Typed:
    """Nothing is worked out for its own sake."""
    times = integer(lowering.expression(arguments[0]))
    return Typed(f"(case when {times}>=0 then 0 end)::bigint", INT)


@function("NAME_CONST", least=2)
def _name_const(lowering: Lowering, arguments: Arguments) -> Typed:
    return lowering.expression(arguments[1])


@function("CHARSET", least=1)
def _charset(lowering: Lowering, arguments: Arguments) -> Typed:
    return constant(_collation(lowering.expression(arguments[0])).partition("_")[0])


@lowers(exp.Collation, reads="this")
def _collation_of(lowering: Lowering, node: exp.Expression) -> Typed:
    return constant(_collation(lowering.expression(node.this)))


def _collation(value: Typed) -> str:
    return (value.type.collation if value.kind is Kind.STRING else Collation.BINARY).value


@function("COERCIBILITY", least=1)
def _coercibility(lowering: Lowering, arguments: Arguments) -> Typed:
    """MySQL manual: Collation Coercibility in Expressions."""
    node, value = arguments[0], lowering.expression(arguments[0])
    if isinstance(node, exp.Collate):
        return constant(0)
    if value.kind is Kind.NULL:
        return constant(6)
    if value.kind not in (Kind.STRING, Kind.BINARY, Kind.JSON):
        return constant(5)
    return constant(2 if node.find(exp.Column) is not None else 4)
