"""A consumer over a connection that breaks, stalls and lies dead at random: every answer is the truth.

A failure prints its seed; replay it alone with ``CHAOS_SEED=SEED pytest tests/process/test_client_chaos.py``.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.breaking_proxy import BreakingProxy, pin
from z4sql.client import AsyncClient, NewTask, Outcome
from z4sql.client.consumer import Delivery
from z4sql.testing import TestCluster

COUNT = 120
CREDIT = 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with TestCluster() as started:
        yield started


def seeds() -> list[object]:
    if "CHAOS_SEED" in os.environ:
        return [int(os.environ["CHAOS_SEED"])]
    return [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 8))]


async def settle(
    delivery: Delivery,
    choice: random.Random,
    truth: dict[str, set[str]],
    denied: set[tuple[str, int, str]],
) -> Outcome:
    """Say something of a delivery; what a DONE of it proves goes into ``truth``, what a STALE rules out into
    ``denied``: task, attempt, end.
    """
    await asyncio.sleep(choice.random() * 0.03)
    for _ in range(choice.choice((0, 0, 1, 2))):
        await delivery.extend(timedelta(seconds=choice.choice((2, 30))))
    match choice.randrange(10):
        case 0:
            outcome, end = await delivery.dead("chaos"), "dead"
        case 1 | 2:
            outcome, end = await delivery.nack("chaos", delay=timedelta(0)), "again"
        case _:
            outcome, end = await delivery.ack(), "done"
    if outcome is Outcome.DONE:
        truth.setdefault(delivery.task.id, set()).add(end)
    if outcome is Outcome.STALE and end != "again":
        denied.add((delivery.task.id, delivery.task.attempts, end))
    return outcome


@pytest.mark.parametrize("seed", seeds())
async def test_answers_are_true_and_nothing_is_lost_or_stuck(cluster: TestCluster, seed: int) -> None:
    choice = random.Random(seed)
    namespace = f"chaos-{seed}"
    replay = f"seed {seed}: replay with CHAOS_SEED={seed} pytest tests/process/test_client_chaos.py"
    truth: dict[str, set[str]] = {}
    denied: set[tuple[str, int, str]] = set()
    async with (
        cluster.async_client() as near,
        BreakingProxy(cluster.address) as proxy,
        AsyncClient(proxy.address, timeout_s=3) as far,
    ):
        pin(far, proxy)
        await near.namespaces.set(namespace, attempts_max=1000, backoff_min_ms=0, backoff_max_ms=0)
        await near.create_many([NewTask(namespace, payload=b"%d" % n) for n in range(COUNT)])
        ended = asyncio.Event()

        async def break_off() -> None:
            while not ended.is_set():
                await asyncio.sleep(choice.random() * 0.4)
                match choice.randrange(3):
                    case 0:
                        proxy.deaf = True
                        await asyncio.sleep(choice.random() * 0.3)
                        proxy.deaf = False
                        # What was dropped is missing from the stream: it cannot go on.
                        proxy.cut()
                    case _:
                        proxy.cut()

        async def finished() -> bool:
            return not [task async for task in near.list(namespace, states=["scheduled", "leased"])]

        said: list[asyncio.Task[Outcome]] = []
        most = 0
        breaking = asyncio.create_task(break_off())
        async with (
            asyncio.timeout(60),
            far.consume(namespace, credit=CREDIT, lease=timedelta(seconds=2)) as tasks,
        ):
            while not await finished():
                waiting = asyncio.ensure_future(anext(tasks))
                await asyncio.wait([waiting], timeout=0.5)
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.wait([waiting])
                    continue
                said.append(
                    asyncio.create_task(
                        settle(waiting.result(), random.Random(choice.random()), truth, denied)
                    )
                )
                most = max(most, sum(not one.done() for one in said))
            ended.set()
            await breaking
            outcomes = await asyncio.wait_for(asyncio.gather(*said), 15)
        ends_of = {task.id: (task.id, task.attempts, task.state) async for task in near.list(namespace)}
        states = {task_id: end[2] for task_id, end in ends_of.items()}
    assert len(states) == COUNT and set(states.values()) <= {"done", "dead"}, replay
    for task_id, proofs in truth.items():
        ends = proofs - {"again"}
        assert len(ends) <= 1 and ends <= {states[task_id]}, f"{task_id} {proofs} {states[task_id]}; {replay}"
    lies = denied & set(ends_of.values())
    assert not lies, f"answered as stale, and was done: {lies}; {replay}"
    assert most <= CREDIT + 5, f"{most} were held at once; {replay}"
    assert outcomes.count(Outcome.DONE) > COUNT // 3, replay
    assert outcomes.count(Outcome.DONE) < len(outcomes), f"nothing went wrong; {replay}"
