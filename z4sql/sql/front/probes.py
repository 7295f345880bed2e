"""Queries of constants and session values (``SELECT @@version_comment LIMIT 1``), answered at once.

Pools and tools send them all the time, and must get answers when no data can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sqlglot import exp

from z4sql.sql.errors import Unsupported
from z4sql.sql.front.results import UINT, result_set, type_of
from z4sql.sql.front.scalar import Scalar, evaluate, parameter_name
from z4sql.sql.front.session import Session
from z4sql.sql.front.session_names import SessionNames
from z4sql.sql.front.variables import system_variable
from z4sql.sql.lowering.names import shown_name, typed_names
from z4sql.sql.result import ResultSet
from z4sql.sql.types import ResultColumn

_CONSTANTS = (exp.Literal, exp.SessionParameter, exp.Null)
_FUNCTIONS = frozenset(
    {
        "USER",
        "SESSION_USER",
        "SYSTEM_USER",
        "CURRENT_USER",
        "SCHEMA",
        "DATABASE",
        "VERSION",
        "CONNECTION_ID",
        "CURRENT_ROLE",
        "LAST_INSERT_ID",
        "FOUND_ROWS",
        "ROW_COUNT",
    }
)
_SESSION_NODES = tuple(
    getattr(exp, name)
    for name in (
        *("CurrentUser", "CurrentSchema", "CurrentDatabase", "CurrentVersion", "Version", "SessionUser"),
        "CurrentRole",
    )
    if hasattr(exp, name)
)
_UNSIGNED = frozenset({"CONNECTION_ID", "LAST_INSERT_ID"})
_PLAIN = frozenset({"expressions", "limit", "kind"})
_VALUES_MAX = 200
"""More than any client asks for at once, and worked out on the loop in no time."""


def probe(query: exp.Expression, text: str, session: Session) -> ResultSet | None:
    """The answer, None when ``query`` is no probe.

    :raises SqlError: unknown variables (1193).
    """
    if not isinstance(query, exp.Select) or any(
        value for key, value in query.args.items() if key not in _PLAIN
    ):
        return None
    if len(query.expressions) > _VALUES_MAX:
        return None
    limit = query.args.get("limit")
    if limit is not None and not _at_least_one(limit):
        return None
    values: list[Scalar] = []
    for projection in query.expressions:
        inner = projection.unalias()
        if not _is_plain(inner):
            return None
        try:
            values.append(evaluate(inner, SessionNames(session)))
        except Unsupported:
            return None
    columns = [
        _column(name, projection.unalias(), value)
        for name, projection, value in zip(_names(query, text), query.expressions, values, strict=True)
    ]
    return result_set(columns, [values])


def _column(name: str, node: exp.Expression, value: Scalar) -> ResultColumn:
    if isinstance(node, exp.SessionParameter):
        return ResultColumn(name, system_variable(parameter_name(node)).type)
    if isinstance(node, exp.Anonymous) and str(node.this).upper() in _UNSIGNED:
        return ResultColumn(name, UINT, nullable=False)
    may_be_null = isinstance(value, str) and isinstance(node, (exp.Anonymous, *_SESSION_NODES))
    return ResultColumn(name, type_of(value), nullable=value is None or may_be_null)


def _at_least_one(limit: exp.Expression) -> bool:
    count = limit.args.get("expression")
    return isinstance(count, exp.Literal) and not count.is_string and str(count.this) not in ("0", "")


def _is_plain(node: exp.Expression) -> bool:
    if isinstance(node, exp.Anonymous):
        return str(node.this).upper() in _FUNCTIONS and not node.expressions
    if isinstance(node, exp.Neg):
        return isinstance(node.this, exp.Literal)
    return isinstance(node, (*_CONSTANTS, *_SESSION_NODES))


@lru_cache(maxsize=256)
def _typed_names(text: str) -> tuple[str, ...]:
    return tuple(typed_names(text))


def _names(query: exp.Select, text: str) -> list[str]:
    typed: Sequence[str | None] = _typed_names(text)
    known = typed if len(typed) == len(query.expressions) else [None] * len(query.expressions)
    return [shown_name(each, name) for each, name in zip(query.expressions, known, strict=True)]
