"""One Queue.Consume stream on the leader: credit and settlements in, deliveries and outcomes out."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from grpc import StatusCode

from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.delivered import deliveries_bytes, done_bytes
from z4sql.api.ending import Ending
from z4sql.api.messages import set_instant
from z4sql.api.methods import Context
from z4sql.api.parsing import parse
from z4sql.api.passing import moved
from z4sql.api.status import invalid
from z4sql.delivery.consumer import Consumer, Held
from z4sql.delivery.dispatcher import Dispatcher, NotLeading
from z4sql.delivery.model import LEASE_MS_MAX, LEASE_MS_MIN, NAMESPACES_MAX, Settled
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.life import SettleKind, SettleOutcome
from z4sql.tasks.model import checked_namespace
from z4sql.tasks.record import LEASE_OWNER_BYTES_MAX

DELIVERIES_PER_MESSAGE_MAX: Final = 128
OUTCOMES_PER_MESSAGE_MAX: Final = 500
MESSAGE_BYTES: Final = 1 << 20
"""A message ends behind the task that reaches it."""
SETTLEMENTS_PER_MESSAGE_MAX: Final = 10_000
UNANSWERED_MAX: Final = 20_000
"""Settlements that may be under way or unread; then the consumer is not read from."""
_DELAY_MS_MAX: Final = 366 * 86_400_000
_STALE: Final = "the lease had ended before"


class ConsumeStream:
    """``own_address``: where clients reach this leader. ``on_sent`` is told namespace and count."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        own_address: str,
        context: Context,
        on_sent: Callable[[str, int], None],
    ) -> None:
        self._on_sent = on_sent
        self._dispatcher = dispatcher
        self._own_address = own_address
        self._context = context
        self._ending = Ending()
        self._room = asyncio.Event()
        self._room.set()
        self._settled: deque[bytes] = deque()
        """Outcomes, each as a field of a ConsumeResponse."""
        self._unanswered = 0

    async def run(self) -> None:
        """Until the consumer or the leadership ends. :raises CallError:"""
        data = await self._context.read()
        if not isinstance(data, bytes):
            return
        request = parse(pb.ConsumeRequest, data)
        consumer = self._start(request)
        try:
            started = pb.ConsumeStarted(consumer=consumer.name, leader_service_address=self._own_address)
            await self._context.write(pb.ConsumeResponse(started=started).SerializeToString())
            self._take_in(consumer, request)
            self._ending.ends_with(asyncio.create_task(self._read(consumer)))
            await self._write(consumer)
        finally:
            self._ending.cancel()
            consumer.leave()

    def _start(self, request: pb.ConsumeRequest) -> Consumer:
        if not request.HasField("start"):
            raise invalid("start", "the first message must carry it")
        start = request.start
        name = start.consumer or f"consumer-{uuid.uuid4().hex[:12]}"
        if len(name.encode()) > LEASE_OWNER_BYTES_MAX:
            raise invalid("start.consumer", f"has more than {LEASE_OWNER_BYTES_MAX} bytes")
        if start.lease_ms and not LEASE_MS_MIN <= start.lease_ms <= LEASE_MS_MAX:
            raise invalid("start.lease_ms", f"must lie between {LEASE_MS_MIN} and {LEASE_MS_MAX}, or be 0")
        if not 1 <= len(start.namespaces) <= NAMESPACES_MAX:
            raise invalid("start.namespaces", f"must name 1 to {NAMESPACES_MAX} namespaces")
        for namespace in start.namespaces:
            try:
                checked_namespace(namespace)
            except InvalidTask as problem:
                raise invalid("start.namespaces", problem.problem) from None
        try:
            return self._dispatcher.register(
                start.namespaces,
                name,
                lease_ms=start.lease_ms,
                on_ready=self._ending.wake.set,
                on_lost=_ignored,
                on_closed=self._ending.closed,
            )
        except NotLeading:
            raise moved() from None

    async def _read(self, consumer: Consumer) -> None:
        """Take in what the consumer says, until it says no more."""
        while isinstance(data := await self._context.read(), bytes):
            request = parse(pb.ConsumeRequest, data)
            if request.HasField("start"):
                raise invalid("start", "only the first message may carry it")
            self._take_in(consumer, request)
            await self._room.wait()

    def _take_in(self, consumer: Consumer, request: pb.ConsumeRequest) -> None:
        if consumer.closed:
            return
        if len(request.acks) + len(request.nacks) + len(request.extensions) > SETTLEMENTS_PER_MESSAGE_MAX:
            raise invalid(
                "acks", f"a message settles at most {SETTLEMENTS_PER_MESSAGE_MAX} leases; send several"
            )
        if request.acks:
            self._asked(len(request.acks))
            consumer.acknowledge([ack.lease_token for ack in request.acks], self._on_acknowledged)
        for nack in request.nacks:
            self._nack(consumer, nack)
        for extension in request.extensions:
            lease_ms = extension.lease_ms
            if lease_ms and not LEASE_MS_MIN <= lease_ms <= LEASE_MS_MAX:
                self._refuse(
                    extension.lease_token, f"lease_ms: must lie between {LEASE_MS_MIN} and {LEASE_MS_MAX}"
                )
            else:
                self._settle(consumer, extension.lease_token, SettleKind.EXTEND, lease_ms=lease_ms)
        if request.drain:
            consumer.draining = True
        if request.credit:
            consumer.add_credit(request.credit)

    def _nack(self, consumer: Consumer, nack: pb.Nack) -> None:
        if nack.dead and nack.release:
            self._refuse(nack.lease_token, "release: a task cannot be dead and given back; send one of them")
            return
        kind = SettleKind.DEAD if nack.dead else SettleKind.RELEASE if nack.release else SettleKind.NACK
        delay_ms = nack.delay_ms if nack.HasField("delay_ms") else None
        if delay_ms is not None and delay_ms > _DELAY_MS_MAX:
            self._refuse(nack.lease_token, f"delay_ms: must not exceed {_DELAY_MS_MAX}")
            return
        self._settle(consumer, nack.lease_token, kind, delay_ms=delay_ms, error=nack.error)

    def _settle(
        self,
        consumer: Consumer,
        token: int,
        kind: SettleKind,
        *,
        delay_ms: int | None = None,
        lease_ms: int = 0,
        error: str = "",
    ) -> None:
        self._asked(1)
        consumer.settle(token, kind, self._on_settled, delay_ms=delay_ms, lease_ms=lease_ms, error=error)

    def _asked(self, count: int) -> None:
        self._unanswered += count
        if self._unanswered >= UNANSWERED_MAX:
            self._room.clear()

    def _on_acknowledged(self, token: int, outcome: SettleOutcome) -> None:
        if outcome is SettleOutcome.DONE:
            self._settled.append(done_bytes(token))
            self._ending.wake.set()
        else:
            self._on_settled(Settled(token, outcome))

    def _on_settled(self, settled: Settled) -> None:
        message = pb.Settlement(lease_token=settled.token)
        if settled.outcome is SettleOutcome.STALE:
            message.status, message.message = StatusCode.FAILED_PRECONDITION.value[0], _STALE
        if settled.lease_until_us is not None:
            set_instant(message.lease_until, settled.lease_until_us)
        self._answer(message)

    def _refuse(self, token: int, problem: str) -> None:
        self._unanswered += 1
        self._answer(
            pb.Settlement(lease_token=token, status=StatusCode.INVALID_ARGUMENT.value[0], message=problem)
        )

    def _answer(self, message: pb.Settlement) -> None:
        self._settled.append(pb.ConsumeResponse(settled=[message]).SerializeToString())
        self._ending.wake.set()

    async def _write(self, consumer: Consumer) -> None:
        """Send deliveries and outcomes as there are any; returns when the consumer has said its last word."""
        while True:
            self._ending.wake.clear()
            while consumer.has_ready or self._settled:
                async with self._dispatcher.pace:
                    deliveries = consumer.take(DELIVERIES_PER_MESSAGE_MAX, MESSAGE_BYTES)
                    answers = min(len(self._settled), OUTCOMES_PER_MESSAGE_MAX)
                    parts = deliveries_bytes(deliveries)
                    parts += [self._settled.popleft() for _ in range(answers)]
                    data = b"".join(parts)
                if data:
                    await self._context.write(data)
                for namespace, count in Counter([one.namespace for one in deliveries]).items():
                    self._on_sent(namespace, count)
                self._unanswered -= answers
                if self._unanswered < UNANSWERED_MAX:
                    self._room.set()
            if self._ending.has_come() and not self._unanswered:
                return
            await self._ending.wake.wait()


def _ignored(_: Held) -> None:
    """The consumer is told when it settles; until then the task counts against its credit."""
