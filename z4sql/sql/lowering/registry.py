"""Which function lowers which node or SQL function. What nobody registered is refused, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from sqlglot import exp

from z4sql.sql.lowering.typed import Typed

if TYPE_CHECKING:
    from z4sql.sql.lowering.expressions import Lowering

NodeHandler = Callable[["Lowering", "exp.Expression"], Typed]
FunctionHandler = Callable[["Lowering", "Sequence[exp.Expression]"], Typed]

N = TypeVar("N", bound=NodeHandler)
F = TypeVar("F", bound=FunctionHandler)

_nodes: dict[type[exp.Expression], tuple[NodeHandler, frozenset[str]]] = {}
_functions: dict[str, tuple[FunctionHandler, int, int]] = {}


def lowers(*kinds: type[exp.Expression], reads: str) -> Callable[[N], N]:
    """Register a handler; ``reads`` are the arguments of the node that it takes into account.

    A node with any other argument set is refused: `Like(negate=True)` once inverted an answer in silence.
    """

    def register(handler: N) -> N:
        for kind in kinds:
            _nodes[kind] = (handler, frozenset(reads.split()))
        return handler

    return register


def function(*names: str, least: int, most: int | None = None) -> Callable[[F], F]:
    """Register a function that the parser has no node for, with how many arguments it takes."""

    def register(handler: F) -> F:
        for name in names:
            _functions[name] = (handler, least, least if most is None else most)
        return handler

    return register


def node_handler(node: exp.Expression) -> tuple[NodeHandler, frozenset[str]] | None:
    return _nodes.get(type(node))


def function_handler(name: str) -> tuple[FunctionHandler, int, int] | None:
    return _functions.get(name.upper())
