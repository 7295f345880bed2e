"""A client that finds the leader, and repeats a write under its request id until the outcome is known."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import grpc

from raftcore.core.errors import OutcomeUnknown
from raftcore.kv import messages as kv
from raftcore.kv.codec import encode
from raftcore.kv.errors import NotTheLeader, Unavailable
from raftcore.kv.server import CALL, MESSAGE_BYTES_MAX, WATCH, error_of

_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # A node that vanished without a word is noticed by whoever watches it.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)
_PAUSE_S = 0.05

A = TypeVar("A")


class KvClient:
    """Calls a cluster through any of its ``endpoints`` (host:port).

    A call ends within ``timeout_s``; one node gets ``attempt_s`` of it before another is asked.
    """

    def __init__(self, endpoints: Sequence[str], timeout_s: float = 10.0, attempt_s: float = 2.0) -> None:
        if not endpoints:
            raise ValueError("at least one endpoint is needed")
        self._endpoints = list(endpoints)
        self._timeout_s = timeout_s
        self._attempt_s = attempt_s
        self._address = self._endpoints[0]
        self._channels: dict[str, Any] = {}

    async def __aenter__(self) -> KvClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def set(self, key: bytes, value: bytes, ttl_ms: int = 0) -> kv.WriteResult:
        """:raises KvError: nothing was done. :raises OutcomeUnknown: nobody can tell. Also below."""
        return await self.write(kv.Set(key, value, ttl_ms))

    async def delete(self, key: bytes) -> kv.WriteResult:
        """``done`` tells whether the key was there."""
        return await self.write(kv.Delete(key))

    async def compare_and_set(
        self,
        key: bytes,
        value: bytes,
        *,
        expected_value: bytes | None = None,
        expected_version: int | None = None,
        ttl_ms: int = 0,
    ) -> kv.WriteResult:
        """Set if the key has that value, or that version; version 0 is that of a key that is not there."""
        return await self.write(kv.CompareAndSet(key, value, expected_value, expected_version, ttl_ms))

    async def write(self, operation: kv.ClientOperation, request_id: bytes | None = None) -> kv.WriteResult:
        """One write, whichever it is; give ``request_id`` to repeat one whose outcome is unknown."""
        return await self.call(kv.Write(request_id or secrets.token_bytes(16), operation), kv.WriteResult)

    async def get(self, key: bytes, *, stale: bool = False) -> kv.Item | None:
        """The key's item; None when there is none. ``stale`` may answer what was true earlier."""
        items = (await self.call(kv.Get(key, stale), kv.Items)).items
        return items[0] if items else None

    async def scan(self, prefix: bytes, limit: int, after: bytes = b"", *, stale: bool = False) -> kv.Items:
        """Up to ``limit`` items whose keys begin with ``prefix`` and come after ``after``."""
        return await self.call(kv.Scan(prefix, limit, after, stale), kv.Items)

    async def info(self, endpoint: str) -> kv.Info:
        """The node at ``endpoint`` as it sees itself. :raises Unavailable: it does not answer."""
        try:
            return await self._attempt(endpoint, kv.AskInfo(), kv.Info, self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"{endpoint}: {error.details()}") from None

    async def change(self, request: kv.Request) -> kv.Done:
        """Change the membership or move leadership; not repeated, as it may mean another thing then."""
        return await self.call(request, kv.Done, once=True)

    async def watch(self, from_index: int, prefix: bytes = b"") -> AsyncIterator[kv.Change]:
        """Every change from log index ``from_index`` on, each once and in order, from whichever node is up.

        :raises Compacted: changes that old are gone.
        """
        while True:
            try:
                channel = self._channel(self._address)
                stream = channel.unary_stream(WATCH)(encode(kv.Watch(from_index, prefix)))
                async for data in stream:
                    answer = kv.decode_answer(data, kv.Changes)
                    if isinstance(answer, kv.Failure):
                        raise error_of(answer)
                    for change in answer.changes:
                        yield change
                    from_index = answer.index + 1
            except (grpc.aio.AioRpcError, Unavailable):
                pass
            self._turn_away()
            await asyncio.sleep(_PAUSE_S)

    async def call(self, request: kv.Request, kind: type[A], *, once: bool = False) -> A:
        """Ask until there is an answer; ``once`` gives up as soon as a node may have acted unheard."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._timeout_s
        is_write = once or isinstance(request, kv.Write)
        may_be_done = False
        problem = "no node was asked"
        while (remaining_s := deadline_s - loop.time()) > 0:
            attempt_s = remaining_s if once else min(self._attempt_s, remaining_s)
            try:
                return await self._attempt(self._address, request, kind, attempt_s)
            except NotTheLeader as error:
                problem = str(error)
                if error.address and error.address != self._address:
                    self._address = error.address
                    continue
                self._turn_away()
            except Unavailable as error:
                problem = str(error)
                self._turn_away()
            except OutcomeUnknown as error:
                problem = str(error)
                may_be_done = True
            except grpc.aio.AioRpcError as error:
                problem = f"{self._address}: {error.details()}"
                may_be_done = may_be_done or not _never_left(error)
                self._turn_away()
            if once and may_be_done:
                break
            await asyncio.sleep(min(_PAUSE_S, max(deadline_s - loop.time(), 0)))
        if is_write and may_be_done:
            raise OutcomeUnknown(problem)
        raise Unavailable(problem)

    async def _attempt(self, address: str, request: kv.Request, kind: type[A], timeout_s: float) -> A:
        call = self._channel(address).unary_unary(CALL)
        answer = kv.decode_answer(await call(encode(request), timeout=timeout_s), kind)
        if isinstance(answer, kv.Failure):
            raise error_of(answer)
        return answer

    def _channel(self, address: str) -> Any:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = grpc.aio.insecure_channel(address, options=_OPTIONS)
        return channel

    def _turn_away(self) -> None:
        """Ask another endpoint next."""
        known = self._address in self._endpoints
        at = self._endpoints.index(self._address) + 1 if known else secrets.randbelow(len(self._endpoints))
        self._address = self._endpoints[at % len(self._endpoints)]


def _never_left(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call surely never reached a node: there was no connection to send it over."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and "failed to connect" in (error.details() or "")
