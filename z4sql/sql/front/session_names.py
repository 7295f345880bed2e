"""What names outside tables stand for in a session: variables and functions without arguments."""

from __future__ import annotations

from collections.abc import Callable

from z4sql.sql.errors import UnknownColumn
from z4sql.sql.front.scalar import Scalar
from z4sql.sql.front.session import Session
from z4sql.sql.front.variables import unknown_variable, variable_in


class SessionNames:
    """Implements `scalar.Names` for one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def column(self, name: str) -> Scalar:
        raise UnknownColumn(f"Unknown column '{name}' in 'field list'")

    def variable(self, name: str, scope: str) -> Scalar:
        match scope:
            case "" | "session" | "local":
                return self._session.variable(variable_in(scope, name).name)
            case "global":
                return self._session.server_variable(variable_in(scope, name).name)
            case _:
                raise unknown_variable(f"{scope}.{name}")

    def user_variable(self, name: str) -> Scalar:
        return self._session.user_variables.get(name)

    def function(self, name: str) -> Scalar:
        return _FUNCTIONS[name](self._session)


def _account(session: Session) -> Scalar:
    return f"{session.user}@{session.host}"


def _version(session: Session) -> Scalar:
    return session.variable("version")


def _database(session: Session) -> Scalar:
    return session.database


_FUNCTIONS: dict[str, Callable[[Session], Scalar]] = {
    "DATABASE": _database,
    "SCHEMA": _database,
    "USER": _account,
    "SESSION_USER": _account,
    "SYSTEM_USER": _account,
    "CURRENT_USER": lambda session: f"{session.user}@%",
    "VERSION": _version,
    "CONNECTION_ID": lambda session: session.connection_id,
    "CURRENT_ROLE": lambda _session: "NONE",
    "LAST_INSERT_ID": lambda _session: 0,
    "FOUND_ROWS": lambda session: session.found_rows,
    "ROW_COUNT": lambda _session: -1,
}
