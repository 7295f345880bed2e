"""One client's connection: login, then commands one after the other, each in a task that can be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
import traceback
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import structlog

from z4sql.sql.errors import Interrupted, SqlError
from z4sql.sql.result import FrontEnd, SessionView
from z4sql.sql.wire.auth import Account, Accounts, Credentials, authenticate
from z4sql.sql.wire.codec import Capabilities, error_packet
from z4sql.sql.wire.codec import Commands as Command
from z4sql.sql.wire.commands import Client, Commands
from z4sql.sql.wire.connections import ConnectionInfo, ConnectionRegistry
from z4sql.sql.wire.errors import (
    AccessDenied,
    IdleTooLong,
    InternalError,
    ShuttingDown,
    TlsRequired,
    TooManyUserConnections,
)
from z4sql.sql.wire.framing import frame
from z4sql.sql.wire.handshake import Opened, open_stream
from z4sql.sql.wire.requests import LoginRequest, read_change_user, read_login
from z4sql.sql.wire.settings import WireSettings
from z4sql.sql.wire.stream import ClientLost, PacketStream

log = structlog.get_logger(__name__)

OWN_ATTRIBUTES: Final = "_z4_"
"""Prefix of session attributes that the server sets; a client cannot."""
SSL_CIPHER: Final = OWN_ATTRIBUTES + "ssl_cipher"
SSL_VERSION: Final = OWN_ATTRIBUTES + "ssl_version"

_IDLE: Final = "Sleep"
_DISCARDED_BYTES_MAX: Final = 16 << 20
_NO_REPLY: Final = frozenset(
    bytes((command.value,)) for command in (Command.COM_STMT_SEND_LONG_DATA, Command.COM_STMT_CLOSE)
)
_COMMAND_NAMES: Final = {
    Command.COM_QUERY.value: "Query",
    Command.COM_STMT_PREPARE.value: "Prepare",
    Command.COM_STMT_EXECUTE.value: "Execute",
    Command.COM_STMT_FETCH.value: "Fetch",
    Command.COM_INIT_DB.value: "Init DB",
    Command.COM_FIELD_LIST.value: "Field List",
    Command.COM_PING.value: "Ping",
    Command.COM_CHANGE_USER.value: "Change user",
}
_request_numbers = itertools.count(1)


class _Ending(Enum):
    """Why a command was cancelled, or the connection must end."""

    NONE = auto()
    QUERY = auto()
    CONNECTION = auto()
    SHUTDOWN = auto()
    GONE = auto()


def internal_error(error: BaseException, connection_id: int) -> InternalError:
    """What the client is told of a bug; the log gets its place but not its text, which may hold SQL."""
    request = next(_request_numbers)
    log.error(
        "internal_error",
        request=request,
        connection_id=connection_id,
        error=type(error).__name__,
        places=[
            f"{place.filename}:{place.lineno} {place.name}"
            for place in traceback.extract_tb(error.__traceback__)
        ],
    )
    return InternalError(request)


@dataclass(slots=True)
class _Served:
    """What a connection has once its client is logged in."""

    client: Client
    commands: Commands


class Connection:
    """``run`` serves the client until one of the two has enough."""

    def __init__(
        self,
        connection_id: int,
        accepted: socket.socket,
        host: str,
        port: int,
        *,
        front: FrontEnd,
        accounts: Accounts,
        settings: WireSettings,
        registry: ConnectionRegistry,
    ) -> None:
        self.connection_id = connection_id
        self._accepted = accepted
        self._host = host
        self._port = port
        self._front = front
        self._accounts = accounts
        self._settings = settings
        self._registry = registry
        self._nonce = b""
        self._own_attributes: dict[str, str] = {}
        self._stream: PacketStream | None = None
        self._served: _Served | None = None
        self._running: asyncio.Task[None] | None = None
        self._ending = _Ending.NONE
        self._draining = False
        self._command = _IDLE
        self._info: str | None = None
        self._since = time.monotonic()

    @property
    def user(self) -> str | None:
        """None before the login is complete."""
        return self._served.client.session.user if self._served else None

    def describe(self) -> ConnectionInfo:
        session = self._served.client.session if self._served else None
        return ConnectionInfo(
            connection_id=self.connection_id,
            user=session.user if session else "unauthenticated user",
            host=f"{self._host}:{self._port}",
            database=session.database if session else None,
            command=self._command,
            time_s=time.monotonic() - self._since,
            info=self._info,
            attributes=session.attributes if session else {},
        )

    def kill(self, *, query_only: bool) -> None:
        """KILL [QUERY]. A connection without a running command loses nothing by KILL QUERY.

        :raises Interrupted: the command that asks is the one to end
        """
        if self._running is not None and self._running is asyncio.current_task():
            # Not cancelled: it would tell of its success first.
            if not query_only:
                self._ending = _Ending.CONNECTION
            raise Interrupted
        if self._running is not None:
            self._cancel(_Ending.QUERY if query_only else _Ending.CONNECTION)
        elif not query_only:
            self._ending = _Ending.CONNECTION
            self.abort()

    def begin_shutdown(self) -> None:
        """Say goodbye when idle, otherwise after the command that runs."""
        self._draining = True
        if self._running is not None:
            return
        if self._stream is not None and self._served is not None:
            self._stream.say_last(error_packet(ShuttingDown()))
        else:
            self.abort()

    def end_command(self) -> None:
        """The patience of a shutdown is over."""
        self._cancel(_Ending.SHUTDOWN)

    def abort(self) -> None:
        """Drop the client without a word."""
        if self._stream is not None:
            self._stream.abort()
        else:
            # Not closed here: the loop still watches it, and would miss that its number is given away.
            with contextlib.suppress(OSError):
                self._accepted.shutdown(socket.SHUT_RDWR)

    def _cancel(self, ending: _Ending) -> None:
        if self._running is None or self._ending is _Ending.GONE:
            return
        if self._ending is not _Ending.CONNECTION:
            self._ending = ending
        self._running.cancel()

    def _client_gone(self) -> None:
        self._ending = _Ending.GONE
        if self._running is not None:
            self._running.cancel()

    async def run(self) -> None:
        """Never raises but for cancellation; the socket is closed afterwards."""
        try:
            async with asyncio.timeout(self._settings.login_timeout_s):
                stream = await self._log_in()
            await self._serve(stream)
        except SqlError as refusal:
            await self._refuse(refusal)
        except (ClientLost, OSError):
            pass  # gone, too slow, or broke TLS (ssl.SSLError and TimeoutError are OSErrors)
        except Exception as error:
            await self._refuse(internal_error(error, self.connection_id))
        finally:
            await self._close()

    async def _log_in(self) -> PacketStream:
        opened = await open_stream(self._accepted, self.connection_id, self._settings, self._client_gone)
        self._stream = stream = opened.stream
        self._nonce = opened.nonce
        login = read_login(opened.login_packet, encrypted=opened.cipher is not None)
        if self._settings.tls_required and opened.cipher is None:
            raise TlsRequired
        self._own_attributes = _own_attributes(opened, login)
        account = await self._authenticate(stream, login.credentials, login.capabilities)
        session = self._open_session(login.credentials.user, account, login.database, login.attributes)
        served = self._serve_as(stream, Client(session, login.capabilities, login.codec))
        served.commands.replies.ok()
        await stream.flush()
        return stream

    async def _authenticate(
        self,
        stream: PacketStream,
        credentials: Credentials,
        capabilities: Capabilities,
        *,
        ask_again: bool = False,
    ) -> Account | None:
        try:
            return await authenticate(
                stream,
                self._accounts,
                credentials,
                host=self._host,
                capabilities=capabilities,
                nonce=self._nonce,
                ask_again=ask_again,
            )
        except AccessDenied:
            log.warning("login_refused", host=self._host, connection_id=self.connection_id)
            await asyncio.sleep(self._settings.failed_login_pause_s)
            raise

    def _open_session(
        self, user: str, account: Account | None, database: str | None, attributes: dict[str, str]
    ) -> SessionView:
        own = account.connections_max if account else 0
        for allowed in (self._settings.connections_per_user_max, own):
            if allowed and self._registry.count_of(user) >= allowed:
                raise TooManyUserConnections(user, allowed)
        said = {name: value for name, value in attributes.items() if not name.startswith(OWN_ATTRIBUTES)}
        return self._front.open_session(
            self.connection_id, user, self._host, database, said | self._own_attributes
        )

    def _serve_as(self, stream: PacketStream, client: Client) -> _Served:
        commands = Commands(
            client,
            stream,
            self._front,
            self._registry,
            prepared_statements_max=self._settings.prepared_statements_max,
            on_statement=self._on_statement,
        )
        self._served = _Served(client, commands)
        return self._served

    def _on_statement(self, sql: str) -> None:
        self._info = sql

    async def _serve(self, stream: PacketStream) -> None:
        while self._ending is _Ending.NONE and self._served is not None:
            stream.sequence = 0
            session = self._served.client.session
            try:
                payload = await stream.read(session.max_allowed_packet, session.wait_timeout_s)
            except TimeoutError:
                stream.sequence = 0
                raise IdleTooLong from None
            command = payload[0] if payload else None
            if command == Command.COM_QUIT:
                return
            self._note(_COMMAND_NAMES.get(command or 0, "Processing"))
            if command == Command.COM_CHANGE_USER:
                await self._change_user(stream, payload[1:])
            else:
                await self._carry_out(stream, self._served.commands, payload)
            self._note(_IDLE)
            if self._draining:
                stream.say_last(error_packet(ShuttingDown()))
                return

    def _note(self, command: str) -> None:
        self._command = command
        self._info = None
        self._since = time.monotonic()

    async def _carry_out(self, stream: PacketStream, commands: Commands, payload: bytes) -> None:
        task = asyncio.create_task(commands.run(payload))
        self._running = task
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait((task,))
            raise
        finally:
            self._running = None
        error = self._error_of(task)
        if error is not None and payload[:1] not in _NO_REPLY:
            commands.replies.error(error)
        if self._ending in (_Ending.CONNECTION, _Ending.SHUTDOWN):
            # Whoever ends the connection does not wait for a client that does not read.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.linger_s):
                    await stream.flush()
            return
        if self._ending is _Ending.QUERY:
            self._ending = _Ending.NONE
        await stream.flush()

    def _error_of(self, task: asyncio.Task[None]) -> SqlError | None:
        """What the client must be told of a finished command.

        :raises ClientLost: nobody is there to be told.
        """
        if self._ending is _Ending.GONE:
            if not task.cancelled():
                task.exception()  # else asyncio complains that nobody looked
            raise ClientLost
        if task.cancelled():
            return ShuttingDown() if self._ending is _Ending.SHUTDOWN else Interrupted()
        match task.exception():
            case None:
                return None
            case SqlError() as error:
                return error
            case ClientLost() as lost:
                raise lost
            case unexpected:
                return internal_error(unexpected, self.connection_id)

    async def _change_user(self, stream: PacketStream, body: bytes) -> None:
        """:raises SqlError: the connection ends with it (MySQL manual: COM_CHANGE_USER)."""
        if self._served is None:
            return
        client = self._served.client
        request = read_change_user(body, client.capabilities, client.codec)
        async with asyncio.timeout(self._settings.login_timeout_s):
            account = await self._authenticate(
                stream, request.credentials, client.capabilities, ask_again=True
            )
        await self._end_session()
        session = self._open_session(request.credentials.user, account, request.database, request.attributes)
        served = self._serve_as(stream, Client(session, client.capabilities, request.codec))
        served.commands.replies.ok()
        await stream.flush()

    async def _end_session(self) -> None:
        served, self._served = self._served, None
        if served is None:
            return
        try:
            await served.commands.close()
        except Exception as error:
            internal_error(error, self.connection_id)
        finally:
            self._front.close_session(served.client.session)

    async def _refuse(self, error: SqlError) -> None:
        """Tell the client why and let the words arrive; the session ends at once."""
        stream = self._stream
        with contextlib.suppress(ClientLost, OSError):
            async with asyncio.timeout(self._settings.linger_s):
                if stream is None:
                    await _refuse_raw(self._accepted, error)
                else:
                    stream.put(error_packet(error))
                    await stream.flush()
        await self._end_session()
        if stream is not None:
            await stream.linger(self._settings.linger_s)

    async def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        else:
            self._accepted.close()
        await self._end_session()


def _own_attributes(opened: Opened, login: LoginRequest) -> dict[str, str]:
    """What the front end learns of the connection itself."""
    attributes = {}
    if opened.cipher is not None:
        attributes[SSL_CIPHER], attributes[SSL_VERSION] = opened.cipher
    if login.capabilities & Capabilities.CLIENT_INTERACTIVE:
        attributes[OWN_ATTRIBUTES + "interactive"] = "1"
    return attributes


async def _refuse_raw(accepted: socket.socket, error: SqlError) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(accepted, frame(error_packet(error), 2).data)
    accepted.shutdown(socket.SHUT_WR)
    discarded = 0
    while discarded < _DISCARDED_BYTES_MAX and (piece := await loop.sock_recv(accepted, 1 << 16)):
        discarded += len(piece)
