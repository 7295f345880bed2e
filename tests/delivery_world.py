"""Delivery under a virtual clock: the real machine and dispatcher, a log that is slow, refuses and changes
leaders, and consumers that misbehave. Minutes pass in milliseconds, and a seed tells all.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

from raftcore.core.errors import Busy, NotLeader, OutcomeUnknown, RaftError
from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.replica.group import encode_group
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.delivered import task_bytes
from z4sql.api.messages import task_message
from z4sql.delivery.consumer import Consumer, Held
from z4sql.delivery.dispatcher import Dispatcher
from z4sql.delivery.model import Closing, Delivery, Settled
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.encoding import decode
from z4sql.tasks.keys import SUFFIX_BYTES
from z4sql.tasks.life import ChangeKind, LifeCommands, SettleKind, SettleOutcome, TaskChange, id_place
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.settings import SettingsChange

EPOCH_US = 1_700_000_000_000_000
LEASE_MS = 3_000


class _Selector(selectors.SelectSelector):
    """Instead of waiting, the time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will happen"
            # At least a microsecond, so that rounding never makes the time stand still.
            self.now_s += max(timeout, 1e-6) if timeout > 0 else 1e-7
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def run(world: Coroutine[object, object, None]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(world)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class Observed:
    """Counts, and what must never be."""

    def __init__(self) -> None:
        self.settlements: Counter[tuple[str, int]] = Counter()
        self.lateness_s: list[float] = []

    def delivered(self, lateness_s: Sequence[float], again: int) -> None:
        assert min(lateness_s, default=0) >= 0, "early"
        assert 0 <= again <= len(lateness_s)
        self.lateness_s += lateness_s

    def acknowledged(self, took_s: Sequence[float]) -> None:
        assert min(took_s) >= 0

    def settled(self, kind: str, outcome: SettleOutcome, namespace: str, count: int) -> None:
        self.settlements[kind, outcome] += count

    def removed(self, why: str, namespace: str, count: int) -> None:
        assert namespace and count >= 0
        self.settlements[why, 0] += count

    def surveyed(self, namespace: str, counts: Mapping[str, int], oldest_due_age_s: float) -> None:
        assert oldest_due_age_s >= 0 and min(counts.values(), default=0) >= 0


class World:
    """One replicated state, seen by whichever dispatcher leads."""

    def __init__(self, path: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        self.machine = TaskMachine(path)
        self.machine.open()
        self.entries: list[Entry] = []
        self.observed = Observed()
        self.busy_share = 0.0
        self.log_delay_s = (0.0, 0.02)
        """How long a command is on its way through the log, at least and at most."""
        self.clock_offset_us = 0
        self.failures: list[str] = []
        self.holders: dict[str, tuple[object, int]] = {}
        """Who was last sent a task, and until when it is its."""
        self.acked: Counter[str] = Counter()
        self.asked: set[str] = set()
        """Tasks that some consumer acknowledged, whatever came of it."""
        self.hurried: set[str] = set()
        """Tasks that somebody asked to run now."""
        self.sent: Counter[str] = Counter()
        """How often each task was sent to some consumer."""
        self.deposed = False
        self._pending: deque[tuple[bytes, Callable[[bytes | RaftError], None]]] = deque()
        self._scheduled = False
        self.reader = TaskReader(self.machine.store)
        self._elect()

    def _elect(self) -> None:
        self.leads = True
        self.builder = CommandBuilder(self.wall_us, lambda: self.machine.clock_us)
        self.commands = LifeCommands(self.builder.stamp_us)
        self.stamp_us = self.builder.stamp_us
        mine = self.builder
        self.dispatcher = Dispatcher(
            propose=self.propose,
            leads=lambda: self.leads and self.builder is mine,
            store=lambda: self.machine.store,
            clock=self,
            observer=self.observed,
            entries=lambda lo, _size: [self.entries[lo - 1]],
            applied_index=lambda: self.machine.applied_index,
        )
        self.dispatcher.role_changed()

    def wall_us(self) -> int:
        return EPOCH_US + self.clock_offset_us + round(self.loop.time() * 1e6)

    @property
    def waiting(self) -> int:
        """Commands on their way through the log."""
        return len(self._pending)

    def propose(self, command: bytes, done: Callable[[bytes | RaftError], None]) -> None:
        if not self.leads:
            raise NotLeader
        if self.random.random() < self.busy_share:
            raise Busy
        self._pending.append((command, done))
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_later(self.random.uniform(*self.log_delay_s), self._apply)

    def _apply(self) -> None:
        self._scheduled = False
        group = [self._pending.popleft() for _ in range(len(self._pending))]
        if not group:
            return
        entry = Entry(
            Term(1),
            Index(self.machine.applied_index + 1),
            EntryKind.COMMANDS,
            encode_group([command for command, _ in group]),
        )
        self.entries.append(entry)
        (results,) = self.machine.apply([entry])
        for (_, done), result in zip(group, results, strict=True):
            done(result)
        self.dispatcher.applied([entry])

    def depose(self) -> None:
        """Leadership moves: what is on its way is applied all the same, or never was in the log."""
        self.leads = False
        self.deposed = True
        self.dispatcher.role_changed()
        if self.random.random() < 0.5:
            self._apply()
        for _, done in self._pending:
            done(OutcomeUnknown("deposed"))
        self._pending.clear()
        self._elect()

    async def carry_out(self, command: bytes) -> bytes | RaftError:
        """Propose until accepted; the result."""
        applied: asyncio.Future[bytes | RaftError] = self.loop.create_future()
        while True:
            try:
                self.propose(command, applied.set_result)
                return await applied
            except Busy:
                await asyncio.sleep(0.01)

    async def create(self, tasks: list[NewTask]) -> list[str]:
        command = self.builder.create_tasks(tasks)
        assert command.data is not None and not command.invalid, command.invalid
        result = await self.carry_out(command.data)
        return command.outcome(result).ids if isinstance(result, bytes) else []

    async def change(self, namespace: str, task_id: str, kind: ChangeKind, deliver_at_us: int = 0) -> None:
        if kind is not ChangeKind.RESCHEDULE:
            self.hurried.add(task_id)
        change = TaskChange(id_place(namespace, task_id), kind, "", deliver_at_us)
        await self.carry_out(self.commands.change_task(change))

    async def configure(self, namespace: str, change: SettingsChange) -> None:
        await self.carry_out(self.builder.set_namespace(namespace, change))


class Worker:
    """Consumes as the world's seed says; connects again when leadership moves."""

    def __init__(
        self, world: World, namespaces: list[str], *, credit: int, reliable: bool, slow_s: float = 0.0
    ) -> None:
        self.world = world
        self._namespaces = namespaces
        self._credit = credit
        self._reliable = reliable
        self._slow_s = slow_s
        self._awaiting: dict[int, Delivery] = {}
        self._wake = asyncio.Event()
        self._consumer: Consumer | None = None
        self._gone = False
        self._connect()
        self._running = asyncio.create_task(self._run())

    async def leave(self) -> None:
        """Break off: what it holds must go back."""
        self._running.cancel()
        self._drop()

    def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            for task_id, (holder, _) in list(self.world.holders.items()):
                if holder is consumer:
                    del self.world.holders[task_id]
            consumer.leave()

    def _connect(self) -> None:
        self._consumer = self.world.dispatcher.register(
            self._namespaces,
            "worker",
            lease_ms=LEASE_MS,
            credit=self._credit,
            on_ready=self._wake.set,
            on_lost=self._lost,
            on_closed=self._closed,
        )

    def _closed(self, _: Closing) -> None:
        self._consumer = None
        self._gone = True
        self._wake.set()

    def _lost(self, held: Held) -> None:
        self._done()

    def _done(self) -> None:
        if self._consumer is not None:
            self._consumer.add_credit(1)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._gone:
                self._gone = False
                # Leases of the former leadership are settled with the new one, or run out.
                await asyncio.sleep(0.01)
                self._connect()
            while self._consumer is not None and self._consumer.has_ready:
                for delivery in self._consumer.take(4, 1 << 20):
                    self._received(self._consumer, delivery)
                if self._slow_s:
                    await asyncio.sleep(self._slow_s)

    def _received(self, consumer: Consumer, delivery: Delivery) -> None:
        world = self.world
        suffix = delivery.place[-SUFFIX_BYTES:]
        task = decode(delivery.namespace, suffix, delivery.record, delivery.payload)
        assert task.id == delivery.task_id
        assert pb.Task.FromString(task_bytes(delivery)) == task_message(task, with_events=False)
        now_us = world.stamp_us()
        if task.deliver_at_us > now_us and task.id not in world.hurried:
            world.failures.append(f"{task.id} came {task.deliver_at_us - now_us} us early")
        if task.expire_at_us is not None and task.last_attempt_at_us >= task.expire_at_us:  # type: ignore[operator]
            world.failures.append(f"{task.id} came after it had expired")
        holder = world.holders.get(task.id)
        if holder is not None and holder[1] > now_us:
            world.failures.append(f"{task.id} has two consumers at once")
        if world.acked[task.id]:
            world.failures.append(f"{task.id} came again after it was done")
        world.sent[task.id] += 1
        if task.id not in world.hurried and not world.deposed and task.attempts != world.sent[task.id]:
            # An earlier leader may have sent what this one cannot know of; a redrive begins from 0.
            world.failures.append(f"{task.id} came {world.sent[task.id]} times, at attempt {task.attempts}")
        assert task.lease_until_us is not None
        world.holders[task.id] = (consumer, task.lease_until_us)
        chance = 1.0 if self._reliable else world.random.random()
        if chance > 0.4:
            world.loop.call_later(world.random.uniform(0, 0.2), self._settle, delivery, SettleKind.ACK, None)
        elif chance > 0.2:
            delay_ms = world.random.choice([0, 5, 500, None])
            world.loop.call_later(
                world.random.uniform(0, 0.2), self._settle, delivery, SettleKind.NACK, delay_ms
            )
        elif chance > 0.1:
            self._settle(delivery, SettleKind.EXTEND, None)

    def _settle(self, delivery: Delivery, kind: SettleKind, delay_ms: int | None) -> None:
        consumer = self._consumer
        if consumer is None or consumer.closed:
            return
        world, task_id = self.world, delivery.task_id

        def done(settled: Settled) -> None:
            if kind is SettleKind.EXTEND:
                if settled.lease_until_us is not None and not consumer.closed:
                    world.holders[task_id] = (consumer, settled.lease_until_us)
                return
            if settled.outcome is SettleOutcome.DONE:
                world.holders.pop(task_id, None)
                if kind is SettleKind.ACK:
                    world.acked[task_id] += 1
            self._done()

        if kind is SettleKind.ACK:
            world.asked.add(task_id)
        # From here on the task may go elsewhere at any time.
        if kind is not SettleKind.EXTEND:
            world.holders.pop(task_id, None)
        if kind is SettleKind.ACK and world.random.random() < 0.8:
            consumer.acknowledge([delivery.token], lambda token, outcome: done(Settled(token, outcome)))
        else:
            consumer.settle(delivery.token, kind, done, delay_ms=delay_ms, error="refused", lease_ms=0)
