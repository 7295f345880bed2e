"""Three peers lose their leader while workers run: every task is handled, every future ends."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from z4sql.cli.local_cluster import LocalCluster, PeerProcess, free_ports
from z4sql.client import AsyncClient, Client, NewTask, Outcome, Task, Worker

LEASE = timedelta(seconds=3)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("failover"), free_ports(3)) as formed:
        formed.form()
        yield formed


def addresses(cluster: LocalCluster) -> list[str]:
    return [peer.service_address for peer in cluster.peers]


def leader(cluster: LocalCluster) -> PeerProcess:
    deadline = time.monotonic() + 15
    with Client(addresses(cluster)) as client:
        while True:
            name = client.cluster_info().leader_id
            for peer in cluster.peers:
                if peer.name == name and peer.running():
                    return peer
            assert time.monotonic() < deadline, f"no leader: {name!r}"
            time.sleep(0.05)


@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=pytest.mark.long)])
def test_a_worker_outlives_its_leader(cluster: LocalCluster, how: str) -> None:
    namespace, count = f"failover-{how}", 600
    calls: Counter[str] = Counter()
    worker = Worker(addresses(cluster), name="worker")

    @worker.handler(namespace, concurrency=20, lease=LEASE)
    async def handle(task: Task) -> None:
        calls[task.id] += 1
        await asyncio.sleep(0.02)

    thread = threading.Thread(target=worker.run)
    with Client(addresses(cluster), timeout_s=30) as client:
        ids = []
        for _ in range(count // 100):
            ids += client.create_many([NewTask(namespace) for _ in range(100)])
        assert all(isinstance(one, str) for one in ids)
        thread.start()
        try:
            deadline = time.monotonic() + 40
            while len(calls) < count // 4:
                assert time.monotonic() < deadline, f"only {len(calls)} were begun"
                time.sleep(0.01)
            lost = leader(cluster)
            lost.kill() if how == "kill" else lost.stop()
            while True:
                open_ones = list(client.list(namespace, states=["scheduled", "leased"]))
                if not open_ones and len(calls) == count:
                    break
                assert time.monotonic() < deadline, f"{len(open_ones)} are open: {open_ones[:3]}"
                time.sleep(0.05)
        finally:
            worker.stop()
            thread.join(15)
        assert not thread.is_alive(), "the worker hangs"
        assert {task.state for task in client.list(namespace)} == {"done"}
    assert set(calls) == set(ids), "each was handled"
    again = sum(calls.values()) - count
    assert again <= 100, f"{again} were handled more than once"
    lost.start()
    cluster.wait_healthy(lost)


async def test_acks_in_flight_are_answered_across_a_failover(cluster: LocalCluster) -> None:
    count = 500
    async with AsyncClient(addresses(cluster), timeout_s=20) as client:
        created = await client.create_many([NewTask("acks") for _ in range(count)])
        said: dict[str, Outcome] = {}
        async with client.consume("acks", credit=count, lease=timedelta(minutes=10), limit=count) as tasks:
            held = [delivery async for delivery in tasks]
            assert {delivery.task.id for delivery in held} == set(created)
            lost = await asyncio.to_thread(leader, cluster)

            async def acknowledge(at: int) -> None:
                await asyncio.sleep(at * 0.001)
                said[held[at].task.id] = await held[at].ack()

            acks = [asyncio.create_task(acknowledge(at)) for at in range(count)]
            await asyncio.sleep(0.2)
            await asyncio.to_thread(lost.kill)
            async with asyncio.timeout(40):
                await asyncio.gather(*acks)
        assert len(said) == count
        done = {task.id async for task in client.list("acks", states=["done"])}
        wrong = [one for one, outcome in said.items() if outcome is Outcome.DONE and one not in done]
        assert not wrong, f"answered as done, and are not: {wrong[:3]}"
        # Their leases outlive the leader, and what was done before its end is done when it is said again.
        assert set(said.values()) == {Outcome.DONE}
        assert len(done) == count
    lost.start()
    await asyncio.to_thread(cluster.wait_healthy, lost)


@pytest.mark.long
async def test_a_leader_that_hangs_is_left_long_before_its_connection_breaks(cluster: LocalCluster) -> None:
    async with AsyncClient(addresses(cluster), timeout_s=20) as client:
        await client.create_many([NewTask("hung") for _ in range(20)])
        async with client.consume("hung", lease=timedelta(minutes=10), limit=20) as tasks:
            held = [delivery async for delivery in tasks]
            lost = await asyncio.to_thread(leader, cluster)
            lost.send_signal(signal.SIGSTOP)
            try:
                async with asyncio.timeout(12):
                    said = await asyncio.gather(*(delivery.ack() for delivery in held))
                    assert await client.create("hung")
            finally:
                lost.send_signal(signal.SIGCONT)
            assert set(said) <= {Outcome.DONE, Outcome.UNKNOWN}
            done = [task async for task in client.list("hung", states=["done"])]
            assert len(done) == 20
    await asyncio.to_thread(cluster.wait_healthy, lost)


def test_logs_hold_no_defects(cluster: LocalCluster) -> None:
    for peer in cluster.peers:
        text = Path(peer.log).read_text(errors="replace")
        assert "Traceback" not in text and "delivery_failed" not in text, f"see {peer.log}"
