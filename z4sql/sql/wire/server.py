"""Accepts MySQL clients, bounds how many there are, and says goodbye to them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

import structlog

from z4sql.sql.result import FrontEnd
from z4sql.sql.wire.auth import Accounts
from z4sql.sql.wire.codec import error_packet
from z4sql.sql.wire.connection import Connection
from z4sql.sql.wire.connections import ConnectionRegistry
from z4sql.sql.wire.errors import TooManyConnections
from z4sql.sql.wire.framing import frame
from z4sql.sql.wire.settings import WireSettings

log = structlog.get_logger(__name__)

_BACKLOG: Final = 128
_ACCEPT_PAUSE_S: Final = 0.1
_LAST_WORDS_S: Final = 1.0
_LOOPBACK: Final = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


class WireServer:
    """``connections`` is made by the caller when the front end needs it too (SHOW PROCESSLIST, KILL)."""

    def __init__(
        self,
        front: FrontEnd,
        accounts: Accounts,
        settings: WireSettings | None = None,
        connections: ConnectionRegistry | None = None,
    ) -> None:
        self._front = front
        self._accounts = accounts
        self._settings = settings or WireSettings()
        self.connections = connections if connections is not None else ConnectionRegistry()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._dropped: set[Connection] = set()
        """Strangers that are on their way out."""

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, which the system chose when ``port`` is 0. :raises OSError: it cannot be had."""
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = addresses[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener))
        bound_port = int(listener.getsockname()[1])
        log.info("sql_listening", host=host, port=bound_port)
        return bound_port

    async def stop(self, grace_s: float) -> None:
        """Accept nobody, tell the idle (1053), give running commands ``grace_s``, then end them too."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait((self._accepting,))
        if self._listener is not None:
            self._listener.close()
        for connection in self.connections:
            connection.begin_shutdown()
        await self._wait(grace_s)
        for connection in self.connections:
            connection.end_command()
        await self._wait(_LAST_WORDS_S)
        for connection in self.connections:
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await self._wait(None)
        log.info("sql_stopped")

    async def _wait(self, timeout_s: float | None) -> None:
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_s)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:
                # Out of file descriptors, or the client left before it was accepted.
                log.warning("accept_failed", error=type(error).__name__, errno=error.errno)
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            self._admit(accepted, str(address[0]), int(address[1]))

    def _admit(self, accepted: socket.socket, address: str, port: int) -> None:
        accepted.setblocking(False)
        if len(self.connections) >= self._settings.connections_max and not self._dropped_stranger():
            with contextlib.suppress(OSError):
                accepted.send(frame(error_packet(TooManyConnections(), with_state=False), 0).data)
            accepted.close()
            return
        with contextlib.suppress(OSError):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(
            self.connections.new_id(),
            accepted,
            "localhost" if address in _LOOPBACK else address,
            port,
            front=self._front,
            accounts=self._accounts,
            settings=self._settings,
            registry=self.connections,
        )
        self.connections.add(connection)
        task = asyncio.create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _dropped_stranger(self) -> bool:
        """Drop who has been about to log in for the longest: strangers keep no place from those who come."""
        strangers = (one for one in self.connections if isinstance(one, Connection) and one.user is None)
        oldest = next((one for one in strangers if one not in self._dropped), None)
        if oldest is None:
            return False
        self._dropped.add(oldest)
        oldest.abort()
        return True

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self.connections.remove(connection)
            self._dropped.discard(connection)
