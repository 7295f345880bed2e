"""The gRPC face of a node: two methods, bytes in and bytes out, whose messages are our own.

An error is an answer (`Failure`), not a gRPC status: what a client must tell apart is all in one place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

import grpc

from raftcore.core.errors import OutcomeUnknown, RaftError
from raftcore.kv import messages as kv
from raftcore.kv.codec import encode
from raftcore.kv.errors import BadMessage, BadRequest, Compacted, KvError, NotTheLeader, Refused, Unavailable
from raftcore.kv.node import Node

SERVICE = "raftcore.KeyValue"
CALL = f"/{SERVICE}/Call"
WATCH = f"/{SERVICE}/Watch"
MESSAGE_BYTES_MAX = 64 << 20
OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)
_TIMEOUT_S = 5.0


class Context(Protocol):
    """What is used of grpc.aio's context of a call."""

    def time_remaining(self) -> float | None: ...


class Server:
    """Serves ``node`` at its address."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._server = grpc.aio.server(options=OPTIONS)
        handlers = {
            "Call": grpc.unary_unary_rpc_method_handler(self._call),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def start(self) -> None:
        """:raises OSError: when the address cannot be bound."""
        address = self._node.address
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0.5)

    async def _call(self, data: bytes, context: Context) -> bytes:
        remaining_s = context.time_remaining()
        # An answer that says what failed is to arrive before the caller gives up.
        timeout_s = _TIMEOUT_S if remaining_s is None else 0.9 * remaining_s
        try:
            return encode(await self._node.answer(kv.decode_request(data), timeout_s))
        except RaftError as error:
            return encode(failure(error))

    async def _watch(self, data: bytes, _context: Context) -> AsyncIterator[bytes]:
        try:
            async for changes in self._node.watch(kv.decode(data, kv.Watch)):
                yield encode(changes)
        except RaftError as error:
            yield encode(failure(error))


_KINDS: dict[str, Callable[[str], RaftError]] = {
    **{each.__name__: each for each in (BadMessage, BadRequest, NotTheLeader, Unavailable, Refused)},
    Compacted.__name__: lambda first_index: Compacted(int(first_index)),
    OutcomeUnknown.__name__: OutcomeUnknown,
}


def failure(error: RaftError) -> kv.Failure:
    """An error as it is sent. What is none of ours leaves the outcome unknown."""
    match error:
        case NotTheLeader():
            detail = error.address
        case Compacted():
            detail = str(error.first_index)
        case _:
            detail = str(error)
    kind = type(error).__name__
    return kv.Failure(kind if kind in _KINDS else OutcomeUnknown.__name__, detail)


def error_of(sent: kv.Failure) -> RaftError:
    """The error that was sent."""
    return _KINDS.get(sent.kind, KvError)(sent.detail)
