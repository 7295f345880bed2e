"""Frames over gRPC: two long-lived streams to every peer, so that a heartbeat never waits behind an append.

Both are simplex: each host dials each other and only writes, and reads what others dialled. Payloads are
bytes; no message classes are generated. Streams open with a handshake in their metadata: cluster, version,
the name and advertised address of the sender, to which answers go, and whom it expects to meet. Before that
nothing is read but invitations, one at a time.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from raftcore.core.errors import BadFrame
from raftcore.core.messages import Append, AppendReply, Message, Snapshot
from raftcore.core.types import NodeId, ShardId
from raftcore.storage.codec import ENTRY_HEADER_BYTES
from raftcore.transport.base import (
    CannotListen,
    Claim,
    Hello,
    Invitation,
    Receiver,
    Refused,
    TransportCounts,
    Unreachable,
)
from raftcore.transport.frames import VERSION, decode_frame, encode_frame
from raftcore.transport.snapshot_stream import SnapshotPull, SnapshotService, SnapshotSource

log = structlog.get_logger()

SERVICE = "raftcore.Peer"

_CLUSTER = "raftcore-cluster-bin"
_NAME = "raftcore-name-bin"
_ADDRESS = "raftcore-address-bin"
_EXPECTED = "raftcore-expected-bin"
_VERSION = "raftcore-version"

_HEAD_BYTES = 96

_KEEPALIVE = (
    ("grpc.keepalive_time_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    # Without this one a peer that is stopped, not dead, is noticed after more than a minute.
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", -1),
)
_CHANNEL_OPTIONS = (
    *_KEEPALIVE,
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Channels to one target share a connection otherwise, and heartbeats would queue behind appends.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)
_SERVER_OPTIONS = (
    *_KEEPALIVE,
    ("grpc.so_reuseport", 0),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
)

_INVITATION_BYTES_MAX = 64 << 10
_INVITATION_TIMEOUT_S = 2.0
"""How long a caller may take to send one: another one waits for it."""

_BULK = (Append, AppendReply, Snapshot)


@dataclass(slots=True, frozen=True)
class GrpcTransportConfig:
    """``listen`` is bound; ``address`` is what others dial. Credentials are gRPC's; None is plain text."""

    name: str
    address: str
    listen: str
    outbox_bytes_max: int = 32 << 20
    frame_bytes_max: int = 4 << 20
    """From how many bytes on a frame is full; the last message may be of any size up to..."""
    message_bytes_max: int = 28 << 20
    """...these, which are also the most that anything may have that is received."""
    patience_s: float = 0.005
    """How long a message that is not urgent waits for company."""
    backoff_first_s: float = 0.02
    backoff_max_s: float = 0.5
    """A host that comes back is met again within this time and that of one attempt."""
    retain_s: float = 10.0
    silence_s: float = 10.0
    """How long a snapshot's files may stand still before the connection is given up."""
    server_credentials: Any = None
    channel_credentials: Any = None
    services: tuple[Any, ...] = ()
    """gRPC handlers of the application's, which are served at ``listen`` too."""


