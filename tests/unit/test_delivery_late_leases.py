"""Leases that are over before anybody could have had them, and those of an earlier leader, given back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.delivery_world import World, run
from z4sql.delivery.consumer import Consumer, Held
from z4sql.delivery.model import Delivery, Settled
from z4sql.tasks.audit import audit
from z4sql.tasks.due import DueReader
from z4sql.tasks.encoding import attempts_and_lease_of
from z4sql.tasks.events import EventKind
from z4sql.tasks.life import SettleKind, Settlement, SettleOutcome, lease_outcome, settle_outcome
from z4sql.tasks.model import NewTask, Task
from z4sql.tasks.record import State
from z4sql.tasks.settings import SettingsChange

LEASE_MS = 200
LEASE_S = LEASE_MS / 1000
FAST = (0.0, 0.02)
SLOW = (2 * LEASE_S, 3 * LEASE_S)
LONG_MS = 3_600_000


class Hand:
    """A consumer that does nothing by itself."""

    def __init__(
        self, world: World, *, credit: int = 1, lease_ms: int = LEASE_MS, namespace: str = "n"
    ) -> None:
        self._world = world
        self.lost: list[int] = []
        self._ready = asyncio.Event()
        self.consumer: Consumer = world.dispatcher.register(
            [namespace],
            "hand",
            lease_ms=lease_ms,
            credit=credit,
            on_ready=self._ready.set,
            on_lost=self._lost,
            on_closed=lambda _: None,
        )

    def _lost(self, held: Held) -> None:
        self.lost.append(held.token)

    async def next(self, timeout_s: float = 2.0) -> Delivery:
        """The next delivery."""
        async with asyncio.timeout(timeout_s):
            while True:
                self._ready.clear()
                for delivery in self.consumer.take(1, 1 << 20):
                    return delivery
                await self._ready.wait()

    async def settle(self, token: int, kind: SettleKind) -> SettleOutcome:
        settled: asyncio.Future[Settled] = self._world.loop.create_future()
        self.consumer.settle(token, kind, settled.set_result)
        return (await settled).outcome


Scene = Callable[[World], Awaitable[None]]


def play(tmp_path: Path, scene: Scene) -> None:
    async def whole() -> None:
        world = World(tmp_path / "state", 1)
        await scene(world)
        assert not audit(world.machine.store)

    run(whole())


async def one_task(world: World, *, attempts_max: int = 20, deliver_at_us: int | None = None) -> str:
    await world.configure("n", SettingsChange(attempts_max=attempts_max))
    (task_id,) = await world.create([NewTask("n", payload=b"x", deliver_at_us=deliver_at_us)])
    return task_id


def stored(world: World, task_id: str) -> Task:
    task = world.reader.get("n", task_id)
    assert task is not None
    return task


def attempt(delivery: Delivery) -> int:
    return attempts_and_lease_of(delivery.record)[0]


def kinds(task: Task) -> list[EventKind]:
    return [event.kind for event in task.events]


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_lease_applied_after_its_own_end_is_not_delivered_and_is_no_attempt(tmp_path: Path) -> None:
    """The log was slow: what it gave was over. The only attempt that the task has is still to come."""

    async def scene(world: World) -> None:
        task_id = await one_task(world, attempts_max=1)
        world.log_delay_s = SLOW
        hand = Hand(world)
        await until(lambda: stored(world, task_id).lease_token != 0)
        late = stored(world, task_id)
        assert late.lease_until_us is not None and late.lease_until_us < world.wall_us()
        world.log_delay_s = FAST
        delivery = await hand.next()
        now = stored(world, task_id)
        assert delivery.token == now.lease_token != late.lease_token
        assert attempt(delivery) == now.attempts == 1
        assert kinds(now) == [EventKind.CREATED, EventKind.LEASED, EventKind.RELEASED, EventKind.LEASED]
        assert now.lease_until_us is not None and now.lease_until_us > world.wall_us()
        # What nobody has had cannot be settled; what was delivered can.
        assert await hand.settle(late.lease_token, SettleKind.ACK) is SettleOutcome.STALE
        assert await hand.settle(delivery.token, SettleKind.ACK) is SettleOutcome.DONE
        assert stored(world, task_id).state is State.DONE
        assert hand.lost == []

    play(tmp_path, scene)


def test_however_slow_the_log_a_task_does_not_die_of_attempts_that_nobody_made(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        task_id = await one_task(world, attempts_max=3)
        world.log_delay_s = SLOW
        hand = Hand(world, credit=5)
        await asyncio.sleep(60)
        waiting = stored(world, task_id)
        assert waiting.state in (State.SCHEDULED, State.LEASED) and waiting.attempts <= 1
        world.log_delay_s = FAST
        assert attempt(await hand.next()) == 1

    play(tmp_path, scene)


def test_credit_comes_back_for_leases_that_were_over_when_they_were_applied(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await one_task(world)
        world.log_delay_s = SLOW
        hand = Hand(world, credit=3)
        await until(lambda: hand.consumer.has_ready)
        await world.create([NewTask("n"), NewTask("n")])
        world.log_delay_s = FAST
        got = [await hand.next() for _ in range(3)]
        assert len({one.task_id for one in got}) == 3
        assert [attempt(one) for one in got] == [1, 1, 1]
        assert hand.consumer.credit == 0 and len(hand.consumer.held) == 3

    play(tmp_path, scene)


def test_a_lease_that_ends_before_its_consumer_takes_it_is_no_attempt(tmp_path: Path) -> None:
    """The consumer does not read: another gets the task when the lease is over, as its first attempt."""

    async def scene(world: World) -> None:
        task_id = await one_task(world, attempts_max=1)
        stuck = Hand(world)
        await until(lambda: stuck.consumer.has_ready)
        other = Hand(world)
        delivery = await other.next(timeout_s=LEASE_S + 1)
        assert attempt(delivery) == 1
        assert stuck.consumer.take(10, 1 << 20) == [] and stuck.consumer.credit == 1
        assert await other.settle(delivery.token, SettleKind.ACK) is SettleOutcome.DONE
        assert stored(world, task_id).state is State.DONE

    play(tmp_path, scene)


@pytest.mark.parametrize("late", [False, True], ids=["in_time", "applied_after_its_end"])
def test_what_was_sent_and_not_answered_counts(tmp_path: Path, late: bool) -> None:
    """Only what nobody was sent is no attempt, whether or not the end of the lease is told late."""

    async def scene(world: World) -> None:
        task_id = await one_task(world, attempts_max=2)
        hand = Hand(world, credit=2)
        first = await hand.next()
        if late:
            world.log_delay_s = SLOW
            await asyncio.sleep(3 * LEASE_S)
            world.log_delay_s = FAST
        second = await hand.next(timeout_s=10)
        assert (attempt(first), attempt(second)) == (1, 2)
        assert hand.lost == [first.token]
        await until(lambda: stored(world, task_id).state is State.DEAD)

    play(tmp_path, scene)


@pytest.mark.parametrize("deliver_at_us", [None, 0], ids=["now", "1970"])
def test_a_recalled_lease_is_given_back_and_goes_out_at_once(
    tmp_path: Path, deliver_at_us: int | None
) -> None:
    """Its consumer was sent it by an earlier leader, and gives it back to the next one."""

    async def scene(world: World) -> None:
        task_id = await one_task(world, deliver_at_us=deliver_at_us)
        former = await Hand(world, lease_ms=LONG_MS).next()
        before = stored(world, task_id)
        await until(lambda: not world.waiting)
        world.depose()
        hand = Hand(world, lease_ms=LONG_MS)
        # Everything that is due was looked at: the cursor stands behind it.
        await asyncio.sleep(1)
        assert not hand.consumer.has_ready
        assert await hand.settle(former.token, SettleKind.RELEASE) is SettleOutcome.DONE
        again = await hand.next(timeout_s=1)
        assert again.task_id == former.task_id == task_id and again.token != former.token
        assert attempt(again) == attempt(former) == 1
        assert stored(world, task_id).next_attempt_at_us == before.next_attempt_at_us
        for kind in (SettleKind.RELEASE, SettleKind.ACK, SettleKind.EXTEND):
            assert await hand.settle(former.token, kind) is SettleOutcome.STALE
        assert await hand.settle(again.token, SettleKind.ACK) is SettleOutcome.DONE

    play(tmp_path, scene)


@pytest.mark.parametrize("kind", [SettleKind.NACK, SettleKind.DEAD, SettleKind.EXTEND])
def test_a_recalled_lease_is_refused_or_extended_as_any_other(tmp_path: Path, kind: SettleKind) -> None:
    async def scene(world: World) -> None:
        task_id = await one_task(world)
        former = await Hand(world).next()
        await until(lambda: not world.waiting)
        world.depose()
        hand = Hand(world)
        assert await hand.settle(former.token, kind) is SettleOutcome.DONE
        if kind is SettleKind.DEAD:
            assert stored(world, task_id).state is State.DEAD
            return
        # Refused once, or left alone after an extension by its first length.
        extended = kind is SettleKind.EXTEND
        begun_us = world.wall_us()
        assert attempt(await hand.next()) == 2
        if extended:
            assert world.wall_us() - begun_us >= 0.8 * LEASE_MS * 1000
        assert stored(world, task_id).lease_token != former.token

    play(tmp_path, scene)


@pytest.mark.parametrize("deposed", [False, True], ids=["same_leader", "next_leader"])
def test_an_acknowledgement_can_be_repeated_and_nothing_else(tmp_path: Path, deposed: bool) -> None:
    async def scene(world: World) -> None:
        task_id = await one_task(world)
        hand = Hand(world)
        delivery = await hand.next()
        assert await hand.settle(delivery.token, SettleKind.ACK) is SettleOutcome.DONE
        if deposed:
            await until(lambda: not world.waiting)
            world.depose()
            hand = Hand(world)
        before = stored(world, task_id)
        for _ in range(2):
            assert await hand.settle(delivery.token, SettleKind.ACK) is SettleOutcome.REPEATED
        for kind in (SettleKind.NACK, SettleKind.DEAD, SettleKind.EXTEND, SettleKind.RELEASE):
            assert await hand.settle(delivery.token, kind) is SettleOutcome.STALE
        stranger = Hand(world, namespace="other")
        assert await stranger.settle(delivery.token, SettleKind.ACK) is SettleOutcome.STALE
        assert stored(world, task_id) == before

    play(tmp_path, scene)


def test_what_was_leased_and_is_done_before_it_is_sent_is_not_sent(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        task_id = await one_task(world)
        hand = Hand(world, lease_ms=LONG_MS)
        await until(lambda: hand.consumer.has_ready)
        guesser = Hand(world, credit=0)
        token = stored(world, task_id).lease_token
        assert await guesser.settle(token, SettleKind.ACK) is SettleOutcome.DONE
        assert hand.consumer.take(1, 1 << 20) == []

    play(tmp_path, scene)


def test_a_recalled_lease_that_ended_is_given_back_by_nobody(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await one_task(world)
        former = await Hand(world).next()
        world.depose()
        await asyncio.sleep(3 * LEASE_S)
        hand = Hand(world)
        again = await hand.next()
        assert attempt(again) == 2
        assert await hand.settle(former.token, SettleKind.RELEASE) is SettleOutcome.STALE
        assert await hand.settle(again.token, SettleKind.ACK) is SettleOutcome.DONE

    play(tmp_path, scene)


@pytest.mark.parametrize("sent", [0, 3])
def test_a_leader_that_goes_gives_back_also_what_is_still_being_leased(tmp_path: Path, sent: int) -> None:
    async def scene(world: World) -> None:
        made = await world.create([NewTask("n") for _ in range(20)])
        hand = Hand(world, credit=10, lease_ms=LONG_MS)
        kept = {(await hand.next()).task_id for _ in range(sent)}
        world.log_delay_s = (0.1, 0.1)
        other = Hand(world, credit=5, lease_ms=LONG_MS)
        await until(lambda: world.waiting > 0)
        await world.dispatcher.hand_back()
        leased = {task_id for task_id in made if stored(world, task_id).lease_token}
        assert leased == kept
        # Nothing is leased any more, whoever asks.
        other.consumer.add_credit(100)
        await asyncio.sleep(1)
        assert other.consumer.take(100, 1 << 20) == hand.consumer.take(100, 1 << 20) == []
        world.depose()
        world.log_delay_s = FAST
        fresh = Hand(world, credit=100)
        got = [await fresh.next() for _ in range(20 - sent)]
        assert {one.task_id for one in got} == set(made) - kept
        assert {attempt(one) for one in got} == {1}

    play(tmp_path, scene)


def test_the_state_lets_go_of_a_lease_whose_end_came_before_its_entry(tmp_path: Path) -> None:
    """On the replicated state alone: stamps later in the log than the lease's end settle what it was."""

    async def scene(world: World) -> None:
        task_id = await one_task(world)
        (due,) = DueReader(world.machine.store).due(b"n", after=None, until_us=world.stamp_us(), limit=1)
        until_us = world.stamp_us() + 1
        command = world.commands.lease("gone", until_us, [due])
        await asyncio.sleep(LEASE_S)
        result = await world.carry_out(command)
        assert isinstance(result, bytes)
        (token,) = lease_outcome(result)
        assert token and stored(world, task_id).lease_until_us == until_us < world.wall_us()
        (ended,) = DueReader(world.machine.store).due(b"n", after=None, until_us=world.stamp_us(), limit=1)
        assert (ended.lease_token, ended.next_attempt_at_us) == (token, until_us)
        # It stands where it ended, and is nobody's to lease until the log says that it ended.
        again = await world.carry_out(world.commands.lease("other", world.stamp_us() + 10**9, [ended, due]))
        assert isinstance(again, bytes) and lease_outcome(again) == [0, 0]
        settled = await world.carry_out(
            world.commands.settle([Settlement(due.place, token, SettleKind.RELEASE)])
        )
        assert isinstance(settled, bytes) and settle_outcome(settled) == [SettleOutcome.DONE]
        after = stored(world, task_id)
        assert (after.state, after.attempts) == (State.SCHEDULED, 0)
        assert after.next_attempt_at_us == due.next_attempt_at_us

    play(tmp_path, scene)
