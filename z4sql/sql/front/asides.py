"""HELP, KILL and USE: statements beside queries, of a few words each."""

from __future__ import annotations

from z4sql.sql.errors import Unsupported
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.reading import SHORT
from z4sql.sql.front.results import result_set, text_columns
from z4sql.sql.front.scalar import evaluate, number
from z4sql.sql.front.session import Session
from z4sql.sql.front.session_names import SessionNames
from z4sql.sql.front.source import Source
from z4sql.sql.result import ResultSet
from z4sql.sql.wire.connections import Connections


def help_statement(source: Source) -> ResultSet:
    """MySQL manual: HELP Statement; without help tables, nothing is ever found."""
    cursor = Cursor(source, 1)
    cursor.string()
    cursor.end()
    return result_set(text_columns("name", "is_it_category"), [])


def kill_statement(
    source: Source, session: Session, connections: Connections, parser: QueryParser, *, everybody: bool
) -> None:
    """``everybody``: whether the user may end other users' connections.

    :raises UnknownThread: (1094); :raises NotOwnerOfThread: (1095)
    """
    if len(source.text) > SHORT:
        raise Unsupported("This version of MySQL doesn't yet support so long an expression in KILL")
    cursor = Cursor(source, 1)
    query_only = cursor.accept_any("QUERY", "CONNECTION") == "QUERY"
    at = len(source.text) if cursor.finished else source.pieces[cursor.at].start
    parsed = parser.expression(cursor.rest(), source, at)
    connection_id = int(number(evaluate(parsed, SessionNames(session))))
    by_user = None if everybody else session.user
    connections.kill(connection_id, query_only=query_only, by_user=by_user)


def named_database(source: Source) -> str:
    """Of USE."""
    cursor = Cursor(source, 1)
    name = cursor.name()
    cursor.end()
    return name
