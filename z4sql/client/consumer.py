"""A consumer: leased tasks as they become due, and what is said of them, on a stream that mends itself.

Whatever is said of a lease (ack, nack, dead, extend) is answered with an `Outcome` within the client's
timeout, also when the leader changes meanwhile: what was not answered is said again on the next stream. An
ack that had been carried out is answered as done there. What is refused there may have ended its lease by the
first try, so that answer is `Outcome.UNKNOWN`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from types import TracebackType
from typing import Final, Self

import grpc

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.connection import Connection
from z4sql.client.errors import AFTER_S_MAX, Z4Error, error_of, error_text
from z4sql.client.messages import message_of
from z4sql.client.model import Task, lease_milliseconds, milliseconds

CREDIT_MAX: Final = 10_000
_PATH: Final = "/z4.Queue/Consume"
_ITEMS_PER_MESSAGE_MAX: Final = 1_000
_PAUSE_FIRST_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.5
_LOOK_S: Final = 0.25
_CLOSE_TIMEOUT_S: Final = 5.0
_SUSPECT_S: Final = 1.5
"""A leader that leaves something unanswered for so long may have gone."""
_FAILED_PRECONDITION: Final = 9


class Outcome(Enum):
    """What became of an ack, nack, dead or extend."""

    DONE = "done"
    """It is durable."""
    STALE = "stale"
    """The lease had ended before; nothing was done, and the task is or will be delivered again."""
    UNKNOWN = "unknown"
    """The connection broke before the answer: done, or the task will be delivered again."""


class _Kind(Enum):
    ACK = 0
    NACK = 1
    EXTEND = 2


@dataclass(slots=True, eq=False)
class _Saying:
    """Something to say of a lease; ``sent`` on a stream that may have ended since."""

    token: int
    kind: _Kind
    answer: asyncio.Future[Outcome]
    until: float
    """When it is answered at the latest, by the loop's clock."""
    nack: pb.Nack | None = None
    lease_ms: int = 0
    sent: bool = False
    doubtful: bool = False
    """An earlier stream took it and ended without an answer."""


class Delivery:
    """A leased task. Say once how it went: `ack`, `nack`, `dead` or `release`."""

    __slots__ = ("_consumer", "ended", "lease_s", "received_s", "task", "token")

    def __init__(self, consumer: Consumer, task: Task, token: int, lease_s: float, received_s: float) -> None:
        self.task = task
        self.token = token
        """Names this lease; never used twice."""
        self.lease_s = lease_s
        """How long the lease lasts from when it was given, or extended last."""
        self.received_s = received_s
        """When that was, by the loop's clock."""
        self.ended = False
        """Whether it was said how it went."""
        self._consumer = consumer

    def __repr__(self) -> str:
        return f"<Delivery {self.task.namespace}/{self.task.id} attempt {self.task.attempts}>"

    async def ack(self) -> Outcome:
        """It is done."""
        return await self._consumer.say(self, _Kind.ACK)

    async def nack(self, error: str = "", *, delay: timedelta | None = None) -> Outcome:
        """It failed: try again after ``delay``, or by the namespace's backoff."""
        nack = pb.Nack(lease_token=self.token, error=error_text(error))
        if delay is not None:
            nack.delay_ms = milliseconds(delay, "delay", AFTER_S_MAX * 1_000)
        return await self._consumer.say(self, _Kind.NACK, nack=nack)

    async def dead(self, error: str) -> Outcome:
        """It failed for good: no further attempt, the task is kept as dead."""
        nack = pb.Nack(lease_token=self.token, error=error_text(error), dead=True)
        return await self._consumer.say(self, _Kind.NACK, nack=nack)

    async def release(self) -> Outcome:
        """It was not begun: due as before, for any consumer, and the attempt does not count."""
        return await self._consumer.say(self, _Kind.NACK, nack=pb.Nack(lease_token=self.token, release=True))

    async def extend(self, lease: timedelta | None = None) -> Outcome:
        """Hold it for ``lease`` from now, or for the lease's first length."""
        length_ms = 0 if lease is None else lease_milliseconds(lease)
        return await self._consumer.say(self, _Kind.EXTEND, lease_ms=length_ms)


