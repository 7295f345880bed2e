"""Whatever goes wrong on the way: no task is early, lost, done twice or with two consumers at once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.delivery_world import LEASE_MS, Worker, World, run
from z4sql.tasks.audit import audit
from z4sql.tasks.life import ChangeKind
from z4sql.tasks.model import NewTask
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import FINISHED, State
from z4sql.tasks.settings import SettingsChange

NAMESPACES = ["h", "h#x", "other"]
SEEDS = 10
SEEDS_LONG = int(os.environ.get("Z4_DELIVERY_SEEDS", "200"))


async def chaos(path: Path, seed: int) -> None:
    world = World(path, seed)
    random = world.random
    world.busy_share = random.choice([0.0, 0.05, 0.3])
    made: dict[str, str] = {}
    workers: list[Worker] = []
    for namespace in NAMESPACES:
        await world.configure(
            namespace,
            SettingsChange(attempts_max=1000, backoff_min_ms=1, backoff_max_ms=2_000, retention_seconds=600),
        )
    for _ in range(random.randrange(60, 200)):
        match random.randrange(15):
            case 0 | 1 | 2 | 3 | 4 | 5:
                namespace = random.choice(NAMESPACES)
                for task_id in await world.create(
                    [new_task(world, namespace) for _ in range(random.randrange(1, 30))]
                ):
                    made[task_id] = namespace
            case 6 | 7 if len(workers) < 5:
                some = random.sample(NAMESPACES, random.randrange(1, 4))
                workers.append(
                    Worker(
                        world,
                        some,
                        credit=random.choice([1, 3, 50, 500]),
                        reliable=random.random() < 0.3,
                        slow_s=random.choice([0.0, 0.0, 0.5]),
                    )
                )
            case 8 if workers:
                await workers.pop(random.randrange(len(workers))).leave()
            case 9:
                # A lease that the old leader gave lasts; what was on its way to a consumer is lost with it.
                if random.random() < 0.3:
                    await world.dispatcher.hand_back()
                world.depose()
            case 10 if made:
                task_id = random.choice(list(made))
                kind = random.choice([ChangeKind.RUN_NOW, ChangeKind.RESCHEDULE, ChangeKind.REDRIVE])
                at_us = world.stamp_us() + random.randrange(-5_000_000, 5_000_000)
                await world.change(made[task_id], task_id, kind, at_us)
            case 11:
                paused = random.random() < 0.5
                await world.configure(random.choice(NAMESPACES), SettingsChange(paused=paused))
            case 12:
                world.clock_offset_us += random.choice([-2_000_000, 3_000_000])
            case 13:
                # Now and then it is so slow that leases are over before they are given.
                world.log_delay_s = (0.0, random.choice([0.02, 0.02, 2 * LEASE_MS / 1000]))
            case _:
                await asyncio.sleep(random.choice([0.001, 0.1, 2.0, 5.0]))
        assert not world.failures, world.failures[:3]
    for worker in workers:
        await worker.leave()
    world.busy_share, world.log_delay_s = 0.0, (0.0, 0.02)
    for namespace in NAMESPACES:
        await world.configure(namespace, SettingsChange(paused=False))
    last = Worker(world, NAMESPACES, credit=1000, reliable=True)
    await settle_down(world, made)
    await last.leave()
    assert not world.failures, world.failures[:3]
    assert not audit(world.machine.store)
    assert not world.observed.settlements["ack", 1] or world.observed.settlements["ack", 0]


def new_task(world: World, namespace: str) -> NewTask:
    random = world.random
    now_us = world.stamp_us()
    offset_us = random.choice([-3_600_000_000, -1_000_000, 0, 50, 3_000, 400_000, 5_000_000])
    deliver_at_us = None if random.random() < 0.3 else now_us + offset_us + random.randrange(1000)
    expire_at_us = now_us + random.randrange(6_000_000, 20_000_000) if random.random() < 0.1 else None
    return NewTask(namespace, payload=b"x", deliver_at_us=deliver_at_us, expire_at_us=expire_at_us)


async def settle_down(world: World, made: dict[str, str]) -> None:
    """Within the time of a few leases, delays and overlong clocks every task is over."""
    reader = TaskReader(world.machine.store)
    for _ in range(40):
        await asyncio.sleep(LEASE_MS / 1000)
        left = [
            task
            for task_id, namespace in made.items()
            if (task := reader.get(namespace, task_id)) is not None and task.state not in FINISHED
        ]
        if not left:
            break
    assert not left, f"{len(left)} of {len(made)} tasks were not delivered, such as {left[0]}"
    for task_id, namespace in made.items():
        task = reader.get(namespace, task_id)
        assert task is not None
        assert task.state in (State.DONE, State.EXPIRED), task
        # An acknowledgement whose answer was lost may or may not have counted.
        assert task.state is State.EXPIRED or task_id in world.asked, task
        assert world.acked[task_id] <= (task.state is State.DONE), task


@pytest.mark.parametrize(
    "seed",
    [*range(SEEDS), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(SEEDS, SEEDS_LONG))],
)
def test_every_task_is_delivered_in_time_and_settled_once(tmp_path: Path, seed: int) -> None:
    """Replay one: pytest tests/property/test_delivery_world.py -k 'settled_once[SEED]'"""
    with capture_logs() as events:
        run(chaos(tmp_path / "state", seed))
    # Delivery makes up for defects of its own, but says so.
    assert not [event for event in events if event["log_level"] in ("error", "critical")]
