"""The server as one session sees it: implements `ServerView` of the catalog."""

from __future__ import annotations

from collections.abc import Sequence

from z4sql.sql.catalog.server_view import Process
from z4sql.sql.front.session import Session
from z4sql.sql.front.variables import VARIABLES
from z4sql.sql.wire.connection import SSL_CIPHER, SSL_VERSION
from z4sql.sql.wire.connections import ConnectionInfo, Connections


class ServerState:
    """``everything``: the session may see the connections of other users too."""

    def __init__(
        self, session: Session, connections: Connections, *, everything: bool, uptime_s: int, statements: int
    ) -> None:
        self._session = session
        self._connections = connections
        self._everything = everything
        self._uptime_s = uptime_s
        self._statements = statements

    @property
    def user(self) -> str:
        return self._session.user

    def processes(self) -> Sequence[Process]:
        return [
            _process(one)
            for one in self._connections.list()
            if self._everything or one.user == self._session.user
        ]

    def variables(self, *, of_session: bool) -> Sequence[tuple[str, str]]:
        if of_session:
            return self._session.shown_variables()
        return [
            (name, known.shown(self._session.server_variable(name)))
            for name, known in sorted(VARIABLES.items())
            if known.scope.of_server
        ]

    def status(self, *, of_session: bool) -> Sequence[tuple[str, str]]:
        known = self._connections.list()
        running = sum(one.info is not None for one in known)
        statements = str(self._statements)
        own = self._session.attributes if of_session else {}
        return [
            ("Aborted_clients", "0"),
            ("Aborted_connects", "0"),
            ("Bytes_received", "0"),
            ("Bytes_sent", "0"),
            ("Com_select", statements),
            ("Compression", "OFF"),
            ("Connections", str(max((one.connection_id for one in known), default=0))),
            ("Queries", statements),
            ("Questions", statements),
            ("Slow_launch_threads", "0"),
            ("Slow_queries", "0"),
            ("Ssl_cipher", own.get(SSL_CIPHER, "")),
            ("Ssl_version", own.get(SSL_VERSION, "")),
            ("Threads_cached", "0"),
            ("Threads_connected", str(len(known))),
            ("Threads_running", str(max(1, running))),
            ("Uptime", str(self._uptime_s)),
            ("Uptime_since_flush_status", str(self._uptime_s)),
        ]

    def user_variables(self) -> Sequence[tuple[str, str | None]]:
        return [
            (name, None if value is None else str(value))
            for name, value in sorted(self._session.user_variables.items())
        ]


def _process(one: ConnectionInfo) -> Process:
    state = "" if one.info is None else "executing"
    return Process(
        one.connection_id, one.user, one.host, one.database, one.command, int(one.time_s), state, one.info
    )
