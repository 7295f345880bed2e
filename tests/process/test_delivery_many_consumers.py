"""Hundreds of consumers at once: nobody starves, the leader stays the leader, memory is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.process.test_delivery_loads import elections, metrics
from z4sql.cli.local_cluster import LocalCluster, free_ports
from z4sql.client import AsyncClient

CONSUMERS_PER_CLIENT = 50
CREDIT = 4


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("many"), free_ports(3)) as formed:
        formed.form()
        yield formed


def resident_mib(process: int | None) -> float:
    fields = Path(f"/proc/{process}/status").read_text()
    return int(fields.split("VmRSS:")[1].split()[0]) / 1024


class Crowd:
    """Consumers, each of one of ``namespaces``; what came to whom, and how long after it was created."""

    def __init__(self, addresses: list[str], namespaces: list[str]) -> None:
        self.came: list[Counter[str]] = [Counter() for _ in namespaces]
        self.lateness_s: list[float] = []
        self._addresses = addresses
        self._namespaces = namespaces

    @contextlib.asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            running = []
            for number, namespace in enumerate(self._namespaces):
                if number % CONSUMERS_PER_CLIENT == 0:
                    turn = number // CONSUMERS_PER_CLIENT % len(self._addresses)
                    addresses = self._addresses[turn:] + self._addresses[:turn]
                    client = await stack.enter_async_context(AsyncClient(addresses, timeout_s=30))
                running.append(asyncio.create_task(self._consume(client, number, namespace)))
            try:
                yield
            finally:
                for task in running:
                    task.cancel()
                await asyncio.wait(running)

    async def _consume(self, client: AsyncClient, number: int, namespace: str) -> None:
        async with client.consume(namespace, credit=CREDIT, name=f"worker{number}") as tasks:
            async for delivery in tasks:
                self.came[number][delivery.task.id] += 1
                self.lateness_s.append(time.time() - delivery.task.deliver_at.timestamp())
                await asyncio.sleep(0.005)
                await delivery.ack()

    async def had(self, count: int, timeout_s: float) -> None:
        """Wait until ``count`` tasks came."""
        await until(lambda: len(self.lateness_s) >= count, timeout_s, f"{count} tasks")

    @property
    def ids(self) -> Counter[str]:
        return sum(self.came, Counter())


async def until(found: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not found():
        assert time.monotonic() < deadline_s, f"within {timeout_s} s: {what}"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [60, pytest.param(500, marks=pytest.mark.long)])
def test_consumers_of_one_namespace_share_and_nobody_starves(cluster: LocalCluster, number: int) -> None:
    asyncio.run(share(cluster, number))


async def share(cluster: LocalCluster, number: int) -> None:
    namespace, leader = f"shared-{number}", cluster.peers[0]
    addresses = [peer.service_address for peer in cluster.peers]
    before, memory = elections(cluster), resident_mib(leader.pid)
    crowd = Crowd(addresses, [namespace] * number)
    async with AsyncClient(addresses, timeout_s=30) as client, crowd.consuming():
        await until(lambda: metrics(leader)["z4_consumers"] == number, 60, f"{number} consumers")
        created: list[str] = []
        while len(created) < 5 * number:
            # Fewer than there are consumers: each time it must be the turn of others.
            created += await asyncio.gather(*(client.create(namespace) for _ in range(number // 4)))
            await crowd.had(len(created), 60)
    assert crowd.ids == Counter(created), "each came once"
    counts = [came.total() for came in crowd.came]
    assert min(counts) >= 2 and max(counts) <= 10, sorted(counts)
    assert elections(cluster) == before
    assert resident_mib(leader.pid) - memory < 200 + 0.3 * number


@pytest.mark.parametrize("number", [60, pytest.param(500, marks=pytest.mark.long)])
def test_consumers_of_many_namespaces_are_served_side_by_side(cluster: LocalCluster, number: int) -> None:
    asyncio.run(side_by_side(cluster, number))


async def side_by_side(cluster: LocalCluster, number: int) -> None:
    leader = cluster.peers[0]
    addresses = [peer.service_address for peer in cluster.peers]
    before, memory = elections(cluster), resident_mib(leader.pid)
    namespaces = [f"own-{number}-{position}" for position in range(number)]
    crowd = Crowd(addresses, [*namespaces, *namespaces])
    per_namespace = 6
    async with AsyncClient(addresses, timeout_s=30) as client, crowd.consuming():
        await until(lambda: metrics(leader)["z4_consumers"] == 2 * number, 60, f"{2 * number} consumers")
        created: list[str] = []
        for _ in range(per_namespace):
            created += await asyncio.gather(*(client.create(namespace) for namespace in namespaces))
        await crowd.had(len(created), 60)
    assert crowd.ids == Counter(created), "each came once"
    for position in range(number):
        assert crowd.came[position].total() + crowd.came[number + position].total() == per_namespace
    assert elections(cluster) == before
    assert resident_mib(leader.pid) - memory < 200 + 0.6 * number
