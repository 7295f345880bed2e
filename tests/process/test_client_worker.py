"""Workers: how handlers end, leases that outlast themselves, draining as a real process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from z4sql.client import Client, Dead, Retry, Task, Unavailable, Worker
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
        worker.stop()
        thread.join(10)
        assert not thread.is_alive(), "the worker did not stop"


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


class _Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def _retry_in(after_s: float) -> Exception:
    return Retry("later", after_s=after_s)


@pytest.mark.parametrize(
    ("name", "fail", "said"),
    [
        ("surrogates", lambda: ValueError("no \ud800"), r"ValueError: no \?"),
        ("wordless", _Wordless, "_Wordless: _Wordless without a text"),
        ("by_itself", asyncio.CancelledError, "the handler (was c|raised C)ancelled"),
        ("too_late", lambda: _retry_in(float("inf")), "ValueError: after_s must lie between 0 and 31622400"),
        ("never", lambda: _retry_in(float("nan")), "ValueError: after_s must lie between 0 and 31622400"),
    ],
)
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
def test_however_a_handler_fails_its_task_is_tried_again_later(
    cluster: TestCluster,
    caplog: pytest.LogCaptureFixture,
    name: str,
    fail: Callable[[], BaseException],
    said: str,
    plain: bool,
) -> None:
    # A log that holds surrogates cannot be sent to who reports the tests.
    caplog.set_level(logging.CRITICAL, "z4.worker")
    client, namespace = cluster.client, f"fails_{name}_{plain}"
    client.namespaces.set(namespace, backoff_min_ms=3_600_000)
    worker = Worker(cluster.address)

    async def handle(_: Task) -> None:
        raise fail()

    def handle_plainly(_: Task) -> None:
        raise fail()

    worker.handler(namespace)(handle_plainly if plain else handle)
    task_id = client.create(namespace)
    with running(worker):
        wait_for(lambda: client.get(namespace, task_id).last_error != "")
    task = client.get(namespace, task_id)
    assert (task.state, task.attempts) == ("scheduled", 1)
    assert re.search(said, task.last_error), task.last_error


def test_what_a_plain_handler_returns_is_waited_for(cluster: TestCluster) -> None:
    """A wrapper of an async handler returns what is still to be run: it is not done yet."""
    client = cluster.client
    worker = Worker(cluster.address)
    ran: list[str] = []

    async def work(task: Task) -> None:
        await asyncio.sleep(0.05)
        ran.append(task.id)

    worker.handler("wrapped")(lambda task: work(task))
    task_id = client.create("wrapped")
    with running(worker):
        wait_for(lambda: state(client, "wrapped", task_id) == "done")
    assert ran == [task_id]


def test_a_handler_that_ends_well_although_it_was_to_stop_is_done(cluster: TestCluster) -> None:
    client = cluster.client
    worker = Worker(cluster.address, grace_s=0.1)
    began = threading.Event()

    @worker.handler("hurried")
    async def handle(_: Task) -> None:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    task_id = client.create("hurried")
    with running(worker):
        assert began.wait(10)
    assert state(client, "hurried", task_id) == "done"


def test_a_worker_that_is_stopped_before_it_runs_ends_at_once(cluster: TestCluster) -> None:
    worker = Worker(cluster.address)
    worker.handler("stopped_first")(print)
    worker.stop()
    thread = threading.Thread(target=worker.run)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_a_namespace_that_nobody_knows_is_told(
    cluster: TestCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.client.namespaces.set("known")
    worker = Worker(cluster.address)
    worker.handler("known")(print)
    worker.handler("mistyped")(print)
    with running(worker):
        wait_for(lambda: "namespace_unknown" in caplog.text)
    assert "mistyped" in caplog.text and "=known" not in caplog.text


def test_a_worker_without_handlers_says_so() -> None:
    with pytest.raises(ValueError, match="no handlers"):
        Worker("127.0.0.1:1").run()


def test_what_cannot_be_a_handler_is_refused_when_it_is_registered() -> None:
    worker = Worker("127.0.0.1:1")

    def generator(_: Task) -> Iterator[None]:
        yield

    async def generates(_: Task) -> AsyncIterator[None]:
        yield

    for wrong in (generator, generates):
        with pytest.raises(TypeError, match="must not yield"):
            worker.handler("n")(wrong)
    with pytest.raises(TypeError, match="name the namespace"):
        worker.handler(print)  # type: ignore[arg-type]  # without parentheses
    for concurrency in (0, 10_001):
        with pytest.raises(ValueError, match="concurrency must lie between 1 and 10000"):
            worker.handler("n", concurrency=concurrency)


def test_a_worker_whose_cluster_is_not_there_says_where_it_looked() -> None:
    worker = Worker(["127.0.0.1:1", "127.0.0.1:2"], timeout_s=0.5)
    worker.handler("n")(print)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1, 127\.0\.0\.1:2 .*refused.*: check the endpoints"):
        worker.run()


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
