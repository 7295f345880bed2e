"""The client's consumer and changes of tasks, against a real peer, also over a connection that breaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial

import pytest

from tests.breaking_proxy import BreakingProxy, pin
from z4sql.client import (
    AsyncClient,
    Client,
    InvalidTask,
    NotFound,
    Outcome,
    PreconditionFailed,
    Unavailable,
    Z4Error,
)
from z4sql.testing import TestCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with TestCluster() as started:
        yield started


@pytest.fixture
async def client(cluster: TestCluster) -> AsyncIterator[AsyncClient]:
    async with cluster.async_client() as opened:
        yield opened


async def test_every_task_is_delivered_once_and_acknowledged(client: AsyncClient) -> None:
    ids = {await client.create("once", payload=b"%d" % number) for number in range(300)}
    seen: list[str] = []
    async with client.consume("once", credit=20, limit=300) as deliveries:
        acks = []
        async for delivery in deliveries:
            seen.append(delivery.task.id)
            acks.append(asyncio.create_task(delivery.ack()))
        assert set(await asyncio.gather(*acks)) == {Outcome.DONE}
    assert sorted(seen) == sorted(ids)
    states = {task.state async for task in client.list("once", page_size=70)}
    assert states == {"done"}


async def test_a_limit_leases_no_more_than_it_says(client: AsyncClient) -> None:
    for _ in range(10):
        await client.create("limited")
    async with client.consume("limited", credit=4, limit=6) as deliveries:
        count = 0
        async for delivery in deliveries:
            assert await delivery.ack() is Outcome.DONE
            count += 1
    assert count == 6
    attempts = [task.attempts async for task in client.list("limited")]
    assert sorted(attempts) == [0] * 4 + [1] * 6


async def test_a_failed_task_comes_again_with_its_error_then_is_dead(client: AsyncClient) -> None:
    task_id = await client.create("failing")
    async with client.consume("failing") as deliveries:
        first = await anext(deliveries)
        assert await first.nack("no route", delay=timedelta(0)) is Outcome.DONE
        second = await anext(deliveries)
        assert (second.task.id, second.task.attempts, second.task.last_error) == (task_id, 2, "no route")
        assert await second.dead("bad address") is Outcome.DONE
    task = await client.get("failing", task_id)
    assert (task.state, task.last_error) == ("dead", "bad address")
    assert [event.kind for event in task.events] == ["created", "leased", "nacked", "leased", "dead"]


async def test_a_task_that_is_released_comes_again_and_has_used_no_attempt(client: AsyncClient) -> None:
    task_id = await client.create("released")
    async with client.consume("released", limit=3) as tasks:
        async for delivery in tasks:
            assert (delivery.task.id, delivery.task.attempts) == (task_id, 1)
            assert await delivery.release() is Outcome.DONE
    task = await client.get("released", task_id)
    assert (task.state, task.attempts) == ("scheduled", 0)


async def test_a_lease_that_ended_is_stale_and_an_extended_one_lasts(
    cluster: TestCluster, client: AsyncClient
) -> None:
    await client.create("leases")
    async with client.consume("leases", lease=timedelta(seconds=60)) as deliveries:
        delivery = await anext(deliveries)
        assert await delivery.extend(timedelta(hours=1)) is Outcome.DONE
        await asyncio.to_thread(cluster.clock.advance, minutes=30)
        assert await delivery.extend(timedelta(seconds=5)) is Outcome.DONE
        await asyncio.to_thread(cluster.clock.advance, minutes=30)
        again = await anext(deliveries)
        assert again.task.id == delivery.task.id and again.token != delivery.token
        assert await delivery.ack() is Outcome.STALE
        assert await again.ack() is Outcome.DONE


async def test_what_is_said_twice_of_a_delivery_is_a_mistake(client: AsyncClient) -> None:
    await client.create("twice")
    async with client.consume("twice") as deliveries:
        delivery = await anext(deliveries)
        assert await delivery.ack() is Outcome.DONE
        with pytest.raises(RuntimeError, match="settled before"):
            await delivery.nack("after all")


async def test_leaving_gives_back_what_was_not_settled(client: AsyncClient) -> None:
    await client.create("left")
    async with client.consume("left") as deliveries:
        held = await anext(deliveries)
    assert await held.ack() is Outcome.UNKNOWN
    async with client.consume("left") as deliveries:
        assert (await anext(deliveries)).task.id == held.task.id


async def test_refusals_name_what_is_wrong(client: AsyncClient) -> None:
    with pytest.raises(InvalidTask, match="namespaces"):
        async with client.consume([]):
            pass
    with pytest.raises(ValueError, match="credit must lie between"):
        client.consume("x", credit=0)
    with pytest.raises(ValueError, match="limit must not be negative"):
        client.consume("x", limit=-1)
    async with AsyncClient("127.0.0.1:1", timeout_s=0.3) as nowhere:
        for ask in (nowhere.consume("x").__aenter__, partial(nowhere.get, "x", "0" * 26)):
            with pytest.raises(Unavailable, match=r"no peer of 127\.0\.0\.1:1 answered within 0.3 s"):
                await ask()
        with pytest.raises(Unavailable, match="check the endpoints"):
            await nowhere.create("x")
    async with AsyncClient("nowhere.invalid:1", timeout_s=0.3) as nowhere:
        # Nothing was sent: no outcome is unknown.
        with pytest.raises(Unavailable, match="resolving nowhere.invalid"):
            await nowhere.create("x")


async def test_a_verdict_that_is_refused_leaves_the_delivery_open(client: AsyncClient) -> None:
    await client.create("open")
    async with client.consume("open") as deliveries:
        delivery = await anext(deliveries)
        for delay in (timedelta(seconds=-1), timedelta(days=367)):
            with pytest.raises(InvalidTask, match="^delay: must not"):
                await delivery.nack("later", delay=delay)
        with pytest.raises(InvalidTask, match="lease_ms"):
            await delivery.extend(timedelta(days=8))
        assert await delivery.ack() is Outcome.DONE
        with pytest.raises(RuntimeError, match="entered once"):
            await deliveries.__aenter__()


async def test_a_closed_client_says_so_and_keeps_nobody_waiting(cluster: TestCluster) -> None:
    client = cluster.async_client()
    async with client.consume("closed") as deliveries:
        waiting = asyncio.ensure_future(anext(deliveries))
        await asyncio.sleep(0.05)
        await client.close()
        async with asyncio.timeout(5):
            with pytest.raises(Z4Error, match="the client is closed"):
                await waiting
    for late in (client.create("closed"), client.get("closed", "0" * 26), client.namespaces.get("closed")):
        with pytest.raises(Z4Error, match="the client is closed"):
            await late


def test_a_closed_blocking_client_keeps_no_thread_waiting(cluster: TestCluster) -> None:
    client = Client(cluster.address)
    ends: list[BaseException] = []
    entered = threading.Event()

    def consume() -> None:
        try:
            with client.consume("closed") as deliveries:
                entered.set()
                next(iter(deliveries))
        except Z4Error as error:
            ends.append(error)

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    assert entered.wait(10)
    client.close()
    client.close()
    thread.join(10)
    assert not thread.is_alive() and str(ends[0]) == "the client is closed"
    with pytest.raises(Z4Error, match="the client is closed"):
        client.create("closed")


async def test_a_broken_connection_is_mended_and_nothing_is_lost_or_stuck(
    cluster: TestCluster, client: AsyncClient
) -> None:
    count = 400
    for start in range(0, count, 100):
        await asyncio.gather(*(client.create("mended") for _ in range(start, start + 100)))
    done: set[str] = set()
    async with BreakingProxy(cluster.address) as proxy, AsyncClient(proxy.address) as far:
        pin(far, proxy)
        async with far.consume("mended", credit=50) as deliveries:
            outcomes: list[asyncio.Task[Outcome]] = []

            async def cut() -> None:
                for _ in range(6):
                    await asyncio.sleep(0.15)
                    proxy.cut()

            cutting = asyncio.create_task(cut())
            while len(done) < count:
                async with asyncio.timeout(20):
                    delivery = await anext(deliveries)
                await asyncio.sleep(0.001)
                done.add(delivery.task.id)
                outcomes.append(asyncio.create_task(delivery.ack()))
            await cutting
            async with asyncio.timeout(15):
                said = await asyncio.gather(*outcomes)
    assert set(said) <= set(Outcome) and said.count(Outcome.DONE) >= count // 2
    left = [task.id async for task in client.list("mended", states=["scheduled", "leased"])]
    # What was answered as stale or unknown comes again: nothing else is open.
    assert len(left) <= len(said) - said.count(Outcome.DONE)


async def test_what_waits_to_be_iterated_is_not_handed_out_when_its_lease_was_given_back(
    cluster: TestCluster, client: AsyncClient
) -> None:
    ids = [await client.create("waiting") for _ in range(10)]

    async def attempts_are(count: int) -> None:
        async with asyncio.timeout(15):
            while {task.attempts async for task in client.list("waiting")} != {count}:
                await asyncio.sleep(0.02)

    async with BreakingProxy(cluster.address) as proxy, AsyncClient(proxy.address) as far:
        pin(far, proxy)
        async with far.consume("waiting", credit=10) as deliveries:
            await attempts_are(1)
            await asyncio.sleep(0.1)
            proxy.cut()
            await attempts_are(2)
            seen = []
            for _ in ids:
                delivery = await anext(deliveries)
                seen.append((delivery.task.id, delivery.task.attempts))
                assert await delivery.ack() is Outcome.DONE
    assert sorted(seen) == [(one, 2) for one in sorted(ids)]


async def test_an_ack_whose_answer_is_lost_ends_within_the_timeout(
    cluster: TestCluster, client: AsyncClient
) -> None:
    task_id = await client.create("deaf")
    async with BreakingProxy(cluster.address) as proxy, AsyncClient(proxy.address, timeout_s=1.5) as far:
        pin(far, proxy)
        async with far.consume("deaf") as deliveries:
            delivery = await anext(deliveries)
            proxy.deaf = True
            async with asyncio.timeout(4):
                assert await delivery.ack() is Outcome.UNKNOWN
            assert (await client.get("deaf", task_id, linearizable=True)).state == "done"
            proxy.deaf = False
            proxy.cut()


async def test_an_ack_whose_answer_is_lost_is_said_again_and_is_done(
    cluster: TestCluster, client: AsyncClient
) -> None:
    task_id = await client.create("lost_answer")
    async with BreakingProxy(cluster.address) as proxy, AsyncClient(proxy.address) as far:
        pin(far, proxy)
        async with far.consume("lost_answer") as deliveries:
            delivery = await anext(deliveries)
            proxy.deaf = True
            acknowledging = asyncio.create_task(delivery.ack())
            async with asyncio.timeout(10):
                while (await client.get("lost_answer", task_id)).state != "done":
                    await asyncio.sleep(0.02)
                proxy.deaf = False
                proxy.cut()
                assert await acknowledging is Outcome.DONE
    assert (await client.get("lost_answer", task_id)).attempts == 1


async def test_tasks_change_one_by_one_and_only_as_their_state_allows(client: AsyncClient) -> None:
    task_id = await client.create("changed", delay=timedelta(hours=5), metadata={"a": "1"})
    task = await client.get("changed", task_id)
    moved = await client.reschedule("changed", task_id, task.deliver_at + timedelta(hours=1), etag=task.etag)
    assert moved.next_attempt_at == task.deliver_at + timedelta(hours=1) and moved.etag != task.etag
    with pytest.raises(PreconditionFailed, match="etag"):
        await client.cancel("changed", task_id, etag=task.etag)
    updated = await client.update("changed", task_id, metadata={"b": "2"}, payload=b"new")
    assert (updated.metadata, updated.payload) == ({"b": "2"}, b"new")
    kept = await client.update("changed", task_id, payload=b"newer")
    assert (kept.metadata, kept.payload) == ({"b": "2"}, b"newer")
    assert (await client.cancel("changed", task_id)).state == "canceled"
    with pytest.raises(PreconditionFailed, match="canceled"):
        await client.run_now("changed", task_id)
    redriven = await client.redrive("changed", task_id)
    assert (redriven.state, redriven.attempts) == ("scheduled", 0)
    await client.remove("changed", task_id)
    with pytest.raises(NotFound):
        await client.get("changed", task_id, linearizable=True)


async def test_a_range_is_counted_then_changed(client: AsyncClient) -> None:
    for hours in (1, 2, 3):
        await client.create("range", delay=timedelta(hours=hours))
    first = await anext(client.list("range"))
    bounds = {"deliver_from": first.deliver_at + timedelta(minutes=30)}
    assert await client.change_tasks("range", "cancel", dry_run=True, **bounds) == 2
    assert await client.change_tasks("range", "cancel", **bounds) == 2
    assert [task.state async for task in client.list("range")] == ["scheduled", "canceled", "canceled"]
    assert await client.change_tasks("range", "purge", states=["canceled"]) == 2
    with pytest.raises(InvalidTask, match="change"):
        await client.change_tasks("range", "explode")


async def test_a_paused_namespace_delivers_nothing_until_it_is_resumed(client: AsyncClient) -> None:
    await client.namespaces.pause("paused")
    assert (await client.namespaces.get("paused")).paused
    await client.create("paused")
    async with client.consume("paused") as deliveries:
        waiting = asyncio.ensure_future(anext(deliveries))
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        await client.namespaces.resume("paused")
        async with asyncio.timeout(5):
            assert await (await waiting).ack() is Outcome.DONE
    names = [namespace.name async for namespace in client.namespaces.list(page_size=2)]
    assert "paused" in names and names == sorted(names)
    changed = await client.namespaces.set("paused", attempts_max=7)
    assert (changed.attempts_max, changed.ack_deadline_seconds) == (7, 300)
    with pytest.raises(InvalidTask, match="attempts_max"):
        await client.namespaces.set("paused", attempts_max=0)


def test_blocking_code_has_the_same(cluster: TestCluster) -> None:
    client = cluster.client
    ids = [client.create("blocking", payload=b"x") for _ in range(3)]
    with client.consume("blocking", limit=3) as deliveries:
        for delivery in deliveries:
            assert delivery.extend(timedelta(minutes=1)) is Outcome.DONE
            assert delivery.ack() is Outcome.DONE
    assert [task.id for task in client.list("blocking", states=["done"])] == ids
    with client.consume("blocking") as deliveries:
        deliveries.drain()
        assert list(deliveries) == []


async def test_a_consumer_that_drains_hands_out_what_has_arrived_and_takes_no_more(
    client: AsyncClient,
) -> None:
    for _ in range(12):
        await client.create("draining")
    async with client.consume("draining", credit=5) as deliveries:
        first = await anext(deliveries)
        while [task.state async for task in client.list("draining")].count("leased") < 5:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        await deliveries.drain()
        held = [first, *[delivery async for delivery in deliveries]]
        assert {await delivery.ack() for delivery in held} == {Outcome.DONE} and len(held) == 5
    attempts = [task.attempts async for task in client.list("draining")]
    assert sorted(attempts) == [0] * 7 + [1] * 5
