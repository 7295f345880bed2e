"""gRPC methods as functions from bytes to bytes: parsing and its errors are ours, not the library's.

A handler that raises `CallError` ends its call with that status; any other exception is a defect and ends
it with INTERNAL and a number that the log repeats.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol

import grpc
import structlog
from grpc import StatusCode

from z4sql.api.guard import Admitted, Guard
from z4sql.api.rights import OpenStreams
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

_log = structlog.get_logger()
_defects = count(1)


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
        self._open = None if guard is None else OpenStreams(guard)
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
                        context = Guarded(context, admitted)
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
                admitted = None
                if self._guard is not None:
                    admitted = self._guard.admit(path, context.invocation_metadata() or ())
                if self._open is None or admitted is None:
                    await handler(context)
                else:
                    with self._open.watched(admitted):
                        await handler(Guarded(context, admitted))
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


class Guarded:
    """The context of an admitted call: the messages of a stream are checked as they are read."""

    def __init__(self, context: Context, admitted: Admitted) -> None:
        self._context = context
        self.admitted = admitted
        self.write = context.write
        self.abort_with_status = context.abort_with_status
        self.invocation_metadata = context.invocation_metadata
        self.time_remaining = context.time_remaining

    async def read(self) -> object:
        """:raises CallError: as `Admitted.check`."""
        data = await self._context.read()
        if isinstance(data, bytes):
            self.admitted.check(data)
        return data


def may_tell(context: Context, namespace: str) -> bool:
    """Whether the caller may learn of ``namespace``; everybody may where there is no guard."""
    return not isinstance(context, Guarded) or context.admitted.may(namespace)


def _defect(path: str) -> CallError:
    number = next(_defects)
    _log.exception("call_failed", method=path, defect=number)
    return CallError(StatusCode.INTERNAL, f"internal error {number}: see the log of this peer")
