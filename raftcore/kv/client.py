"""A client that finds the leader, and repeats a write under its request id until the outcome is known."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from raftcore.application import OutcomeUnknown
from raftcore.kv._pb import kv_pb2 as pb
from raftcore.kv.errors import NotTheLeader, Unavailable, error_of
from raftcore.kv.server import CALL, WATCH

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A node that vanished without a word is noticed by whoever watches it.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)
_PAUSE_S = 0.05
_ATTEMPT_S_MIN = 0.1
"""A shorter attempt would do no more than make the outcome unknown."""


class KvClient:
    """Calls a cluster through any of its ``endpoints`` (host:port).

    A call ends within ``timeout_s``; one node gets ``attempt_s`` of it before another is asked. Every call
    raises `KvError` when nothing was done, and `OutcomeUnknown` when nobody can tell.
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
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def set(
        self,
        key: bytes,
        value: bytes,
        ttl_ms: int = 0,
        *,
        expected_value: bytes | None = None,
        expected_version: int | None = None,
        request_id: bytes = b"",
    ) -> pb.WriteResult:
        """Set the key; if something is expected, only when the key has it (version 0: there is no key).

        Give ``request_id`` to repeat, in another call, a write whose outcome is unknown.
        """
        wanted = pb.Set(
            key=key,
            value=value,
            ttl_ms=ttl_ms,
            expected_value=expected_value,
            expected_version=expected_version,
        )
        return await self._write(pb.Command(set=wanted, request_id=request_id))

    async def delete(self, key: bytes, *, request_id: bytes = b"") -> pb.WriteResult:
        """``done`` tells whether the key was there."""
        return await self._write(pb.Command(delete=pb.Delete(key=key), request_id=request_id))

    async def get(self, key: bytes, *, stale: bool = False) -> pb.Item | None:
        """The key's item; None when there is none. ``stale`` may answer what was true earlier."""
        answer = await self._call(pb.Request(get=pb.Get(key=key, stale=stale)))
        return next(iter(answer.items.items), None)

    async def scan(self, prefix: bytes, limit: int, after: bytes = b"", *, stale: bool = False) -> pb.Items:
        """Up to ``limit`` items whose keys begin with ``prefix`` and come after ``after``."""
        scan = pb.Scan(prefix=prefix, limit=limit, after=after, stale=stale)
        return (await self._call(pb.Request(scan=scan))).items

    async def info(self, endpoint: str) -> pb.Info:
        """The node at ``endpoint`` as it sees itself. :raises Unavailable: it does not answer."""
        try:
            return (await self._attempt(endpoint, pb.Request(info=pb.AskInfo()), self._timeout_s)).info
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"{endpoint}: {error.details()}") from None

    async def change(self, action: str, name: str = "", address: str = "") -> None:
        """Change the membership or move leadership, see `ChangeMembers`.

        Not repeated once a node may have acted unheard, as it may mean another thing then.
        """
        change = pb.ChangeMembers(action=action, name=name, address=address)
        await self._call(pb.Request(change=change))

    async def watch(self, from_index: int, prefix: bytes = b"") -> AsyncIterator[pb.Change]:
        """Every change from log index ``from_index`` on, each once and in order, from whichever node is up.

        :raises Compacted: changes that old are gone.
        """
        while True:
            call = self._channel(self._address).unary_stream(
                WATCH, pb.WatchRequest.SerializeToString, pb.Answer.FromString
            )
            try:
                async for answer in call(pb.WatchRequest(from_index=from_index, prefix=prefix)):
                    changes = _checked(answer).changes
                    for change in changes.changes:
                        yield change
                    from_index = changes.index + 1
            except (grpc.aio.AioRpcError, Unavailable):
                pass
            self._turn_away()
            await asyncio.sleep(_PAUSE_S)

    async def _write(self, command: pb.Command) -> pb.WriteResult:
        command.request_id = command.request_id or secrets.token_bytes(16)
        return (await self._call(pb.Request(write=command))).result

    async def _call(self, request: pb.Request) -> pb.Answer:
        """Ask one node after the other until there is an answer."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._timeout_s
        changes_members = request.HasField("change")
        may_be_done, problem = False, "no node was asked"
        while (remaining_s := deadline_s - loop.time()) > 0:
            attempt_s = remaining_s if changes_members else min(self._attempt_s, remaining_s)
            try:
                return await self._attempt(self._address, request, attempt_s)
            except NotTheLeader as error:
                problem = str(error)
                if error.address not in ("", self._address):
                    self._address = error.address
                    continue
            except Unavailable as error:
                problem = str(error)
            except OutcomeUnknown as error:
                problem, may_be_done = str(error), True
            except grpc.aio.AioRpcError as error:
                problem = f"{self._address}: {error.details()}"
                may_be_done = may_be_done or not _never_left(error)
            if changes_members and may_be_done:
                break
            self._turn_away()
            if deadline_s - loop.time() < _PAUSE_S + _ATTEMPT_S_MIN:
                break
            await asyncio.sleep(_PAUSE_S)
        if may_be_done and (changes_members or request.HasField("write")):
            raise OutcomeUnknown(problem)
        raise Unavailable(problem)

    async def _attempt(self, address: str, request: pb.Request, timeout_s: float) -> pb.Answer:
        call = self._channel(address).unary_unary(CALL, pb.Request.SerializeToString, pb.Answer.FromString)
        return _checked(await call(request, timeout=timeout_s))

    def _channel(self, address: str) -> Any:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=_OPTIONS)
        return self._channels[address]

    def _turn_away(self) -> None:
        """Ask another endpoint next."""
        known = self._address in self._endpoints
        at = self._endpoints.index(self._address) + 1 if known else secrets.randbelow(len(self._endpoints))
        self._address = self._endpoints[at % len(self._endpoints)]


def _checked(answer: pb.Answer) -> pb.Answer:
    if answer.HasField("failure"):
        raise error_of(answer.failure)
    return answer


def _never_left(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call surely never reached a node: there was no connection to send it over."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and "failed to connect" in (error.details() or "")
