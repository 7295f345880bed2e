"""The error for a reading without bounds: what is missing, where, and the user's own query corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
_TOLD_MAX: Final = 4
"""So many references are told what they lack, and the statement is corrected for all of them."""

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


@dataclass(slots=True, frozen=True)
class Refused:
    """A reference that lacks bounds. ``branches``: the arms of an OR that lack them, as text."""

    source: Source
    missing: Sequence[str]
    branches: Sequence[str] = ()

    @property
    def shown(self) -> str:
        """The table as the query names it."""
        assert self.source.table is not None
        name, alias = self.source.table.name, self.source.node.alias_or_name
        return f"'{name}'" if self.source.name == name.lower() else f"'{name}' (as '{alias}')"

    def addition(self, *, inside: bool = False) -> str:
        """The conditions that would do; ``inside``: a query that reads nothing else."""
        alone = inside or len(self.source.frame.sources) == 1
        prefix = "" if alone else f"{self.source.node.alias_or_name}."
        return " AND ".join(_EXAMPLES[column].format(prefix) for column in self.missing)

    @property
    def hint(self) -> str:
        """What to write, with the word that leads to it."""
        if self.source.nullable:
            return f'"AND {self.addition()}" to its ON'
        has_where = self.source.frame.select.args.get("where") is not None
        return f'"{"AND" if has_where else "WHERE"} {self.addition()}"'


def unbounded(refused: Sequence[Refused], text: str) -> Unbounded:
    """1104 for all of ``refused``, of which there is at least one, in the statement ``text``."""
    first = refused[0]
    message = f"Query on {first.shown} must bound {' and '.join(first.missing)}"
    if first.branches:
        listed = ", ".join(f'"{branch}"' for branch in first.branches)
        message += f" in every branch of OR; not bounded: {listed}"
    message += f": add e.g. {first.hint}"
    for other in refused[1:_TOLD_MAX]:
        message += f"; and for {other.shown} {other.hint}"
    if len(refused) > _TOLD_MAX:
        message += f"; and for {len(refused) - _TOLD_MAX} more"
    corrected = _corrected(refused, text) if len(refused) <= _TOLD_MAX else None
    if corrected is not None:
        message += f". Corrected: {corrected}"
    return Unbounded(message)


def _corrected(refused: Sequence[Refused], text: str) -> str | None:
    """The statement with all that it lacks; None when its text cannot be followed."""
    whole, pieces = text, [""]
    # From the last table on: what is written for one moves none of those before it.
    for one in sorted(refused, key=lambda one: -int(one.source.node.this.meta.get("start", 0))):
        found = _pieces(one, whole)
        if found is None:
            return None
        pieces, whole = found, "".join(found)
    if len(refused) == 1:
        return _shortened(*pieces)
    whole = whole.strip().rstrip(";")
    return whole if len(whole) <= _SHOWN_MAX else None


def _pieces(one: Refused, text: str) -> list[str] | None:
    """Text before, what is added, and text behind."""
    source = one.source
    start = source.node.this.meta.get("start")
    try:
        tokens = sqlglot.tokenize(text, read="mysql")
    except SqlglotError:
        return None
    at = next((index for index, token in enumerate(tokens) if token.start == start), None)
    if at is None or tokens[at].text.lower() != source.node.this.name.lower():
        return None
    begin = at - 2 if at >= 2 and tokens[at - 1].token_type == TokenType.DOT else at
    if begin and tokens[begin - 1].token_type == TokenType.TABLE:
        # TABLE takes no WHERE.
        behind = tokens[at].end + 1
        read = text[tokens[begin].start : behind]
        select = f"SELECT * FROM {read} WHERE {one.addition()}"  # noqa: S608 - shown, not run
        return [text[: tokens[begin - 1].start], select, text[behind:]]
    clause, end = _clause(tokens, at, TokenType.ON if source.nullable else TokenType.WHERE)
    if clause is None and source.nullable:
        return _wrapped(one, text, tokens[begin].start, tokens[at].end + 1)
    addition = one.addition()
    if clause is None:
        where = tokens[end - 1].end + 1
        return [text[:where], f" WHERE {addition}", text[where:]]
    lo, hi = tokens[clause + 1].start, tokens[end - 1].end + 1
    held = text[lo:hi]
    if _has_weaker(tokens[clause + 1 : end]):
        held = f"({held})"
    return [f"{text[:lo]}{held}", f" AND {addition}", text[hi:]]


def _wrapped(one: Refused, text: str, lo: int, hi: int) -> list[str]:
    """The table as a query of its own: its join has no ON, and a WHERE would make an inner join of it."""
    alias = "" if one.source.node.alias else f" {one.source.node.this.sql(dialect='mysql')}"
    select = f"SELECT * FROM {text[lo:hi]} WHERE {one.addition(inside=True)}"  # noqa: S608 - shown, not run
    added = f"({select}){alias}"
    return [text[:lo], added, text[hi:]]


def _clause(tokens: Sequence[Token], at: int, keyword: TokenType) -> tuple[int | None, int]:
    """(index of the keyword, index behind its expression) of the SELECT that reads the table at ``at``."""
    depth = _parentheses_of_join(tokens, at)
    found: int | None = None
    if keyword == TokenType.ON and _is_natural(tokens, at):
        return None, at
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
        elif depth == 0 and kind == TokenType.USING and found is None and keyword == TokenType.ON:
            return None, index
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


def _is_natural(tokens: Sequence[Token], at: int) -> bool:
    """Whether a NATURAL JOIN stands beside the table at ``at``, on either side."""
    names = {TokenType.VAR, TokenType.IDENTIFIER, TokenType.DOT, TokenType.ALIAS}
    before, behind = at - 1, at + 1
    while before >= 0 and tokens[before].token_type in names | _JOINS - {TokenType.COMMA, TokenType.NATURAL}:
        if tokens[before].token_type == TokenType.JOIN and tokens[before - 1].token_type not in _JOINS:
            break
        before -= 1
    while behind < len(tokens) and tokens[behind].token_type in names:
        behind += 1
    return any(
        0 <= index < len(tokens) and tokens[index].token_type == TokenType.NATURAL
        for index in (before, behind)
    )


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
