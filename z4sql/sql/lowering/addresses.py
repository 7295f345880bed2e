"""Functions of network addresses and UUIDs. MySQL manual: Miscellaneous Functions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from z4sql.sql.lowering.conversion import as_bytes, as_text, integer
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import BINARY, BOOL, INT, TEXT, Type, Typed

Arguments = Sequence[exp.Expression]


def _of_text(name: str, type_: Type) -> None:
    @function(name, least=1)
    def handler(lowering: Lowering, arguments: Arguments) -> Typed:
        return Typed(f"my_{name.lower()}({as_text(lowering.expression(arguments[0])).sql})", type_)


def _of_bytes(name: str, type_: Type) -> None:
    @function(name, least=1)
    def handler(lowering: Lowering, arguments: Arguments) -> Typed:
        return Typed(f"my_{name.lower()}({as_bytes(lowering.expression(arguments[0]))})", type_)


for _name, _type in (("INET_ATON", INT), ("INET6_ATON", BINARY)):
    _of_text(_name, _type)
for _name in ("IS_IPV4", "IS_IPV6", "IS_UUID"):
    _of_text(_name, BOOL)
for _name, _type in (("INET6_NTOA", TEXT), ("IS_IPV4_COMPAT", BOOL), ("IS_IPV4_MAPPED", BOOL)):
    _of_bytes(_name, _type)


@function("INET_NTOA", least=1)
def _inet_ntoa(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"my_inet_ntoa({integer(lowering.expression(arguments[0]))})", TEXT)


def _swap(lowering: Lowering, arguments: Arguments) -> str:
    """Whether the parts of the time are swapped; NULL counts as no."""
    return f"coalesce({integer(lowering.expression(arguments[1]))},0)" if len(arguments) > 1 else "0"


@function("UUID_TO_BIN", least=1, most=2)
def _uuid_to_bin(lowering: Lowering, arguments: Arguments) -> Typed:
    value = as_text(lowering.expression(arguments[0])).sql
    return Typed(f"my_uuid_to_bin({value},{_swap(lowering, arguments)})", BINARY)


@function("BIN_TO_UUID", least=1, most=2)
def _bin_to_uuid(lowering: Lowering, arguments: Arguments) -> Typed:
    value = as_bytes(lowering.expression(arguments[0]))
    return Typed(f"my_bin_to_uuid({value},{_swap(lowering, arguments)})", TEXT)


@lowers(exp.Uuid, reads="is_string")
def _uuid(lowering: Lowering, _node: exp.Expression) -> Typed:
    lowering.steady = False
    return Typed("uuid()::varchar", TEXT)