class GrpcTransport:
    """A `Transport` over grpc.aio."""

    def __init__(self, config: GrpcTransportConfig) -> None:
        self.counts = TransportCounts()
        self._config = config
        self._receiver: Receiver
        self._server: Any = None
        self._peers: dict[str, tuple[_Lane, _Lane]] = {}
        self._dirty: set[_Lane] = set()
        self._patient: set[_Lane] = set()
        self._patience: asyncio.TimerHandle | None = None
        self._closing: dict[str, asyncio.TimerHandle] = {}
        self._snapshots = SnapshotService(self._admit)
        self._reading_invitation = asyncio.Lock()

    async def start(self, receiver: Receiver) -> None:
        """Listen. :raises CannotListen: when the address cannot be bound."""
        self._receiver = receiver
        server = grpc.aio.server(options=(*_SERVER_OPTIONS, self._receive_limit))
        handlers = {
            "Control": grpc.stream_stream_rpc_method_handler(self._serve_frames),
            "Bulk": grpc.stream_stream_rpc_method_handler(self._serve_frames),
            # The handlers read what callers send, when it may be: a single request gRPC would read at once.
            "Hello": grpc.stream_unary_rpc_method_handler(self._serve_hello),
            "Join": grpc.stream_unary_rpc_method_handler(self._serve_join),
            **self._snapshots.handlers(),
        }
        own = grpc.method_handlers_generic_handler(SERVICE, handlers)
        server.add_generic_rpc_handlers((own, *self._config.services))
        try:
            if self._config.server_credentials is None:
                server.add_insecure_port(self._config.listen)
            else:
                server.add_secure_port(self._config.listen, self._config.server_credentials)
        except RuntimeError as error:
            raise CannotListen(f"cannot listen on {self._config.listen}: {error}") from error
        await server.start()
        self._server = server

    def send(self, address: str, message: Message, *, urgent: bool = True) -> None:
        """Queue for ``address``; leaves with `flush`. What does not fit the outbox is dropped.

        What is not urgent leaves with the next urgent message to the same peer, or soon.
        """
        lanes = self._peers.get(address)
        if lanes is None:
            lanes = self._dial(address)
        lane = lanes[1] if isinstance(message, _BULK) else lanes[0]
        lane.push(message)
        if urgent:
            self._dirty.add(lane)
        else:
            self._patient.add(lane)

    def flush(self) -> None:
        """Wake the streams that have something to send."""
        for lane in self._dirty:
            lane.wake()
        if self._patient:
            self._patient -= self._dirty
            if self._patient and self._patience is None:
                loop = asyncio.get_running_loop()
                self._patience = loop.call_later(self._config.patience_s, self._lose_patience)
        self._dirty.clear()

    def _lose_patience(self) -> None:
        self._patience = None
        for lane in self._patient:
            lane.wake()
        self._patient.clear()

    def retain(self, addresses: Iterable[str]) -> None:
        """Close the connections to all others, after a while: who leaves still gets the last news."""
        kept = set(addresses)
        loop = asyncio.get_running_loop()
        for address in self._peers:
            closing = self._closing.get(address)
            if address in kept:
                if closing is not None:
                    self._closing.pop(address).cancel()
            elif closing is None:
                self._closing[address] = loop.call_later(self._config.retain_s, self._hang_up, address)

    async def hello(self, address: str, timeout_s: float) -> Hello:
        """Ask who listens there. :raises Unreachable: nobody, or not in time."""
        reply = await self._ask(address, "Hello", b"{}", timeout_s)
        try:
            fields = json.loads(reply)
            return Hello(str(fields["name"]), str(fields["cluster_id"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"what listens at {address} is no peer: {error}") from error

    async def invite(self, address: str, invitation: Invitation, timeout_s: float) -> None:
        """Hand over an invitation.

        :raises Unreachable: no answer; it may have arrived or not. :raises Refused: the other host said no.
        """
        request = {
            "cluster_id": invitation.cluster_id,
            "shard": invitation.shard,
            "node": invitation.node,
            "name": invitation.name,
        }
        await self._ask(address, "Join", json.dumps(request).encode(), timeout_s)

    def serve_snapshots(self, source: SnapshotSource) -> None:
        """Let other hosts of the cluster pull what ``source`` has."""
        self._snapshots.source = source

    def pull(self, address: str) -> SnapshotPull:
        """A connection to pull a snapshot over, to be closed; nothing is sent yet."""
        channel = self.open_channel(address)
        return SnapshotPull(address, channel, SERVICE, self.metadata(address), self._config.silence_s)

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        for timer in self._closing.values():
            timer.cancel()
        self._closing.clear()
        if self._patience is not None:
            self._patience.cancel()
        lanes = [lane for pair in self._peers.values() for lane in pair]
        self._peers.clear()
        await asyncio.gather(*(lane.close() for lane in lanes))
        if self._server is not None:
            await self._server.stop(0)

    def metadata(self, address: str) -> tuple[tuple[str, str | bytes], ...]:
        """The handshake that opens a stream to ``address``."""
        return (
            (_CLUSTER, self._receiver.hello().cluster_id.encode()),
            (_NAME, self._config.name.encode()),
            (_ADDRESS, self._config.address.encode()),
            (_EXPECTED, self._receiver.name_of(address).encode()),
            (_VERSION, str(VERSION)),
        )

    def open_channel(self, address: str) -> Any:
        """A channel of its own connection."""
        options = (*_CHANNEL_OPTIONS, self._receive_limit)
        if self._config.channel_credentials is None:
            return grpc.aio.insecure_channel(address, options=options)
        return grpc.aio.secure_channel(address, self._config.channel_credentials, options=options)

    @property
    def _receive_limit(self) -> tuple[str, int]:
        return (
            "grpc.max_receive_message_length",
            self._config.frame_bytes_max + self._config.message_bytes_max,
        )

    def _dial(self, address: str) -> tuple[_Lane, _Lane]:
        lanes = (
            _Lane(self, address, "Control", self._config, self._receiver),
            _Lane(self, address, "Bulk", self._config, self._receiver),
        )
        self._peers[address] = lanes
        return lanes

    def _hang_up(self, address: str) -> None:
        self._closing.pop(address, None)
        for lane in self._peers.pop(address, ()):
            self._dirty.discard(lane)
            self._patient.discard(lane)
            lane.cancel()

    async def _ask(self, address: str, method: str, request: bytes, timeout_s: float) -> bytes:
        async with self.open_channel(address) as channel:
            call = channel.unary_unary(f"/{SERVICE}/{method}")
            try:
                reply: bytes = await call(request, timeout=timeout_s, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                    raise Refused(f"{address}: {error.details()}") from error
                if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                    raise Unreachable(f"{address} is a server's, but not its address for peers") from error
                raise Unreachable(f"{address} cannot be reached: {error.code().name}") from error
        return reply

    async def _admit(self, context: Any) -> str:
        """The advertised address of the caller; ends the call of one that is not of this cluster."""
        shaken = dict(context.invocation_metadata())
        source, cluster_id, name, expected = (
            bytes(shaken.get(key, b"")).decode(errors="replace")
            for key in (_ADDRESS, _CLUSTER, _NAME, _EXPECTED)
        )
        own = self._receiver.hello().cluster_id
        if shaken.get(_VERSION) != str(VERSION) or not own or cluster_id != own or not source:
            self.counts.streams_refused += 1
            log.warning("stream_refused", source=source, cluster=cluster_id, version=shaken.get(_VERSION))
            if cluster_id not in ("", own) and expected == self._config.name:
                self._receiver.claimed(Claim(cluster_id, name, source))
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"this host is of cluster {own!r}, version {VERSION}"
            )
        return source

    async def _serve_frames(self, _requests: Any, context: Any) -> None:
        source = await self._admit(context)
        counts = self.counts
        receive = self._receiver.receive
        while (frame := await context.read()) is not grpc.aio.EOF:
            counts.frames_received += 1
            counts.bytes_received += len(frame)
            try:
                messages = decode_frame(frame)
            except BadFrame as error:
                counts.frames_refused += 1
                log.warning("frame_refused", source=source, error=str(error))
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            receive(messages, source)

    async def _serve_hello(self, _requests: Any, _context: Any) -> bytes:
        hello = self._receiver.hello()
        return json.dumps({"name": hello.name, "cluster_id": hello.cluster_id}).encode()

    async def _serve_join(self, _requests: Any, context: Any) -> bytes:
        try:
            request = await self._read_invitation(context)
            fields = json.loads(request)
            invitation = Invitation(
                str(fields["cluster_id"]),
                ShardId(int(fields["shard"])),
                NodeId(int(fields["node"])),
                str(fields["name"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no invitation: {error}")
        try:
            await self._receiver.invited(invitation)
        except Refused as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return b"{}"

    async def _read_invitation(self, context: Any) -> bytes:
        """:raises ValueError: what came is too large to be one, or did not come in time."""
        async with self._reading_invitation:
            try:
                async with asyncio.timeout(_INVITATION_TIMEOUT_S):
                    request = await context.read()
            except TimeoutError:
                raise ValueError(f"it did not come within {_INVITATION_TIMEOUT_S} s") from None
        if request is grpc.aio.EOF:
            raise ValueError("nothing came")
        if len(request) > _INVITATION_BYTES_MAX:
            raise ValueError(f"it has {len(request)} bytes, the most are {_INVITATION_BYTES_MAX}")
        return bytes(request)


class _Lane:
    """One stream to one peer: a bounded outbox and the task that empties it, frame by frame."""

    def __init__(
        self,
        transport: GrpcTransport,
        address: str,
        method: str,
        config: GrpcTransportConfig,
        receiver: Receiver,
    ) -> None:
        self._transport = transport
        self._counts = transport.counts
        self._address = address
        self._method = method
        self._config = config
        self._receiver = receiver
        self._outbox: deque[tuple[Message, int]] = deque()
        self._outbox_bytes = 0
        self._wanted = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"raft {method} to {address}")

    def push(self, message: Message) -> None:
        size = _HEAD_BYTES
        if isinstance(message, Append):
            for entry in message.entries:
                size += len(entry.data) + ENTRY_HEADER_BYTES
        if self._outbox and self._outbox_bytes + size > self._config.outbox_bytes_max:
            self._counts.messages_dropped += 1
            self._receiver.unreachable(self._address)
            return
        self._outbox.append((message, size))
        self._outbox_bytes += size

    def wake(self) -> None:
        self._wanted.set()

    def cancel(self) -> None:
        self._task.cancel()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff_s = self._config.backoff_first_s
        while True:
            await self._wanted.wait()
            try:
                async with self._transport.open_channel(self._address) as channel:
                    call = channel.stream_stream(f"/{SERVICE}/{self._method}")(
                        metadata=self._transport.metadata(self._address)
                    )
                    call.add_done_callback(lambda _: self._wanted.set())
                    await call.wait_for_connection()
                    backoff_s = self._config.backoff_first_s
                    await self._pump(call)
                    log.info("stream_ended", address=self._address, stream=self._method)
            except Exception as error:
                # Whatever it was, a peer that is given up for ever is worse.
                reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else repr(error)
                log.info("stream_broken", address=self._address, stream=self._method, reason=reason)
            self._drop()
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, self._config.backoff_max_s)

    async def _pump(self, call: Any) -> None:
        """Write frames until the stream ends. While one is under way the next one gathers."""
        wanted = self._wanted
        counts = self._counts
        while not call.done():
            await wanted.wait()
            wanted.clear()
            if not self._outbox:
                continue
            frame = encode_frame(self._take())
            if self._outbox:
                wanted.set()
            counts.frames_sent += 1
            counts.bytes_sent += len(frame)
            await call.write(frame)

    def _take(self) -> list[Message]:
        outbox = self._outbox
        messages = []
        taken_bytes = 0
        while outbox and taken_bytes < self._config.frame_bytes_max:
            message, size = outbox.popleft()
            messages.append(message)
            taken_bytes += size
        self._outbox_bytes -= taken_bytes
        return messages

    def _drop(self) -> None:
        self._counts.messages_dropped += len(self._outbox)
        self._outbox.clear()
        self._outbox_bytes = 0
        self._wanted.clear()
        self._receiver.unreachable(self._address)
