"""Names of result columns: MySQL shows an expression as it was typed."""

from __future__ import annotations

import re
from itertools import pairwise

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.tokenizer_core import Token, TokenType

from z4sql.sql.front.source import syntax_problem
from z4sql.sql.lowering.json_paths import path_legs

_ARROWS = frozenset({TokenType.ARROW, TokenType.DARROW})
_REPAIRING = re.compile(r"JSON_(?:EXTRACT|VALUE|KEYS)", re.IGNORECASE)
"""Functions whose paths the parser takes apart; those of all others come as they were written."""
_OPEN = frozenset({TokenType.L_PAREN})
_CLOSE = frozenset({TokenType.R_PAREN})
_END = frozenset(
    {
        TokenType.FROM,
        TokenType.WHERE,
        TokenType.GROUP_BY,
        TokenType.HAVING,
        TokenType.ORDER_BY,
        TokenType.LIMIT,
        TokenType.UNION,
        TokenType.EXCEPT,
        TokenType.INTERSECT,
        TokenType.WINDOW,
        TokenType.SEMICOLON,
        TokenType.INTO,
    }
)
_LOCKS = frozenset({"FOR", "LOCK"})
_MODIFIERS = frozenset(
    {
        "DISTINCT",
        "ALL",
        "DISTINCTROW",
        "SQL_NO_CACHE",
        "SQL_CALC_FOUND_ROWS",
        "HIGH_PRIORITY",
        "STRAIGHT_JOIN",
        "SQL_SMALL_RESULT",
        "SQL_BIG_RESULT",
        "SQL_BUFFER_RESULT",
    }
)


def typed_names(text: str) -> list[str]:
    """The texts of the outermost select list, without aliases; empty when it cannot be told."""
    try:
        tokens = MySQL().tokenize(text)
    except Exception:
        return []
    start = _first_select(tokens)
    if start is None:
        return []
    while start < len(tokens) and tokens[start].text.upper() in _MODIFIERS:
        start += 1
    names: list[str] = []
    depth, first = 0, start
    for at in range(start, len(tokens) + 1):
        token = tokens[at] if at < len(tokens) else None
        kind = token.token_type if token is not None else TokenType.SEMICOLON
        if kind in _OPEN:
            depth += 1
        elif kind in _CLOSE:
            depth -= 1
        locks = token is not None and token.text.upper() in _LOCKS and at > first
        ends = kind in _END or kind is TokenType.COMMA or token is None or locks
        if depth < 0 or (depth == 0 and ends):
            if at > first:
                names.append(text[tokens[first].start : tokens[at - 1].end + 1])
            if kind is not TokenType.COMMA or depth < 0:
                return names
            first = at + 1
    return names


def _first_select(tokens: list[Token]) -> int | None:
    """Behind the SELECT whose list names the result: the first one outside parentheses, after any WITH."""
    depth = 0
    for at, token in enumerate(tokens):
        if token.token_type in _OPEN:
            depth += 1
        elif token.token_type in _CLOSE:
            depth -= 1
        elif token.token_type is TokenType.SELECT and (depth == 0 or _only_parentheses(tokens[:at])):
            return at + 1
    return None


def _only_parentheses(tokens: list[Token]) -> bool:
    return all(token.token_type in _OPEN for token in tokens)


def check_paths(text: str) -> None:
    """Refuse bad JSON paths where the parser repairs them, and drops quotes: ``->``, ``->>``, JSON_EXTRACT.

    :raises SqlError: 3143. MySQL manual: JSON Path Syntax. :raises SyntaxProblem: an arrow behind anything
    but a column (1064).
    """
    if "->" not in text and _REPAIRING.search(text) is None:
        return
    try:
        tokens = MySQL().tokenize(text)
    except Exception:
        return
    calls: list[bool] = []
    for at, (before, token) in enumerate(pairwise(tokens)):
        kind = token.token_type
        if kind in _ARROWS and not _may_end_column(before, text):
            raise syntax_problem(text, token.start)
        if kind in _OPEN:
            named = before.token_type in (TokenType.VAR, TokenType.IDENTIFIER)
            calls.append(named and _REPAIRING.fullmatch(before.text) is not None)
        elif kind in _CLOSE and calls:
            calls.pop()
        elif kind is TokenType.STRING:
            argument = before.token_type is TokenType.COMMA and bool(calls) and calls[-1]
            joined = at + 2 < len(tokens) and tokens[at + 2].token_type is TokenType.STRING
            if before.token_type in _ARROWS or (argument and not joined):
                path_legs(token.text)


def _may_end_column(token: Token, text: str) -> bool:
    """A word, in backticks or not: columns may be called as keywords are."""
    return token.token_type is not TokenType.NUMBER and re.match(r"[\w$`]", text[token.end]) is not None


def shown_name(node: exp.Expression, typed: str | None) -> str:
    """The header of one column of the select list; leading blanks are no part of it."""
    if isinstance(node, exp.Alias):
        return node.alias.lstrip(" ")
    bare = node.unnest()
    if isinstance(bare, exp.Column):
        return bare.name
    shown = node.sql(dialect="mysql") if typed is None else typed
    match node:
        case exp.Literal() if node.is_string:
            shown = str(node.this)
        case exp.Literal():
            shown = shown.removeprefix("+")
        case exp.National():
            shown = node.name
        case exp.Concat() if shown[:1] in ("'", '"'):
            # Texts side by side are one, which is called by its first part.
            shown = node.expressions[0].name
        case exp.Introducer() if isinstance(node.expression, exp.Literal):
            shown = node.expression.name
        case _:
            pass
    return shown.lstrip(" ")