class Consumer:
    """Made by `AsyncClient.consume`; an async context manager and an async iterator of deliveries.

    Leaving the context ends the stream; the cluster gives back at once what is not settled.
    """

    def __init__(
        self,
        connection: Connection,
        namespaces: Sequence[str],
        *,
        name: str,
        credit: int,
        lease: timedelta | None,
        limit: int | None,
        timeout_s: float,
    ) -> None:
        """``credit``: how many tasks it holds at most, those waiting to be iterated included.

        ``limit``: iteration ends after so many; no more than these are leased.
        """
        if not 1 <= credit <= CREDIT_MAX:
            raise ValueError(f"credit must lie between 1 and {CREDIT_MAX}")
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative, is {limit}")
        self.name = name
        """Shown as the tasks' lease owner; known at the latest when the context was entered."""
        self._connection = connection
        self._start = message_of(
            pb.ConsumeStart,
            {"consumer": "name"},
            namespaces=namespaces,
            consumer=name,
            lease_ms=0 if lease is None else lease_milliseconds(lease),
        )
        self._credit = credit
        self._timeout_s = timeout_s
        self._held = 0
        self._credit_due = 0
        self._granted = 0
        """Credit that the cluster has and did not use yet."""
        self._left = limit
        """Tasks that may still be received."""
        self._buffer: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._wake = asyncio.Event()
        self._started = asyncio.Event()
        self._waiting: dict[int, deque[_Saying]] = {}
        """By token: the first is on its way, the others wait for its answer."""
        self._unsent: deque[_Saying] = deque()
        self._checks: set[asyncio.Task[None]] = set()
        self._reached = False
        """Whether the present stream was answered."""
        self._stream: tuple[str, grpc.aio.StreamStreamCall] | None = None
        """The present stream, and to whom."""
        self._draining = False
        self._closing = False
        self._failure: Z4Error | None = None
        self._trouble = ""
        """Why the last stream broke."""
        self._running: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """:raises Z4Error: when no peer takes the stream within the timeout, or it is refused."""
        if self._running is not None:
            raise RuntimeError("a consumer is entered once: make another one with consume()")
        self._running = asyncio.create_task(self._run(), name="z4 consumer")
        self._running.add_done_callback(self._ended)
        self._watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._started.wait()
        except TimeoutError:
            await self.close()
            raise self._connection.unanswered(self._timeout_s, self._trouble) from None
        if self._failure is not None:
            await self.close()
            raise self._failure
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        """The next task. Ends after `drain` or `close`. :raises Z4Error: when the cluster refuses it."""
        loop = asyncio.get_running_loop()
        while True:
            if self._failure is not None:
                raise self._failure
            if self._closing:
                raise StopAsyncIteration
            while self._buffer:
                delivery = self._buffer.popleft()
                if loop.time() < delivery.received_s + delivery.lease_s:
                    return delivery
                self._drop(delivery)
            if (self._draining or self._left == 0) and not self._checks:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()

    async def drain(self) -> None:
        """Take no more: iteration ends behind what has arrived, and what is held can be settled.

        What has arrived is handed out, since its attempt counts whether it is looked at or not.
        """
        self._draining = True
        self._wake.set()
        self._arrived.set()

    async def close(self) -> None:
        """Wait for the answers to what was said, then end the stream."""
        if self._closing:
            return
        self._draining = self._closing = True
        self._wake.set()
        self._arrived.set()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=min(self._timeout_s, _CLOSE_TIMEOUT_S))
            self._running.cancel()
            await asyncio.wait([self._running])
        if self._watching is not None:
            self._watching.cancel()

    async def say(
        self, delivery: Delivery, kind: _Kind, *, nack: pb.Nack | None = None, lease_ms: int = 0
    ) -> Outcome:
        """See the methods of `Delivery`."""
        if delivery.ended:
            raise RuntimeError(f"{delivery!r} was settled before: say once how it went")
        if kind is not _Kind.EXTEND:
            self._forget(delivery)
        if self._running is None or self._running.done():
            return Outcome.UNKNOWN
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        saying = _Saying(
            delivery.token, kind, loop.create_future(), asked_s + self._timeout_s, nack, lease_ms
        )
        waiting = self._waiting.setdefault(delivery.token, deque())
        waiting.append(saying)
        if len(waiting) == 1:
            self._send(saying)
        outcome = await saying.answer
        if kind is _Kind.EXTEND and outcome is Outcome.DONE:
            delivery.received_s = asked_s
            if lease_ms:
                delivery.lease_s = lease_ms / 1000
        return outcome

    def _forget(self, delivery: Delivery) -> None:
        """It counts against the credit no more."""
        delivery.ended = True
        self._held -= 1
        self._credit_due += 1
        self._wake.set()

    def _drop(self, delivery: Delivery) -> None:
        """Its lease ended before anybody saw it: it never was received."""
        if self._left is not None:
            self._left += 1
        self._forget(delivery)
        self._arrived.set()

    def _grant(self, wanted: int) -> int:
        """Credit to send now."""
        granted = max(0, wanted if self._left is None else min(wanted, self._left - self._granted))
        self._granted += granted
        return granted

    def _send(self, saying: _Saying) -> None:
        self._unsent.append(saying)
        self._wake.set()

    async def _run(self) -> None:
        """Streams, one after another, until the consumer is closed or refused."""
        pause_s = _PAUSE_FIRST_S
        while True:
            endpoint = await self._connection.leader(self._timeout_s)
            self._reached = False
            call = self._connection.stream(endpoint, _PATH, pb.ConsumeResponse)
            self._stream = (endpoint, call)
            try:
                await self._serve(call)
            except grpc.aio.AioRpcError as error:
                if not self._connection.lost(endpoint, error.code(), reached=self._reached):
                    raise error_of(error.code().value[0], error.details() or error.code().name) from None
                self._trouble = error.details() or error.code().name
            if self._closing:
                return
            pause_s = _PAUSE_FIRST_S if self._reached else min(pause_s * 2, _PAUSE_MAX_S)
            await asyncio.sleep(pause_s)

    async def _serve(self, call: grpc.aio.StreamStreamCall) -> None:
        """One stream until it ends. :raises AioRpcError: when it breaks."""
        writing = asyncio.create_task(self._write(call))
        # A writer that fails must not leave the reader waiting for answers.
        writing.add_done_callback(
            lambda ended: ended.cancelled() or ended.exception() is None or call.cancel()
        )
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                self._take_in(response)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # The call was cancelled, not this task.
        finally:
            writing.cancel()
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await writing

    async def _write(self, call: grpc.aio.StreamStreamCall) -> None:
        """Start, say again what was not answered, then what comes up, together for each turn of the loop."""
        again = self._started.is_set()
        self._unsent.clear()
        for sayings in self._waiting.values():
            sayings[0].doubtful = sayings[0].doubtful or sayings[0].sent
            self._unsent.append(sayings[0])
        if again:
            self._check_buffer()
        drain, self._credit_due, self._granted = self._draining, 0, 0
        request = pb.ConsumeRequest(
            start=self._start, credit=self._grant(self._credit - self._held), drain=drain
        )
        await call.write(request.SerializeToString())
        while True:
            self._wake.clear()
            while self._unsent or self._credit_due or drain != self._draining:
                request = pb.ConsumeRequest(credit=self._grant(self._credit_due))
                self._credit_due = 0
                if drain != self._draining:
                    request.drain = drain = True
                for _ in range(min(len(self._unsent), _ITEMS_PER_MESSAGE_MAX)):
                    _put(request, self._unsent.popleft())
                await call.write(request.SerializeToString())
            if self._closing and not self._waiting:
                await call.done_writing()
                return
            await self._wake.wait()

    def _check_buffer(self) -> None:
        """After a break, leases of what waits to be iterated may have ended: ask by extending them."""
        buffered, self._buffer = list(self._buffer), deque()
        for delivery in buffered:
            check = asyncio.create_task(self._check(delivery))
            self._checks.add(check)
            check.add_done_callback(self._checked)

    async def _check(self, delivery: Delivery) -> None:
        outcome = await delivery.extend(timedelta(seconds=delivery.lease_s))
        if outcome is not Outcome.DONE:
            self._drop(delivery)
        else:
            self._buffer.append(delivery)
            self._arrived.set()

    def _checked(self, check: asyncio.Task[None]) -> None:
        self._checks.discard(check)
        self._arrived.set()

    def _take_in(self, response: pb.ConsumeResponse) -> None:
        self._reached = True
        if response.HasField("started"):
            self.name = self._start.consumer = response.started.consumer
            self._started.set()
        for settlement in response.settled:
            self._settled(settlement)
        if response.deliveries:
            now_s = asyncio.get_running_loop().time()
            self._granted -= len(response.deliveries)
            if self._left is not None:
                self._left -= len(response.deliveries)
            for delivered in response.deliveries:
                task = Task.from_message(delivered.task)
                self._held += 1
                self._buffer.append(Delivery(self, task, delivered.lease_token, _lease_s(task), now_s))
            self._arrived.set()

    def _settled(self, settlement: pb.Settlement) -> None:
        waiting = self._waiting.get(settlement.lease_token)
        if not waiting or not waiting[0].sent:
            return
        if settlement.status == 0 and settlement.HasField("lease_until") != (waiting[0].kind is _Kind.EXTEND):
            # Late, for something that was answered as unknown before.
            return
        saying = waiting.popleft()
        if settlement.status == 0:
            outcome = Outcome.DONE
        elif settlement.status == _FAILED_PRECONDITION:
            unsure = saying.doubtful and saying.kind is not _Kind.EXTEND
            outcome = Outcome.UNKNOWN if unsure else Outcome.STALE
        else:
            if not saying.answer.done():
                saying.answer.set_exception(error_of(settlement.status, settlement.message))
            outcome = Outcome.UNKNOWN
        _answer(saying, outcome)
        self._next(settlement.lease_token, waiting)

    def _next(self, token: int, waiting: deque[_Saying]) -> None:
        """What waited behind an answer goes next."""
        if waiting:
            self._send(waiting[0])
            return
        del self._waiting[token]
        if self._closing and not self._waiting:
            self._wake.set()

    async def _watch(self) -> None:
        """Nobody waits longer than the timeout for an answer; a leader that is silent may have gone."""
        loop = asyncio.get_running_loop()
        looked_s = loop.time()
        while True:
            await asyncio.sleep(_LOOK_S)
            now_s = loop.time()
            for token, waiting in list(self._waiting.items()):
                answered = len(waiting)
                while waiting and waiting[0].until <= now_s:
                    _answer(waiting.popleft(), Outcome.UNKNOWN)
                if len(waiting) < answered:
                    self._next(token, waiting)
            silent = not self._reached or any(
                waiting[0].until - self._timeout_s < now_s - _SUSPECT_S for waiting in self._waiting.values()
            )
            if not silent:
                looked_s = now_s
            elif now_s - looked_s > _SUSPECT_S:
                await self._leave_a_former_leader()
                looked_s = loop.time()

    async def _leave_a_former_leader(self) -> None:
        """End the stream when its peer leads no more, and cannot say so."""
        stream = self._stream
        leader = await self._connection.look_again()
        if stream is not None and stream is self._stream and leader != stream[0]:
            stream[1].cancel()

    def _ended(self, running: asyncio.Task[None]) -> None:
        """No stream any more: refused, closed, or a defect."""
        error = None if running.cancelled() else running.exception()
        if error is not None:
            self._failure = (
                error if isinstance(error, Z4Error) else Z4Error(f"{type(error).__name__}: {error}")
            )
        self._started.set()
        self._arrived.set()
        for waiting in self._waiting.values():
            for saying in waiting:
                _answer(saying, Outcome.UNKNOWN)
        self._waiting.clear()


def _answer(saying: _Saying, outcome: Outcome) -> None:
    if not saying.answer.done():
        saying.answer.set_result(outcome)


def _put(request: pb.ConsumeRequest, saying: _Saying) -> None:
    saying.sent = True
    if saying.kind is _Kind.ACK:
        request.acks.add(lease_token=saying.token)
    elif saying.kind is _Kind.EXTEND:
        request.extensions.add(lease_token=saying.token, lease_ms=saying.lease_ms)
    elif saying.nack is not None:
        request.nacks.append(saying.nack)


def _lease_s(task: Task) -> float:
    """The lease's length: both ends are the leader's stamps, so that no other clock matters."""
    if task.lease_until is None or task.last_attempt_at is None:
        return math.inf
    return (task.lease_until - task.last_attempt_at).total_seconds()
