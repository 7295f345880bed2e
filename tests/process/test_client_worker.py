"""Workers: how handlers end, leases that outlast themselves, draining as a real process."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from z4sql.client import Client, Dead, Retry, Task, Worker
from z4sql.testing import TestCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with TestCluster() as started:
        yield started


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        deadline = time.monotonic() + 10
        while thread.is_alive():
            worker.stop()
            thread.join(0.05)
            assert time.monotonic() < deadline, "the worker did not stop"


def wait_for(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def state(client: Client, namespace: str, task_id: str) -> str:
    return client.get(namespace, task_id, linearizable=True).state


def test_a_handler_that_returns_acknowledges_and_one_that_raises_gives_back(cluster: TestCluster) -> None:
    client = cluster.client
    client.namespaces.set("verdicts", attempts_max=3, backoff_min_ms=1, backoff_max_ms=1)
    worker = Worker(cluster.address, name="verdicts-worker")
    seen: dict[str, list[Task]] = {}

    @worker.handler("verdicts", concurrency=4)
    async def handle(task: Task) -> None:
        seen.setdefault(task.payload.decode(), []).append(task)
        match task.payload:
            case b"fine":
                return
            case b"once more":
                if task.attempts == 1:
                    raise Retry("not yet", after_s=0.01)
            case b"hopeless":
                raise Dead("no such address")
            case _:
                raise OSError("no route")

    ids = {
        name: client.create("verdicts", payload=name.encode())
        for name in ("fine", "once more", "hopeless", "broken")
    }
    ends = {"fine": "done", "once more": "done", "hopeless": "dead", "broken": "dead"}
    with running(worker):
        wait_for(lambda: all(state(client, "verdicts", ids[name]) == end for name, end in ends.items()))
    assert {name: len(tasks) for name, tasks in seen.items()} == {
        "fine": 1, "once more": 2, "hopeless": 1, "broken": 3,
    }  # fmt: skip
    assert seen["once more"][1].last_error == "not yet"
    assert client.get("verdicts", ids["hopeless"]).last_error == "no such address"
    assert client.get("verdicts", ids["broken"]).last_error == "OSError: no route"
    assert "verdicts-worker" in {event.detail for event in client.get("verdicts", ids["fine"]).events}


def test_plain_functions_run_in_threads_beside_each_other(cluster: TestCluster) -> None:
    client = cluster.client
    worker = Worker(cluster.address)
    together = threading.Barrier(5, timeout=10)

    @worker.handler("threads", concurrency=5)
    def handle(_: Task) -> None:
        together.wait()

    ids = [client.create("threads") for _ in range(10)]
    with running(worker):
        wait_for(lambda: all(state(client, "threads", one) == "done" for one in ids))
    assert all(client.get("threads", one).attempts == 1 for one in ids)


def test_concurrency_bounds_what_runs_and_what_is_leased(cluster: TestCluster) -> None:
    client = cluster.client
    worker = Worker(cluster.address)
    now, most = 0, 0

    @worker.handler("bounded", concurrency=3)
    async def handle(_: Task) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1

    ids = [client.create("bounded") for _ in range(30)]
    with running(worker):
        wait_for(lambda: all(state(client, "bounded", one) == "done" for one in ids))
    assert most == 3


def test_a_handler_may_take_longer_than_its_lease(cluster: TestCluster) -> None:
    client = cluster.client
    worker = Worker(cluster.address)
    calls = []

    @worker.handler("long", lease=timedelta(milliseconds=300))
    async def handle(task: Task) -> None:
        calls.append(task.attempts)
        await asyncio.sleep(1.2)

    task_id = client.create("long")
    with running(worker):
        wait_for(lambda: state(client, "long", task_id) == "done")
    assert calls == [1]
    assert "extended" in {event.kind for event in client.get("long", task_id).events}


def test_a_handler_whose_task_is_taken_away_is_cancelled(cluster: TestCluster) -> None:
    client = cluster.client
    worker = Worker(cluster.address)
    started, cancelled = threading.Event(), threading.Event()

    @worker.handler("taken", lease=timedelta(milliseconds=300))
    async def handle(_: Task) -> None:
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task_id = client.create("taken")
    with running(worker):
        assert started.wait(10)
        client.cancel("taken", task_id)
        assert cancelled.wait(10)
    assert state(client, "taken", task_id) == "canceled"


def test_a_worker_without_handlers_says_so() -> None:
    with pytest.raises(ValueError, match="no handlers"):
        Worker("127.0.0.1:1").run()


PROGRAM = """
import asyncio, sys, time
from z4sql.client import Worker
worker = Worker(sys.argv[1], grace_s=float(sys.argv[2]))

@worker.handler("drained", concurrency=2)
async def slow(task):
    print("began", task.id, flush=True)
    await asyncio.sleep(float(task.payload))
    print("ended", task.id, flush=True)

@worker.handler("drained-threads", concurrency=1)
def stuck(task):
    print("began", task.id, flush=True)
    time.sleep(60)

worker.run()
"""


@contextmanager
def program(cluster: TestCluster, grace_s: float, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    path = tmp_path / "worker.py"
    path.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(path), cluster.address, str(grace_s)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_sigterm_finishes_what_runs_and_takes_no_more(cluster: TestCluster, tmp_path: Path) -> None:
    client = cluster.client
    ids = [client.create("drained", payload=b"1") for _ in range(4)]
    with program(cluster, 20, tmp_path) as process:
        assert process.stdout is not None
        began = {process.stdout.readline().split()[1] for _ in range(2)}
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    assert sorted(output.split()) == sorted(["ended", "ended", *began])
    states = {one: client.get("drained", one, linearizable=True) for one in ids}
    assert {one for one, task in states.items() if task.state == "done"} == began
    assert {task.attempts for one, task in states.items() if one not in began} == {0}
    client.change_tasks("drained", "purge")


def test_what_outlasts_the_grace_period_is_given_back_at_once(cluster: TestCluster, tmp_path: Path) -> None:
    client = cluster.client
    slow = client.create("drained", payload=b"60")
    stuck = client.create("drained-threads")
    with program(cluster, 0.3, tmp_path) as process:
        assert process.stdout is not None
        began = {process.stdout.readline().split()[1] for _ in range(2)}
        assert began == {slow, stuck}
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert process.returncode == 0
    for namespace, task_id in (("drained", slow), ("drained-threads", stuck)):
        task = client.get(namespace, task_id, linearizable=True)
        assert (task.state, task.attempts) == ("scheduled", 1)
        assert "given back" in task.last_error
