"""Producers, consumers and faults against three peers; then everything is finished, compared and checked.

``python -m tests.process.ledger_run SEED FAULT,FAULT,... DIRECTORY`` runs one on a network of its own (see
`tests.process.fault_network`), where peers can be parted.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import pymysql

from tests.process.fault_network import NetworkCluster
from tests.process.fault_peers import FaultyCluster, FaultyPeer, wait_for
from tests.process.ledger import Ending, Fault, Final, History, Step, now_us
from tests.process.ledger_actors import Actors, instant_us
from tests.process.ledger_checks import Limits, violations
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.check import DIFFERENT, EQUAL, check
from z4sql.client import AsyncClient
from z4sql.client.model import Task
from z4sql.tasks.audit import audit
from z4sql.tasks.machine import TaskMachine

ATTEMPTS_MAX = 12
PATIENCE_S = 30.0
LIMITS = Limits(patience_us=int(PATIENCE_S * 1e6))
_SETTLED_S = 0.7
"""How long a fault lasts at least."""

_COUNT = """
    SELECT state, COUNT(*) FROM tasks
    WHERE namespace = 'ledger' AND deliver_at BETWEEN '1970-01-01' AND '9999-12-31' GROUP BY state
"""

Hurt = Callable[[FaultyCluster], None]


def kill_leader(cluster: FaultyCluster) -> None:
    """kill -9, and a start as soon as the others lead."""
    old = cluster.leader()
    old.kill()
    cluster.leader(cluster.others(old))
    time.sleep(_SETTLED_S)


def kill_follower(cluster: FaultyCluster) -> None:
    cluster.others(cluster.leader())[0].kill()
    time.sleep(_SETTLED_S)


def kill_all(cluster: FaultyCluster) -> None:
    for peer in cluster.members:
        peer.kill()


def move_leader(cluster: FaultyCluster) -> None:
    """A clean stop: the leader hands over before it goes."""
    cluster.leader().stop()
    time.sleep(_SETTLED_S)


def pause_leader(cluster: FaultyCluster) -> None:
    """SIGSTOP until well after the others have elected; it wakes believing that it leads."""
    old = cluster.leader()
    old.send_signal(signal.SIGSTOP)
    try:
        cluster.leader(cluster.others(old))
        time.sleep(_SETTLED_S)
    finally:
        old.send_signal(signal.SIGCONT)


def pause_briefly(cluster: FaultyCluster) -> None:
    """SIGSTOP for less than an election takes."""
    old = cluster.leader()
    old.send_signal(signal.SIGSTOP)
    time.sleep(0.4)
    old.send_signal(signal.SIGCONT)


def part_leader(cluster: FaultyCluster) -> None:
    """The leader and its clients on one side, the others and theirs on the other: clients reach both."""
    assert isinstance(cluster, NetworkCluster)
    old = cluster.leader()
    cluster.part(old, cluster.others(old))
    cluster.leader(cluster.others(old))
    time.sleep(2 * _SETTLED_S)
    cluster.heal()


def part_follower(cluster: FaultyCluster) -> None:
    assert isinstance(cluster, NetworkCluster)
    apart = cluster.others(cluster.leader())[0]
    cluster.part(apart, cluster.others(apart))
    time.sleep(2 * _SETTLED_S)
    cluster.heal()


def deafen_leader(cluster: FaultyCluster) -> None:
    """The leader is heard and hears nobody."""
    assert isinstance(cluster, NetworkCluster)
    old = cluster.leader()
    cluster.cut(*((other, old) for other in cluster.others(old)))
    cluster.leader(cluster.others(old))
    time.sleep(2 * _SETTLED_S)
    cluster.heal()


FAULTS: dict[str, Hurt] = {
    one.__name__: one
    for one in (kill_leader, kill_follower, kill_all, move_leader, pause_leader, pause_briefly)
}
PARTITIONS: dict[str, Hurt] = {one.__name__: one for one in (part_leader, part_follower, deafen_leader)}


async def run(
    cluster: FaultyCluster, seed: int, faults: Sequence[str], calm_s: float = 1.0, deliveries_min: int = 60
) -> History:
    """Let all loose while ``faults`` happen, ``calm_s`` apart, and until there were enough deliveries.

    Returns when tasks are finished, or late.
    """
    addresses = [peer.service_address for peer in cluster.members]
    actors = Actors(addresses, "ledger", ATTEMPTS_MAX, seed)
    history = actors.history
    async with AsyncClient(addresses, timeout_s=20) as client:
        await client.namespaces.set(
            "ledger",
            attempts_max=ATTEMPTS_MAX,
            backoff_min_ms=0,
            backoff_max_ms=300,
            ack_deadline_seconds=2,
        )
        producing = [actors.produce(f"producer{n}") for n in range(3)] + [actors.cancel("canceler")]
        consuming = [actors.consume(f"consumer{n}") for n in range(4)]
        loose = [asyncio.create_task(one) for one in (*producing, *consuming)]
        try:
            for name in faults:
                await asyncio.sleep(calm_s)
                await asyncio.to_thread(_hurt, cluster, name, history)
            history.calm_us = now_us()
            await asyncio.sleep(calm_s)
            until_s = time.monotonic() + PATIENCE_S
            while len(history.deliveries) < deliveries_min and time.monotonic() < until_s:
                await asyncio.sleep(0.1)
            actors.producing = False
            await asyncio.wait_for(asyncio.gather(*loose[: len(producing)]), PATIENCE_S)
            steady = [asyncio.create_task(actors.consume(f"steady{n}", steady=True)) for n in range(2)]
            loose += steady
            actors.consuming = False
            await _finished(client, "ledger")
            actors.finishing = False
            await asyncio.wait_for(asyncio.gather(*loose), PATIENCE_S)
        finally:
            for task in loose:
                task.cancel()
            await asyncio.wait(loose)
    return history


def _hurt(cluster: FaultyCluster, name: str, history: History) -> None:
    """One fault, and the way back from it."""
    fault = Fault(name, now_us())
    history.faults.append(fault)
    (FAULTS | PARTITIONS)[name](cluster)
    cluster.revive()
    cluster.leader()
    fault.ended_us = now_us()


async def _finished(client: AsyncClient, namespace: str) -> None:
    """Wait until nothing waits any more, for the time of patience."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        waiting = [task async for task in client.list(namespace, states=["scheduled", "leased"])]
        if not waiting:
            return
        await asyncio.sleep(0.1)


