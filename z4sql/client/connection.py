"""Channels to the peers of a cluster, and which of them leads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from grpc import StatusCode

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.access import Access
from z4sql.client.errors import Closed, OutcomeUnknown, Overloaded, Unavailable, Z4Error, error_of

R = TypeVar("R", bound=Message)

OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.service_config", json.dumps({"methodConfig": []})),
)

_TRY_AGAIN = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED})
_FOR_GOOD = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.UNIMPLEMENTED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNAUTHENTICATED,
    }
)
_WRITES = frozenset(
    {
        "/z4.Collection/CreateTasks",
        "/z4.Collection/ChangeTask",
        "/z4.Collection/ChangeTasks",
        "/z4.Admin/UpdateNamespace",
    }
)
_BUSY = frozenset({StatusCode.RESOURCE_EXHAUSTED})
_DETAILS_KEY = "grpc-status-details-bin"
"""What a peer ends with an error carries this, what gRPC ends does not."""
_NEVER_SENT = ("failed to connect to all addresses", "errors resolving")
"""gRPC's words when there was no connection to send on."""
_UNKNOWN = "the connection failed amid the call: look, or retry with the same request_id"
_UNKNOWN_CLOSED = "the client was closed amid the call: look, or retry with the same request_id"
_PROBE_TIMEOUT_S = 1.0
_TRY_FIRST_S = 3.0
_PAUSE_FIRST_S = 0.02
_PAUSE_MAX_S = 0.5


def _said(error: grpc.aio.AioRpcError) -> str:
    """A peer's own words; empty for those of gRPC."""
    if any(key == _DETAILS_KEY for key, _ in error.trailing_metadata() or ()):
        return error.details() or ""
    return ""


