"""Passing creates on to the leader: once, in batches, under a request id of their own.

A forwarded batch carries a request id, so that it may be sent again when the answer is lost on the way: the
new leader answers it with the first outcome. What queued up while earlier batches were on their way forms
the next one, as on the leader itself.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
from grpc import StatusCode

from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.cutting import GROUP_BYTES
from z4sql.api.leadership import FORWARDED, Leadership
from z4sql.api.status import OUTCOME_UNKNOWN, TOO_LARGE, CallError, no_leader, undecided
from z4sql.api.varint import varint

BATCH_TASKS_MAX = 500
BATCHES_IN_FLIGHT_MAX = 2
QUEUED_TASKS_MAX = 100_000
QUEUED_BYTES_MAX = 64 << 20
TIMEOUT_S = 5.0
_PAUSE_S = 0.02
_TRY_AGAIN = frozenset({StatusCode.UNAVAILABLE, StatusCode.CANCELLED})
_METADATA = ((FORWARDED, "1"),)


@dataclass(slots=True, frozen=True)
class Forwarded:
    """A leader's answer to one task, and the leader's client address."""

    result: pb.CreateTaskResult
    forwarded_to: str


Done = Callable[[Forwarded | CallError], None]


class LeadershipMoved(Exception):
    """This peer leads now: the work is its own."""


class Forwarder:
    """Sends single tasks in batches, and whole batches as they are, to whoever leads."""

    def __init__(self, leadership: Leadership, lead: Callable[[bytes], Awaitable[bytes]]) -> None:
        """``lead`` carries an encoded CreateTasksRequest out on this peer, should it become the leader."""
        self._leadership = leadership
        self._lead = lead
        self._queue: deque[tuple[bytes, Done]] = deque()
        self._queued_bytes = 0
        self._in_flight: set[asyncio.Task[None]] = set()

    def add(self, request: bytes, done: Done) -> None:
        """Queue one encoded CreateTaskRequest.

        :raises CallError: RESOURCE_EXHAUSTED when the queue is full.
        """
        if len(self._queue) >= QUEUED_TASKS_MAX or self._queued_bytes >= QUEUED_BYTES_MAX:
            raise CallError(
                StatusCode.RESOURCE_EXHAUSTED,
                "too many writes wait for the leader; nothing was done, retry after a pause",
                reason="BUSY",
                retry_ms=50,
            )
        self._queue.append((request, done))
        self._queued_bytes += len(request)
        self._pump()

    async def send(
        self, request: bytes, timeout_s: float = TIMEOUT_S, *, tried: bool = False
    ) -> tuple[bytes, str]:
        """Carry out an encoded CreateTasksRequest; returns the encoded response and the leader's address.

        ``request`` must carry a request id. ``tried``: it may have been carried out already.

        :raises CallError: as the leader said; UNAVAILABLE when there was none in time; that the outcome is
            unknown when a leader may have carried it out and did not say so in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        problem = no_leader()
        while (left_s := deadline - loop.time()) > 0:
            leader = await self._leadership.wait(left_s)
            if leader is None:
                break
            try:
                if leader.local:
                    async with asyncio.timeout(left_s):
                        return await self._lead(request), ""
                channel = self._leadership.channel(leader.service_address)
                method = channel.unary_unary("/z4.Collection/CreateTasks")
                response: bytes = await method(
                    request, timeout=max(0.001, deadline - loop.time()), metadata=_METADATA
                )
                return response, leader.service_address
            except grpc.aio.AioRpcError as error:
                problem = CallError.as_said(error)
            except CallError as error:
                problem = error
            except TimeoutError:
                tried = True
                break
            if problem.is_lost or problem.reason == OUTCOME_UNKNOWN:
                tried = True
            elif not (
                problem.code in _TRY_AGAIN or (tried and problem.code is StatusCode.RESOURCE_EXHAUSTED)
            ):
                raise problem
            await asyncio.sleep(_PAUSE_S)
        raise undecided() if tried else problem

    async def close(self) -> None:
        for sending in list(self._in_flight):
            sending.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _pump(self) -> None:
        while self._queue and len(self._in_flight) < BATCHES_IN_FLIGHT_MAX:
            sending = asyncio.create_task(self._run(self._take()))
            self._in_flight.add(sending)
            sending.add_done_callback(self._sent)

    def _take(self) -> list[tuple[bytes, Done]]:
        """What goes next, as one batch."""
        batch: list[tuple[bytes, Done]] = []
        size = 0
        while self._queue and len(batch) < BATCH_TASKS_MAX and size < GROUP_BYTES:
            one = self._queue.popleft()
            batch.append(one)
            size += len(one[0])
        self._queued_bytes -= size
        return batch

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._in_flight.discard(sending)
        self._pump()

    async def _run(self, batch: list[tuple[bytes, Done]]) -> None:
        request = batch_request(uuid.uuid4().hex, [one for one, _ in batch])
        try:
            data, address = await self.send(request)
            results = pb.CreateTasksResponse.FromString(data).results
        except CallError as error:
            if error.reason == TOO_LARGE and len(batch) > 1:
                # Metadata may be larger in the log than on the way.
                middle = len(batch) // 2
                await asyncio.gather(self._run(batch[:middle]), self._run(batch[middle:]))
                return
            for _, done in batch:
                done(error)
            return
        except asyncio.CancelledError:
            # This peer is stopping; the leader may have the batch.
            for _, done in batch:
                done(undecided())
            raise
        for (_, done), result in zip(batch, results, strict=True):
            done(Forwarded(result, address))


def batch_request(request_id: str, requests: list[bytes]) -> bytes:
    """An encoded CreateTasksRequest made of encoded CreateTaskRequests."""
    parts = [pb.CreateTasksRequest(request_id=request_id, with_etags=True).SerializeToString()]
    for request in requests:
        parts += (_TASKS_TAG, varint(len(request)), request)
    return b"".join(parts)


_TASKS_TAG = bytes([pb.CreateTasksRequest.DESCRIPTOR.fields_by_name["tasks"].number << 3 | 2])