def ending(cluster: FaultyCluster) -> Ending:
    """What every peer holds, by its service, by SQL and in its store. Stops all peers."""
    names = [peer.name for peer in cluster.members]
    ended_us = now_us()
    verdict = check(cluster.members[0].service_address, PATIENCE_S)
    # Unless all could be compared, no peer has a hash to show.
    hashes = {name: name if verdict == DIFFERENT else "equal" for name in names}
    found = Ending(
        ended_us=ended_us,
        tasks={peer.name: list(_tasks(peer)) for peer in cluster.members},
        counts={peer.name: _counts(peer) for peer in cluster.members},
        hashes=hashes if verdict in (EQUAL, DIFFERENT) else {},
        audits={},
    )
    for peer in cluster.members:
        peer.send_signal(signal.SIGTERM)
    for peer in cluster.members:
        peer.stop()
        found.audits[peer.name] = _audited(peer)
    return found


def _tasks(peer: FaultyPeer) -> Iterator[Final]:
    with grpc.insecure_channel(peer.service_address) as channel:
        listing = channel.unary_unary("/z4.Collection/ListTasks")
        request = pb.ListTasksRequest(namespace="ledger", page_size=1000, with_payload=True)
        while True:
            page = pb.ListTasksResponse.FromString(listing(request.SerializeToString(), timeout=20))
            for task in page.tasks:
                yield _final(Task.from_message(task))
            request.page_token = page.next_page_token
            if not request.page_token:
                return


def _final(task: Task) -> Final:
    return Final(
        task_id=task.id,
        request_id=task.request_id,
        payload=task.payload.decode(),
        state=task.state,
        attempts=task.attempts,
        due_us=instant_us(task.deliver_at),
        next_attempt_us=None if task.next_attempt_at is None else instant_us(task.next_attempt_at),
        steps=[Step(one.kind, instant_us(one.at), one.attempt, one.detail) for one in task.events],
    )


def _counts(peer: FaultyPeer) -> dict[str, int]:
    def connected() -> pymysql.Connection[pymysql.cursors.Cursor] | None:
        host = peer.service_address.rpartition(":")[0]
        with contextlib.suppress(pymysql.err.OperationalError):
            return pymysql.connect(host=host, port=peer.ports.sql, user="root", database="z4")
        return None

    counts: Counter[str] = Counter()
    with wait_for(connected, PATIENCE_S, f"SQL of {peer.name}") as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION z4_consistency = 'linearizable'")
        cursor.execute(_COUNT)
        for state, count in cursor.fetchall():
            counts[str(state)] = int(count)
    return dict(counts)


def _audited(peer: FaultyPeer) -> list[str]:
    """What contradicts itself in the stopped peer's store."""
    paths = [path for path in (peer.directory / "db").glob("state-*") if path.is_dir()]
    if len(paths) != 1:
        return [f"{len(paths)} stores"]
    machine = TaskMachine(paths[0])
    machine.open()
    try:
        return audit(machine.store)
    finally:
        machine.close()


def observe(
    cluster: FaultyCluster,
    seed: int,
    faults: Sequence[str],
    calm_s: float = 1.0,
    deliveries_min: int = 60,
) -> tuple[History, Ending]:
    """Run to the end; the peers are stopped then."""
    history = asyncio.run(run(cluster, seed, faults, calm_s, deliveries_min))
    found = ending(cluster)
    print(f"seed {seed}: {history.summary()}")
    return history, found


def judge(cluster: FaultyCluster, seed: int, faults: Sequence[str], replay: str, directory: Path) -> History:
    """Run and check; fails with the violations, the seed and how to run it again."""
    history, end = observe(cluster, seed, faults)
    found = violations(history, end, LIMITS)
    if found:
        saved = directory / f"history-{seed}.json"
        history.save(saved, end)
        listed = "\n".join(found[:20])
        raise AssertionError(f"{len(found)} violations:\n{listed}\nthe history: {saved}\nreplay: {replay}")
    return history


def main(words: list[str]) -> None:
    seed, names, directory = int(words[0]), words[1].split(","), Path(words[2])
    with NetworkCluster(directory) as cluster:
        cluster.heal()
        cluster.form()
        judge(cluster, seed, names, " ".join(["ledger_run", *words]), directory)


if __name__ == "__main__":
    main(sys.argv[1:])
