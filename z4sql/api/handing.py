"""Streams of bare tasks, as the first generations had them: the credit is ours, acknowledgements name tasks.

Two forms. Without acknowledgements a task is done once it was sent: it is leased, written, then acknowledged
here; what is on its way to a client that breaks off can be lost. With acknowledgements it is done when they
come, and comes again when its lease ends before.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from z4sql.api.consuming import DELIVERIES_PER_MESSAGE_MAX, MESSAGE_BYTES
from z4sql.api.delivered import task_bytes
from z4sql.api.ending import Ending
from z4sql.api.methods import Context
from z4sql.api.passing import moved
from z4sql.api.status import invalid
from z4sql.delivery.consumer import Consumer, Held
from z4sql.delivery.dispatcher import Dispatcher, NotLeading
from z4sql.delivery.model import Delivery, Settled
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.life import SettleKind
from z4sql.tasks.model import checked_namespace

WINDOW: Final = 256
"""Tasks that a client may have open at once."""

NextAck = Callable[[], Awaitable[tuple[str, str] | None]]
"""Waits for a client's next acknowledgement: namespace and task id; None when no more will come."""

_log = structlog.get_logger()


class HandingStream:
    """``on_sent`` is told how many tasks were sent."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        namespace: str,
        context: Context,
        *,
        next_ack: NextAck | None,
        on_sent: Callable[[int], None],
    ) -> None:
        """``next_ack`` None: a task is done once it was sent."""
        self._dispatcher = dispatcher
        self._namespace = namespace
        self._context = context
        self._next_ack = next_ack
        self._on_sent = on_sent
        self._ending = Ending()
        self._open: dict[str, int] = {}
        """Tokens of what waits for its acknowledgement, by task id."""

    async def run(self) -> None:
        """Until the client or the leadership ends. :raises CallError:"""
        try:
            checked_namespace(self._namespace)
        except InvalidTask as problem:
            raise invalid(problem.field, problem.problem) from None
        try:
            consumer = self._dispatcher.register(
                (self._namespace,),
                f"stream-{uuid.uuid4().hex[:12]}",
                credit=WINDOW,
                on_ready=self._ending.wake.set,
                on_lost=self._on_lost,
                on_closed=self._ending.closed,
            )
        except NotLeading:
            raise moved() from None
        self._consumer = consumer
        try:
            if self._next_ack is not None:
                self._ending.ends_with(asyncio.create_task(self._read(consumer, self._next_ack)))
            await self._write(consumer)
        finally:
            self._ending.cancel()
            consumer.leave()

    async def _write(self, consumer: Consumer) -> None:
        while True:
            self._ending.wake.clear()
            while consumer.has_ready:
                async with self._dispatcher.pace:
                    deliveries = consumer.take(DELIVERIES_PER_MESSAGE_MAX, MESSAGE_BYTES)
                for delivery in deliveries:
                    await self._send(consumer, delivery)
                self._on_sent(len(deliveries))
            if self._ending.has_come():
                return
            await self._ending.wake.wait()

    async def _send(self, consumer: Consumer, delivery: Delivery) -> None:
        if self._next_ack is not None:
            self._open[delivery.task_id] = delivery.token
        await self._context.write(task_bytes(delivery))
        if self._next_ack is None and not consumer.closed:
            consumer.settle(delivery.token, SettleKind.ACK, self._on_settled)

    async def _read(self, consumer: Consumer, next_ack: NextAck) -> None:
        while (ack := await next_ack()) is not None:
            namespace, task_id = ack
            token = self._open.pop(task_id, None) if namespace == self._namespace else None
            if token is None:
                _log.debug("unknown_task_acknowledged", namespace=namespace, task=task_id)
            elif not consumer.closed:
                consumer.settle(token, SettleKind.ACK, self._on_settled)

    def _on_settled(self, _: Settled) -> None:
        self._consumer.add_credit(1)

    def _on_lost(self, held: Held) -> None:
        """The lease ended: the task comes again, here or to another."""
        if self._open.get(held.task_id) == held.token:
            del self._open[held.task_id]
        self._consumer.add_credit(1)
