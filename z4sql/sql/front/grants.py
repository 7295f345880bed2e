"""SHOW GRANTS. MySQL manual: SHOW GRANTS Statement."""

from __future__ import annotations

from collections.abc import Callable

from z4sql.access.model import Role, User
from z4sql.sql.errors import SqlError
from z4sql.sql.front.create_table import quoted
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.results import LONG_TEXT, result_set
from z4sql.sql.front.session import Session
from z4sql.sql.front.source import Part
from z4sql.sql.result import ResultSet
from z4sql.sql.types import ResultColumn


def show_grants(cursor: Cursor, session: Session, user: Callable[[str], User | None]) -> ResultSet:
    """``cursor`` stands behind GRANTS; ``user`` knows everybody's rights.

    :raises SqlError: not an administrator (1142), or no such user (1141).
    """
    name = session.user
    if cursor.accept("FOR"):
        name = _account(cursor, session)
        if cursor.accept("USING"):
            _account(cursor, session)  # roles are part of the account here
            while cursor.symbol(","):
                _account(cursor, session)
    cursor.end()
    found = user(name)
    if name != session.user:
        own = user(session.user)
        if own is None or not own.has(Role.ADMIN):
            message = f"SELECT command denied to user '{session.user}'@'{session.host}' for table 'user'"
            raise SqlError(message, code=1142, state="42000")
        if found is None:
            message = f"There is no such grant defined for user '{name}' on host '%'"
            raise SqlError(message, code=1141, state="42000")
    account = f"{quoted(name)}@`%`"
    lines = [(f"GRANT USAGE ON *.* TO {account}",)]
    if found is None or found.has(Role.READ):
        # Metabase reads the second line to learn what it may sync.
        lines.append((f"GRANT SELECT ON `z4`.* TO {account}",))
    return result_set((ResultColumn(f"Grants for {name}@%", LONG_TEXT),), lines)


def show_create_user(cursor: Cursor, session: Session) -> ResultSet:
    """``cursor`` stands behind USER. MySQL manual: SHOW CREATE USER Statement.

    :raises SqlError: an account of somebody else (1044).
    """
    name = _account(cursor, session)
    cursor.end()
    if name != session.user:
        message = f"Access denied for user '{session.user}'@'%' to database 'mysql'"
        raise SqlError(message, code=1044, state="42000")
    text = (
        f"CREATE USER {quoted(name)}@`%` IDENTIFIED WITH 'caching_sha2_password' REQUIRE NONE "
        "PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT "
        "PASSWORD REQUIRE CURRENT DEFAULT"
    )
    return result_set((ResultColumn(f"CREATE USER for {name}@%", LONG_TEXT),), [(text,)])


def _account(cursor: Cursor, session: Session) -> str:
    """``'name'[@'host']`` or CURRENT_USER[()]; hosts do not matter here."""
    if cursor.accept("CURRENT_USER"):
        if cursor.symbol("(") and not cursor.symbol(")"):
            raise cursor.source.problem(cursor.at)
        return session.user
    name = _name(cursor)
    if cursor.symbol("@"):
        _name(cursor)
    return name


def _name(cursor: Cursor) -> str:
    pieces = cursor.source.pieces
    is_string = not cursor.finished and pieces[cursor.at].part is Part.STRING
    return cursor.string() if is_string else cursor.name()
