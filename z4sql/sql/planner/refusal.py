"""The error for a reading without bounds: what is missing, where, and the user's own query corrected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlglot
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from z4sql.sql.errors import Unbounded
from z4sql.sql.planner.predicates import DELIVER_AT, NAMESPACE
from z4sql.sql.planner.references import Source

_EXAMPLES: Final = {
    NAMESPACE: "{}namespace = 'my_namespace'",
    DELIVER_AT: "{0}deliver_at BETWEEN NOW() - INTERVAL 1 DAY AND NOW()",
}
_SHOWN_MAX: Final = 400
_AROUND: Final = 120

_JOINS: Final = {
    TokenType.JOIN,
    TokenType.LEFT,
    TokenType.RIGHT,
    TokenType.INNER,
    TokenType.CROSS,
    TokenType.NATURAL,
    TokenType.STRAIGHT_JOIN,
    TokenType.COMMA,
}
_ENDS: Final = {
    TokenType.GROUP_BY,
    TokenType.HAVING,
    TokenType.ORDER_BY,
    TokenType.LIMIT,
    TokenType.OFFSET,
    TokenType.UNION,
    TokenType.EXCEPT,
    TokenType.INTERSECT,
    TokenType.FOR,
    TokenType.INTO,
    TokenType.WINDOW,
    TokenType.LOCK,
    TokenType.SEMICOLON,
}
_WEAKER_THAN_AND: Final = {TokenType.OR, TokenType.XOR, TokenType.DPIPE}


def unbounded(source: Source, missing: Sequence[str], text: str, branches: Sequence[str] = ()) -> Unbounded:
    """1104 for ``source``. ``branches``: the arms of an OR that lack the bound, as text."""
    assert source.table is not None
    alone = len(source.frame.sources) == 1
    prefix = "" if alone else f"{source.node.alias_or_name}."
    addition = " AND ".join(_EXAMPLES[column].format(prefix) for column in missing)
    name = source.table.name
    shown = f"'{name}'" if source.name == name.lower() else f"'{name}' (as '{source.node.alias_or_name}')"
    message = f"Query on {shown} must bound {' and '.join(missing)}"
    if branches:
        listed = ", ".join(f'"{branch}"' for branch in branches)
        message += f" in every branch of OR; not bounded: {listed}"
    corrected = _corrected(source, addition, text)
    has_where = source.frame.select.args.get("where") is not None
    message += f': add e.g. "{"AND" if has_where else "WHERE"} {addition}"'
    if corrected is not None:
        message += f". Corrected: {corrected}"
    return Unbounded(message)


def _corrected(source: Source, addition: str, text: str) -> str | None:
    """The statement with ``addition`` where it belongs; None when its text cannot be followed."""
    start = source.node.this.meta.get("start")
    try:
        tokens = sqlglot.tokenize(text, read="mysql")
    except SqlglotError:
        return None
    at = next((index for index, token in enumerate(tokens) if token.start == start), None)
    if at is None or tokens[at].text.lower() != source.node.this.name.lower():
        return None
    keyword = TokenType.ON if source.nullable else TokenType.WHERE
    clause, end = _clause(tokens, at, keyword)
    if source.nullable and clause is None:
        clause, end = _clause(tokens, at, TokenType.WHERE)
    if clause is None:
        where = tokens[end - 1].end + 1
        pieces = [text[:where], f" WHERE {addition}", text[where:]]
    else:
        lo, hi = tokens[clause + 1].start, tokens[end - 1].end + 1
        held = text[lo:hi]
        if _has_weaker(tokens[clause + 1 : end]):
            held = f"({held})"
        pieces = [f"{text[:lo]}{held}", f" AND {addition}", text[hi:]]
    return _shortened(*pieces)


def _clause(tokens: Sequence[Token], at: int, keyword: TokenType) -> tuple[int | None, int]:
    """(index of the keyword, index behind its expression) of the SELECT that reads the table at ``at``."""
    depth = _parentheses_of_join(tokens, at)
    found: int | None = None
    index = at
    for index in range(at + 1, len(tokens)):
        kind = tokens[index].token_type
        if kind == TokenType.L_PAREN:
            depth += 1
        elif kind == TokenType.R_PAREN:
            depth -= 1
            if depth < 0:
                return found, index
        elif depth == 0 and kind in _ENDS:
            return found, index
        elif depth == 0 and found is not None and keyword == TokenType.ON:
            if kind in _JOINS or kind == TokenType.WHERE:
                return found, index
        elif depth == 0 and kind == keyword and found is None:
            found = index
    return found, len(tokens)


def _parentheses_of_join(tokens: Sequence[Token], at: int) -> int:
    """How many parentheses stand open between FROM and the table: those of joins."""
    depth = opened = 0
    for index in range(at - 1, -1, -1):
        kind = tokens[index].token_type
        if kind == TokenType.R_PAREN:
            depth += 1
        elif kind == TokenType.L_PAREN:
            depth -= 1
            if depth < 0:
                opened, depth = opened + 1, 0
        elif kind == TokenType.FROM and depth == 0:
            return opened
    return 0


def _has_weaker(tokens: Sequence[Token]) -> bool:
    depth = 0
    for token in tokens:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth == 0 and token.token_type in _WEAKER_THAN_AND:
            return True
    return False


def _shortened(before: str, added: str, after: str) -> str:
    before, after = before.lstrip(), after.rstrip().rstrip(";")
    if len(before) + len(added) + len(after) <= _SHOWN_MAX:
        return f"{before}{added}{after}"
    if len(before) > _AROUND:
        before = "... " + before[-_AROUND:]
    if len(after) > _AROUND:
        after = after[:_AROUND] + " ..."
    return f"{before}{added}{after}"
