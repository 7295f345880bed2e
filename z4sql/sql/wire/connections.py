"""The connections of this server, for SHOW PROCESSLIST and KILL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from z4sql.sql.wire.errors import NotOwnerOfThread, UnknownThread

_ID_MAX = 0xFFFFFFFF


@dataclass(slots=True, frozen=True)
class ConnectionInfo:
    """One line of SHOW PROCESSLIST. ``info``: the text of the statement that runs, None when idle."""

    connection_id: int
    user: str
    host: str
    database: str | None
    command: str
    time_s: float
    info: str | None
    attributes: dict[str, str]


class Connections(Protocol):
    """What the front end may see and do."""

    def list(self) -> list[ConnectionInfo]:
        """Logged-in connections, by id. Whom to show which is the caller's rule."""
        ...

    def kill(self, connection_id: int, *, query_only: bool, by_user: str | None) -> None:
        """End a statement or a connection; ``by_user`` None: an administrator, who may end anyone's.

        :raises UnknownThread: (1094)
        :raises NotOwnerOfThread: (1095)
        """
        ...


class LiveConnection(Protocol):
    """What the registry needs of a connection."""

    connection_id: int

    @property
    def user(self) -> str | None:
        """None before the login is complete."""
        ...

    def describe(self) -> ConnectionInfo: ...

    def kill(self, *, query_only: bool) -> None: ...

    def begin_shutdown(self) -> None: ...

    def end_command(self) -> None: ...

    def abort(self) -> None: ...


class ConnectionRegistry:
    """All connections by id, from their acceptance on. Made first, given to front end and server alike."""

    def __init__(self) -> None:
        self._live: dict[int, LiveConnection] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[LiveConnection]:
        return iter(tuple(self._live.values()))

    def new_id(self) -> int:
        """An id that no live connection has; never 0."""
        while True:
            self._last_id = self._last_id % _ID_MAX + 1
            if self._last_id not in self._live:
                return self._last_id

    def add(self, connection: LiveConnection) -> None:
        self._live[connection.connection_id] = connection

    def remove(self, connection: LiveConnection) -> None:
        self._live.pop(connection.connection_id, None)

    def count_of(self, user: str) -> int:
        return sum(connection.user == user for connection in self._live.values())

    def list(self) -> list[ConnectionInfo]:
        known = (connection for connection in self._live.values() if connection.user is not None)
        return [connection.describe() for connection in sorted(known, key=lambda c: c.connection_id)]

    def kill(self, connection_id: int, *, query_only: bool, by_user: str | None) -> None:
        connection = self._live.get(connection_id)
        if connection is None or connection.user is None:
            raise UnknownThread(connection_id)
        if by_user is not None and connection.user != by_user:
            raise NotOwnerOfThread(connection_id)
        connection.kill(query_only=query_only)
