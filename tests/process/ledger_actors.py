"""Producers and consumers that do what they like, and write down what they did and were told."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from tests.process.ledger import Canceled, Created, Delivered, History, Left, Outcome, Said, Word, now_us
from z4sql.client import AsyncClient, Delivery, NotFound, PreconditionFailed, Z4Error
from z4sql.client import Outcome as Told

LEASE = timedelta(seconds=1.5)
_CLIENT_TIMEOUT_S = 3.0
_TRIES_MAX = 8
_OUTCOMES = {Told.DONE: Outcome.OK, Told.STALE: Outcome.FAIL, Told.UNKNOWN: Outcome.UNKNOWN}


class Actors:
    """All of one run; ``seed`` decides what they do, the cluster what comes of it."""

    def __init__(self, addresses: Sequence[str], namespace: str, attempts_max: int, seed: int) -> None:
        self.namespace = namespace
        self.history = History(attempts_max)
        self.producing = True
        self.consuming = True
        self.finishing = True
        """Steady consumers stay so long."""
        self._addresses = list(addresses)
        self._seed = seed
        self._later: list[str] = []
        """Tasks that a canceler may find before their time."""

    def generator(self, name: str) -> random.Random:
        """Chances of one actor."""
        return random.Random(f"{self._seed} {name}")

    @contextlib.asynccontextmanager
    async def client(self, generator: random.Random) -> AsyncIterator[AsyncClient]:
        """A client of its own, which asks the peers in an order of its own."""
        addresses = generator.sample(self._addresses, len(self._addresses))
        async with AsyncClient(addresses, timeout_s=_CLIENT_TIMEOUT_S) as client:
            yield client

    async def produce(self, name: str) -> None:
        """Create tasks until told to stop; each until it is acknowledged, some by two callers at once."""
        generator = self.generator(name)
        number = 0
        async with self.client(generator) as client, self.client(generator) as other:
            while self.producing:
                number += 1
                asked = self._wish(generator, f"{name}-{number}")
                tries = [self._create_until_known(client, asked)]
                if generator.random() < 0.15:
                    tries.append(self._create_until_known(other, asked))
                await asyncio.gather(*tries)
                await asyncio.sleep(generator.random() * 0.06)

    def _wish(self, generator: random.Random, request_id: str) -> Created:
        now = now_us()
        wish = Created(request_id, f"payload of {request_id}", None, 0, None, now)
        match generator.randrange(10):
            case 0 | 1:
                pass
            case 2:
                wish.deliver_at_us = now - generator.randrange(90_000_000)
            case 3:
                wish.tts_s = 1
            case 4:
                wish.deliver_at_us = now + generator.randrange(1_500_000)
                wish.expire_at_us = wish.deliver_at_us + generator.randrange(1, 1_500_000)
            case _:
                wish.deliver_at_us = now + generator.randrange(2_500_000)
        return wish

    async def _create_until_known(self, client: AsyncClient, wish: Created) -> None:
        for _ in range(_TRIES_MAX):
            attempt = Created(
                wish.request_id,
                wish.payload,
                wish.deliver_at_us,
                wish.tts_s,
                wish.expire_at_us,
                invoked_us=now_us(),
            )
            self.history.creates.append(attempt)
            try:
                attempt.task_id = await client.create(
                    self.namespace,
                    deliver_at=_instant(wish.deliver_at_us),
                    delay=timedelta(seconds=wish.tts_s) if wish.tts_s else None,
                    expire_at=_instant(wish.expire_at_us),
                    payload=wish.payload.encode(),
                    request_id=wish.request_id,
                )
                attempt.outcome = Outcome.OK
            except Z4Error:
                # Whatever it says, an earlier try below the client may have come through.
                await asyncio.sleep(0.1)
            finally:
                attempt.ended_us = now_us()
            if attempt.outcome is Outcome.OK:
                if (wish.deliver_at_us or 0) > attempt.ended_us:
                    self._later.append(attempt.task_id)
                return

    async def cancel(self, name: str) -> None:
        """Cancel some of what is not due yet, now and then too late."""
        generator = self.generator(name)
        async with self.client(generator) as client:
            while self.producing:
                await asyncio.sleep(0.15 + generator.random() * 0.3)
                if not self._later:
                    continue
                canceled = Canceled(self._later.pop(generator.randrange(len(self._later))), now_us())
                self.history.cancels.append(canceled)
                try:
                    await client.cancel(self.namespace, canceled.task_id)
                    canceled.outcome = Outcome.OK
                except (PreconditionFailed, NotFound):
                    canceled.outcome = Outcome.FAIL
                except Z4Error:
                    pass
                finally:
                    canceled.ended_us = now_us()

    async def consume(self, name: str, *, steady: bool = False) -> None:
        """Consumers one after the other until told to stop; steady ones stay and acknowledge everything."""
        generator = self.generator(name)
        number = 0
        async with self.client(generator) as client:
            while self._wanted(steady):
                number += 1
                with contextlib.suppress(Z4Error):
                    await self._session(client, f"{name}-{number}", generator, steady=steady)
                await asyncio.sleep(generator.random() * 0.1)

    def _wanted(self, steady: bool) -> bool:
        return self.finishing if steady else self.consuming

    async def _session(
        self, client: AsyncClient, name: str, generator: random.Random, *, steady: bool
    ) -> None:
        """One consumer's time; in the end it leaves without a word about what it still holds."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + (3600 if steady else generator.uniform(0.5, 4))
        handling: set[asyncio.Task[None]] = set()
        credit = 20 if steady else generator.randint(1, 8)
        tasks = client.consume(self.namespace, credit=credit, lease=LEASE, name=name)
        try:
            async with tasks:
                waiting = asyncio.ensure_future(anext(tasks))
                try:
                    while self._wanted(steady) and loop.time() < ends_s:
                        await asyncio.wait([waiting], timeout=0.1)
                        if not waiting.done():
                            continue
                        delivery = waiting.result()
                        self._write_down(name, delivery)
                        handler = self._handle(name, delivery, generator.random() if not steady else 0.0)
                        task = asyncio.create_task(handler)
                        handling.add(task)
                        task.add_done_callback(handling.discard)
                        waiting = asyncio.ensure_future(anext(tasks))
                finally:
                    waiting.cancel()
                    await asyncio.wait([waiting])
                    for task in handling:
                        task.cancel()
                    self.history.leavings.append(Left(name, now_us()))
        finally:
            if handling:
                await asyncio.wait(handling)

    def _write_down(self, name: str, delivery: Delivery) -> None:
        task = delivery.task
        assert task.last_attempt_at is not None and task.lease_until is not None, task
        waited_s = asyncio.get_running_loop().time() - delivery.received_s
        self.history.deliveries.append(
            Delivered(
                consumer=name,
                task_id=task.id,
                request_id=task.request_id,
                payload=task.payload.decode(),
                token=delivery.token,
                attempt=task.attempts,
                received_us=now_us() - int(waited_s * 1e6),
                leased_us=instant_us(task.last_attempt_at),
                lease_until_us=instant_us(task.lease_until),
                task_due_us=instant_us(task.deliver_at),
            )
        )

    async def _handle(self, name: str, delivery: Delivery, chance: float) -> None:
        """What one consumer does with one task."""
        generator = random.Random(chance)
        await asyncio.sleep(generator.random() * 0.05)
        if chance < 0.5:
            await self._say(name, delivery, Word.ACK)
        elif chance < 0.65:
            span = timedelta(milliseconds=generator.randrange(400))
            await self._say(name, delivery, Word.NACK, span)
        elif chance < 0.7:
            await self._say(name, delivery, Word.DEAD)
        elif chance < 0.8:
            for _ in range(3):
                await asyncio.sleep(LEASE.total_seconds() * 0.4)
                await self._say(name, delivery, Word.EXTEND, LEASE)
            await self._say(name, delivery, Word.ACK)
        elif chance < 0.9:
            await asyncio.sleep(LEASE.total_seconds() * generator.uniform(0.9, 1.3))
            await self._say(name, delivery, Word.ACK)

    async def _say(self, name: str, delivery: Delivery, word: Word, span: timedelta = timedelta(0)) -> None:
        span_us = span // timedelta(microseconds=1)
        said = Said(name, delivery.task.id, delivery.token, word, now_us(), span_us)
        self.history.sayings.append(said)
        try:
            match word:
                case Word.ACK:
                    told = await delivery.ack()
                case Word.NACK:
                    told = await delivery.nack("no", delay=span)
                case Word.DEAD:
                    told = await delivery.dead("poison")
                case Word.EXTEND:
                    told = await delivery.extend(span)
            said.outcome = _OUTCOMES[told]
        except Z4Error:
            pass
        finally:
            said.ended_us = now_us()


def instant_us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
