"""gRPC methods as functions from bytes to bytes: parsing and its errors are ours, not the library's.

A handler that raises `CallError` ends its call with that status; any other exception is a defect and ends
it with INTERNAL and a number that the log repeats.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc import StatusCode

from z4sql.api.guard import Admitted, Guard
from z4sql.api.status import CallError


class Context(Protocol):
    """What is used of grpc.aio's context of a call; the library carries no types."""

    async def read(self) -> object: ...

    async def write(self, message: bytes) -> None: ...

    async def abort_with_status(self, status: object) -> None: ...

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None: ...

    def time_remaining(self) -> float | None: ...


UnaryHandler = Callable[[bytes, Context], Awaitable[bytes]]
StreamHandler = Callable[[Context], Awaitable[None]]
"""Reads and writes the stream through its context."""

M = TypeVar("M", bound=Message)

_log = structlog.get_logger()
_defects = count(1)


def parse(kind: type[M], data: bytes) -> M:
    """Decode a request. :raises CallError: INVALID_ARGUMENT when the bytes are no such message."""
    try:
        return kind.FromString(data)
    except DecodeError:
        name = kind.DESCRIPTOR.full_name
        raise CallError(
            StatusCode.INVALID_ARGUMENT, f"the request is not a valid {name} message", reason="MALFORMED"
        ) from None


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc carries no types
    """The table of a server's methods by their full path."""

    def __init__(
        self,
        guard: Guard | None = None,
        on_ended: Callable[[str, str], None] = lambda _path, _code: None,
        on_took: Callable[[str, float], None] = lambda _path, _seconds: None,
    ) -> None:
        """``guard`` None: everybody may call everything. ``on_ended``: path and status name of each call.

        ``on_took``: path and seconds of each unary call.
        """
        self._on_took = on_took
        self._guard = guard
        self._on_ended = on_ended
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(handler_call_details.method)

    def unary(self, path: str, handler: UnaryHandler) -> None:
        async def call(data: bytes, context: Context) -> bytes:
            begun_s = time.perf_counter()
            try:
                if self._guard is not None:
                    admitted = self._guard.admit(path, context.invocation_metadata() or ())
                    if admitted is not None:
                        admitted.check(data)
                answer = await handler(data, context)
                self._on_ended(path, "OK")
                return answer
            except (CallError, asyncio.CancelledError) as error:
                await self._end(path, error, context)
            except Exception:
                await self._end(path, _defect(path), context)
            finally:
                self._on_took(path, time.perf_counter() - begun_s)
            return b""

        self._handlers[path] = grpc.unary_unary_rpc_method_handler(call)

    def stream(self, path: str, handler: StreamHandler) -> None:
        async def call(_requests: object, context: Context) -> None:
            try:
                if self._guard is not None:
                    admitted = self._guard.admit(path, context.invocation_metadata() or ())
                    if admitted is not None:
                        context = _Watched(context, admitted)
                await handler(context)
                self._on_ended(path, "OK")
            except (CallError, asyncio.CancelledError) as error:
                await self._end(path, error, context)
            except Exception:
                await self._end(path, _defect(path), context)

        self._handlers[path] = grpc.stream_stream_rpc_method_handler(call)

    async def _end(self, path: str, error: CallError | asyncio.CancelledError, context: Context) -> None:
        if isinstance(error, asyncio.CancelledError):
            self._on_ended(path, "CANCELLED")
            raise error
        self._on_ended(path, error.code.name)
        await context.abort_with_status(error.to_status())


class _Watched:
    """A stream's context whose messages are checked as they are read."""

    def __init__(self, context: Context, admitted: Admitted) -> None:
        self._context = context
        self._admitted = admitted
        self.write = context.write
        self.abort_with_status = context.abort_with_status
        self.invocation_metadata = context.invocation_metadata
        self.time_remaining = context.time_remaining

    async def read(self) -> object:
        """:raises CallError: the message is about a namespace that is not the caller's."""
        data = await self._context.read()
        if isinstance(data, bytes):
            self._admitted.check(data)
        return data


def _defect(path: str) -> CallError:
    number = next(_defects)
    _log.exception("call_failed", method=path, defect=number)
    return CallError(StatusCode.INTERNAL, f"internal error {number}: see the log of this peer")
