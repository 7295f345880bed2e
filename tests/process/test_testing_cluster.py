"""The cluster that users write their tests with."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from z4sql.client import Outcome, Task, Worker
from z4sql.testing import Clock, TestCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with TestCluster() as started:
        yield started


def test_a_moved_clock_makes_a_waiting_task_due_at_once(cluster: TestCluster) -> None:
    client = cluster.client
    at = cluster.clock.now() + timedelta(hours=3)
    task_id = client.create("later", deliver_at=at)
    with client.consume("later") as tasks:
        assert client.get("later", task_id).state == "scheduled"
        moved = time.monotonic()
        cluster.clock.advance(hours=3)
        delivery = next(iter(tasks))
        assert time.monotonic() - moved < 5
        assert delivery.task.id == task_id and delivery.task.last_attempt_at is not None
        assert delivery.task.last_attempt_at >= at
        assert delivery.ack() is Outcome.DONE


def test_time_goes_on_by_itself_and_never_back(cluster: TestCluster) -> None:
    before = cluster.clock.now()
    after = cluster.clock.advance_to(before + timedelta(minutes=1))
    assert after >= before + timedelta(minutes=1)
    with pytest.raises(ValueError, match="never goes back"):
        cluster.clock.advance(seconds=-1)
    with pytest.raises(ValueError, match="zone"):
        cluster.clock.advance_to(before.replace(tzinfo=None))


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_a_restart_amid_a_handler_costs_no_attempt_and_loses_nothing(
    cluster: TestCluster, crash: bool
) -> None:
    """The lease outlives the peer, and the ack finds it again."""
    namespace = f"restarted_{crash}"
    worker = Worker(cluster.address, timeout_s=30)
    began, restarted = threading.Event(), threading.Event()

    @worker.handler(namespace)
    def handle(_: Task) -> None:
        began.set()
        assert restarted.wait(60)

    at, task_id = cluster.clock.now(), cluster.client.create(namespace)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        assert began.wait(15)
        cluster.restart(crash=crash)
        restarted.set()
        deadline = time.monotonic() + 30
        while (task := cluster.client.get(namespace, task_id)).state != "done":
            assert time.monotonic() < deadline, task
            time.sleep(0.05)
    finally:
        restarted.set()
        worker.stop()
        running.join(30)
    assert task.attempts == 1 and cluster.clock.now() > at
    assert not running.is_alive()


def test_a_clock_is_shared_by_its_file(tmp_path: Path) -> None:
    ours, theirs = Clock(tmp_path / "clock"), Clock(tmp_path / "clock")
    ours.advance(days=2)
    assert abs(theirs.now_us() - ours.now_us()) < 60_000_000
    assert theirs.now_us() > time.time_ns() // 1000 + 2 * 86_400_000_000 - 1_000_000


def test_nothing_stays_behind_when_its_process_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from z4sql.testing import TestCluster\n"
        "cluster = TestCluster(); cluster.start()\n"
        "print(cluster._process.pid, cluster._directory, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid, directory = done.stdout.split()
    deadline = time.monotonic() + 15
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"the peer, process {pid}, outlived its parent"
        time.sleep(0.05)
    for path in sorted(Path(directory).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    os.rmdir(directory)


def test_the_fixture_serves_a_test_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["z4sql.testing.plugin"]\n')
    (tmp_path / "test_mine.py").write_text(
        "def test_mine(z4_cluster):\n"
        "    task_id = z4_cluster.client.create('mine', payload=b'x')\n"
        "    assert z4_cluster.client.get('mine', task_id).payload == b'x'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