def _may_be_done(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call may have been carried out, as far as one try tells."""
    if error.code() not in _TRY_AGAIN:
        return False
    if _said(error):
        return error.code() is StatusCode.DEADLINE_EXCEEDED
    return not (error.details() or "").startswith(_NEVER_SENT)


def _check_endpoint(endpoint: str) -> None:
    host, _, port = endpoint.rpartition(":") if isinstance(endpoint, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(
            f"endpoints: {endpoint!r} is not HOST:PORT, as in 127.0.0.1:6355; give several as a list"
        )


class Connection:
    """Calls whichever peer answers, the leader first. Channels are made on first use."""

    def __init__(self, endpoints: Sequence[str], access: Access) -> None:
        """:raises ValueError: for what is no endpoint, no PEM, or a token that would go in plain text.

        :raises OSError: when a file of ``access`` cannot be read.
        """
        if not endpoints:
            raise ValueError("give at least one endpoint, HOST:PORT")
        for endpoint in endpoints:
            _check_endpoint(endpoint)
            access.check(endpoint)
        self._access = access
        self._credentials = None if access.tls is None else access.tls.credentials()
        self._given = frozenset(endpoints)
        self._endpoints = list(dict.fromkeys(endpoints))
        self._beyond_reach: set[str] = set()
        """Addresses that peers advertise and this client cannot use, behind a port mapping for example."""
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._current: str | None = None
        self._finding: asyncio.Task[None] | None = None
        self._closed = False

    async def close(self) -> None:
        """End all calls; nothing can be called any more."""
        self._closed = True
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def call(
        self,
        path: str,
        request: Message | bytes,
        response: type[R],
        timeout_s: float,
        *,
        patient: bool = False,
    ) -> R:
        """Call until a peer answers or ``timeout_s`` is over; every try sends the same bytes.

        Only for requests that may be sent twice: reads, or writes that carry a request id. A peer that is
        silent is given up after some seconds, more with each try, unless the call is ``patient``; such a call
        is not repeated once a peer may have begun with it.

        :raises Z4Error: as the peer said; `Unavailable` when none answered; `OutcomeUnknown` when a peer may
            have carried a write out.
        """
        data = request if isinstance(request, bytes) else request.SerializeToString()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        pause_s = _PAUSE_FIRST_S
        try_s = timeout_s if patient else _TRY_FIRST_S
        tried = False
        problem: Z4Error = self.unanswered(timeout_s)
        while (left_s := deadline - loop.time()) > 0:
            endpoint = self._current or await self._find_leader(left_s)
            try:
                method = self._channel(endpoint).unary_unary(path, response_deserializer=response.FromString)
                metadata = self._access.metadata(endpoint)
                answer: R = await method(data, timeout=min(left_s, try_s), metadata=metadata)
            except asyncio.CancelledError:
                # gRPC's word for a channel that was closed amid the call, too.
                task = asyncio.current_task()
                if not self._closed or (task is not None and task.cancelling()):
                    raise
                raise OutcomeUnknown(_UNKNOWN_CLOSED) if path in _WRITES else Closed from None
            except grpc.aio.AioRpcError as error:
                tried = tried or (path in _WRITES and _may_be_done(error))
                problem = self._problem(error, timeout_s, tried=tried)
                if error.code() not in _TRY_AGAIN or (tried and patient):
                    raise problem from None
                self._current = None
                try_s *= 2
                if endpoint not in self._given and error.code() is StatusCode.UNAVAILABLE:
                    self._beyond_reach.add(endpoint)
                await asyncio.sleep(min(pause_s, max(0.0, deadline - loop.time())))
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)
            else:
                return answer
        raise problem

    def unanswered(self, timeout_s: float, reason: str = "") -> Unavailable:
        """That no peer answered, and what can be done about it."""
        peers = ", ".join(sorted(self._given))
        return Unavailable(
            f"no peer of {peers} answered within {timeout_s:g} s{reason and f' ({reason})'}: "
            "check the endpoints, TLS, and whether the peers run"
        )

    def _problem(self, error: grpc.aio.AioRpcError, timeout_s: float, *, tried: bool) -> Z4Error:
        """``tried``: a peer may have carried out what was asked."""
        code, said = error.code(), _said(error)
        problem = error_of(code.value[0], error.details() or code.name)
        if tried:
            unsaid = isinstance(problem, Unavailable | Overloaded) or not said
            return OutcomeUnknown(_UNKNOWN) if code in _TRY_AGAIN | _BUSY and unsaid else problem
        if code not in _TRY_AGAIN or (said and code is StatusCode.UNAVAILABLE):
            return problem
        return self.unanswered(timeout_s, error.details() or code.name)

    async def leader(self, timeout_s: float) -> str:
        """The leader's address, or that of some peer that answers, as far as ``timeout_s`` lets find it."""
        return self._current or await self._find_leader(timeout_s)

    async def look_again(self) -> str:
        """Ask all peers who leads; that, as `leader`."""
        return await self._find_leader(_PROBE_TIMEOUT_S)

    def stream(self, endpoint: str, path: str, response: type[R]) -> grpc.aio.StreamStreamCall:
        """A stream of messages in both directions; requests are given serialized."""
        return self._channel(endpoint).stream_stream(path, response_deserializer=response.FromString)(
            metadata=self._access.metadata(endpoint)
        )

    def lost(self, endpoint: str, code: StatusCode, *, reached: bool) -> bool:
        """A stream to ``endpoint`` ended with ``code``; whether another one may be opened.

        ``reached``: it had answered before.
        """
        if code in _FOR_GOOD:
            return False
        if self._current == endpoint:
            self._current = None
        if not reached and endpoint not in self._given and code is StatusCode.UNAVAILABLE:
            self._beyond_reach.add(endpoint)
        return True

    def _channel(self, endpoint: str) -> grpc.aio.Channel:
        if self._closed:
            raise Closed
        channel = self._channels.get(endpoint)
        if channel is None:
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(endpoint, options=OPTIONS)
            else:
                channel = grpc.aio.secure_channel(endpoint, self._credentials, options=OPTIONS)
            self._channels[endpoint] = channel
        return channel

    async def _find_leader(self, timeout_s: float) -> str:
        """The leader's address when anybody knows it, else some endpoint that answers, else the first.

        :raises Closed:
        """
        if self._closed:
            raise Closed
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._probe(min(timeout_s, _PROBE_TIMEOUT_S)))
        await asyncio.wait([self._finding])
        return self._current or self._endpoints[0]

    async def _probe(self, timeout_s: float) -> None:
        data = pb.GetClusterInfoRequest().SerializeToString()

        async def ask(endpoint: str) -> tuple[str, pb.ClusterInfo | None]:
            method = self._channel(endpoint).unary_unary(
                "/z4.Admin/GetClusterInfo", response_deserializer=pb.ClusterInfo.FromString
            )
            metadata = self._access.metadata(endpoint)
            try:
                return endpoint, await method(data, timeout=timeout_s, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                # Whoever refuses to tell is there, and passes calls on.
                return endpoint, None if error.code() in _TRY_AGAIN else pb.ClusterInfo()

        fallback: str | None = None
        probes = [asyncio.ensure_future(ask(endpoint)) for endpoint in self._endpoints]
        try:
            for probe in asyncio.as_completed(probes):
                endpoint, info = await probe
                if info is None:
                    continue
                leader = info.leader_service_address
                if leader:
                    self._learn(info)
                if leader and leader not in self._beyond_reach:
                    self._current = leader
                    return
                # Any peer takes any call; it passes it on to a leader that this client does not reach.
                fallback = fallback or endpoint
        finally:
            for task in probes:
                task.cancel()
        if fallback is None:
            self._beyond_reach.clear()
        self._current = fallback

    def _learn(self, info: pb.ClusterInfo) -> None:
        """Remember peers that the user did not name, so that the cluster may move on."""
        for server in info.members:
            if server.service_address and server.service_address not in self._endpoints:
                self._endpoints.append(server.service_address)
