"""Lease, deliver and acknowledge: z4 with three peers, beside beanstalkd and Redis, fsync for every write.

``python -m tests.bench.queues [--tasks N] [--scheduled N,N,...]``. Every system delivers each task here, and
says so: what was acknowledged is counted against what was created. Then the same tasks again, while N others
are scheduled for the coming weeks: what a task costs should not depend on them. That is measured twice: while
the stores still merge what they just took in, and when they have come to rest.

Redis: a sorted set by due time and a hash of bodies, `appendfsync always`; taking moves a batch to a second
set within a script, acknowledging removes it. beanstalkd: `-f 0`, a put, a reserve and a delete for each
task, pipelined.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from tests.bench import http2
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, free_ports

BATCH: Final = 200
CREDIT: Final = 2_000
_BODY: Final = b"x" * 100
_SHARES: Final = (50, 90, 99, 99.9)
_CONSUME: Final = "/z4.Queue/Consume"
_REST_TIMEOUT_S: Final = 180.0
_RESTING_SHARE: Final = 0.15
"""Of one processor, all processes together."""


@dataclass(slots=True)
class Run:
    """How one system did. Rates are tasks per second of wall clock; ``costs`` what its processes worked."""

    name: str
    created_per_second: float
    consumed_per_second: float
    costs: str = ""

    def __str__(self) -> str:
        return (
            f"{self.name:<44} create {self.created_per_second:>9,.0f}/s"
            f"   take+deliver+acknowledge {self.consumed_per_second:>9,.0f}/s{self.costs}"
        )


class Work:
    """Time on the processors, user and system, of a system's processes by what they are called."""

    def __init__(self, processes: Mapping[str, Sequence[int]]) -> None:
        self._processes = processes
        self._began_s = self._taken_s()

    def _taken_s(self) -> dict[str, float]:
        return {name: sum(map(_processor_s, found)) for name, found in self._processes.items()}

    def since_us(self, count: int) -> str:
        """Microseconds for each of ``count`` tasks since the last call."""
        began_s, self._began_s = self._began_s, self._taken_s()
        parts = [
            f"{name} {(self._began_s[name] - before_s) / count * 1e6:.1f}"
            for name, before_s in began_s.items()
        ]
        return f"{', '.join(parts)} us of CPU a task"

    def wait_for_rest(self) -> str:
        """Until the processes hardly work: stores merge files after they took much in. How it went."""
        first_s, began_s = sum(self._taken_s().values()), time.monotonic()
        former_s, former_at_s = first_s, began_s
        while (now_s := time.monotonic()) < began_s + _REST_TIMEOUT_S:
            time.sleep(1)
            taken_s, now_s = sum(self._taken_s().values()), time.monotonic()
            if (taken_s - former_s) / (now_s - former_at_s) < _RESTING_SHARE:
                return f"at rest {now_s - began_s:.0f} s later, {taken_s - first_s:.0f} s of CPU"
            former_s, former_at_s = taken_s, now_s
        return f"not at rest after {_REST_TIMEOUT_S:.0f} s, {former_s - first_s:.0f} s of CPU"


def _processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processes_of(cluster: LocalCluster) -> dict[str, list[int]]:
    """The first peer leads. Each peer has a child that answers SQL."""
    pids = [peer.pid for peer in cluster.peers if peer.pid is not None]
    return {
        "leader": pids[:1],
        "followers": pids[1:],
        "SQL": [child for pid in pids for child in _children(pid)],
    }


def _children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


def percentiles(values: Sequence[float]) -> str:
    ordered = sorted(values)
    found = {share: ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] for share in _SHARES}
    return ", ".join(f"p{share:g} {value * 1000:.1f} ms" for share, value in found.items())


def _tasks(namespace: str, count: int, due_us: int, step_us: int = 0) -> Iterator[bytes]:
    """Requests to create ``count`` tasks, those of each request due ``step_us`` after the former's."""
    task = pb.CreateTaskRequest(
        namespace=namespace, metadata={"user_id": "u1", "template": "t"}, payload=_BODY
    )
    for number, at in enumerate(range(0, count, BATCH)):
        task.deliver_at.FromMicroseconds(due_us + number * step_us)
        yield pb.CreateTasksRequest(tasks=[task] * min(BATCH, count - at)).SerializeToString()


class Consumer:
    """Queue.Consume over bare HTTP/2 frames: acknowledges what comes in, and says how late each task was."""

    def __init__(self, address: tuple[str, int], namespace: str, expected: int) -> None:
        self._address = address
        self._namespace = namespace
        self._expected = expected
        self._partial = b""
        self._acked = 0
        self.lateness_s: list[float] = []
        self.tokens: set[int] = set()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_connection(
            lambda: http2.Connection(lambda *_: self._fail(), self._received), *self._address
        )
        self._stream = self._connection.open(http2.request_headers(_CONSUME))
        start = pb.ConsumeRequest(
            start=pb.ConsumeStart(namespaces=[self._namespace], consumer="bench"), credit=CREDIT
        )
        self._connection.send(self._stream, http2.message(start.SerializeToString()))

    def close(self) -> None:
        self._connection.close()

    def _fail(self) -> None:
        if not self.done.done():
            self.done.set_exception(http2.CallFailed("the stream ended by itself"))

    def _received(self, _stream: int, data: bytes) -> None:
        data = self._partial + data
        at = 0
        now_s = time.time()
        request = pb.ConsumeRequest()
        while len(data) - at >= 5:
            length = int.from_bytes(data[at + 1 : at + 5], "big")
            if len(data) - at < 5 + length:
                break
            response = pb.ConsumeResponse.FromString(data[at + 5 : at + 5 + length])
            at += 5 + length
            for delivery in response.deliveries:
                due = delivery.task.deliver_at
                self.lateness_s.append(now_s - due.seconds - due.nanos / 1e9)
                request.acks.add(lease_token=delivery.lease_token)
            for settled in response.settled:
                assert settled.status == 0, settled.message
                self.tokens.add(settled.lease_token)
        self._partial = data[at:]
        if request.acks:
            request.credit = len(request.acks)
            for first in range(0, len(request.acks), 500):
                part = pb.ConsumeRequest(acks=request.acks[first : first + 500])
                part.credit = len(part.acks)
                self._connection.send(self._stream, http2.message(part.SerializeToString()))
        if len(self.tokens) >= self._expected and not self.done.done():
            self.done.set_result(None)


async def _create(address: tuple[str, int], bodies: Iterable[bytes]) -> None:
    done = asyncio.get_running_loop().create_future()
    waiting, sent, ended, answered = iter(bodies), 0, 0, 0

    def on_end(_stream: int, _started: float) -> None:
        nonlocal ended
        ended += 1
        if not send() and ended == sent:
            done.set_result(None)

    def on_data(_stream: int, _data: bytes) -> None:
        nonlocal answered
        answered += 1

    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: http2.Connection(on_end, on_data), *address
    )
    headers = http2.request_headers("/z4.Collection/CreateTasks")

    def send() -> bool:
        nonlocal sent
        request = next(waiting, None)
        if request is None:
            return False
        sent += 1
        stream = connection.open(headers)
        body = http2.message(request)
        for at in range(0, len(body), 16_384):
            connection.send(stream, body[at : at + 16_384], end=at + 16_384 >= len(body))
        return True

    for _ in range(8):
        send()
    await asyncio.wait_for(done, 3600)
    connection.close()
    assert answered >= sent, "every batch was answered with a message"


async def z4_throughput(address: tuple[str, int], namespace: str, count: int, work: Work) -> Run:
    """Create tasks that are due at once while nobody consumes, then let one consumer take them all."""
    bodies = list(_tasks(namespace, count, int(time.time() * 1e6)))
    work.since_us(count)
    began_s = time.perf_counter()
    await _create(address, bodies)
    created_s = time.perf_counter()
    creating = work.since_us(count)
    consumer = Consumer(address, namespace, count)
    await consumer.start()
    await asyncio.wait_for(consumer.done, 600)
    ended_s = time.perf_counter()
    consumer.close()
    assert min(consumer.lateness_s) >= 0, "nothing early"
    return Run(
        "z4, three peers",
        count / (created_s - began_s),
        count / (ended_s - created_s),
        f"\n    create: {creating}\n    take+deliver+acknowledge: {work.since_us(count)}",
    )


async def z4_lateness(address: tuple[str, int], namespace: str, per_second: int, seconds: int) -> list[float]:
    """Tasks spread evenly over the coming seconds, consumed as they become due."""
    first_us = int((time.time() + 3) * 1e6)
    bodies = []
    for second in range(seconds):
        request = pb.CreateTasksRequest()
        for number in range(per_second):
            due_us = first_us + second * 1_000_000 + number * 1_000_000 // per_second
            task = request.tasks.add(namespace=namespace, payload=_BODY)
            task.deliver_at.seconds, task.deliver_at.nanos = divmod(due_us * 1000, 1_000_000_000)
        bodies.append(request.SerializeToString())
    consumer = Consumer(address, namespace, per_second * seconds)
    await consumer.start()
    await _create(address, bodies)
    await asyncio.wait_for(consumer.done, seconds + 60)
    consumer.close()
    return consumer.lateness_s


class Redis:
    """A server of its own, spoken to with pipelined commands."""

    _TAKE = (
        "local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2]) "
        "local out = {} for _, id in ipairs(due) do redis.call('ZREM', KEYS[1], id) "
        "redis.call('ZADD', KEYS[2], ARGV[3], id) out[#out + 1] = id "
        "out[#out + 1] = redis.call('HGET', KEYS[3], id) end "
        "return out"
    )

    def __init__(self, directory: Path) -> None:
        path = directory / "redis.sock"
        self._process = subprocess.Popen(
            [
                "redis-server",
                "--port",
                "0",
                "--unixsocket",
                str(path),
                "--dir",
                str(directory),
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
                "--daemonize",
                "no",
            ],  # fmt: skip
            stdout=subprocess.DEVNULL,
        )
        self._socket = _connected(path)
        self._reader = self._socket.makefile("rb")

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    def run(self, count: int) -> Run:
        began_s = time.perf_counter()
        due = str(time.time()).encode()
        for first in range(0, count, BATCH):
            ids = [b"%d" % n for n in range(first, min(first + BATCH, count))]
            pairs = [part for task_id in ids for part in (due, task_id)]
            bodies = [part for task_id in ids for part in (task_id, _BODY)]
            self._send((b"MULTI",), (b"ZADD", b"due", *pairs), (b"HSET", b"body", *bodies), (b"EXEC",))
            for _ in range(4):
                self._read()
        created_s = time.perf_counter()
        done = 0
        while done < count:
            now = time.time()
            script = (b"EVAL", self._TAKE.encode(), b"3", b"due", b"leased", b"body")
            self._send((*script, str(now).encode(), b"%d" % BATCH, str(now + 300).encode()))
            taken = self._read()
            assert isinstance(taken, list)
            ids = taken[::2]
            self._send((b"MULTI",), (b"ZREM", b"leased", *ids), (b"HDEL", b"body", *ids), (b"EXEC",))
            for _ in range(4):
                self._read()
            done += len(ids)
        ended_s = time.perf_counter()
        return Run(
            "Redis, one server, appendfsync always",
            count / (created_s - began_s),
            count / (ended_s - created_s),
        )

    def _send(self, *commands: tuple[bytes, ...]) -> None:
        parts = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            parts += [b"$%d\r\n%s\r\n" % (len(one), one) for one in command]
        self._socket.sendall(b"".join(parts))

    def _read(self) -> object:
        line = self._reader.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise http2.CallFailed(rest.decode())
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self._reader.read(int(rest) + 2)[:-2]
        return rest


class Beanstalkd:
    """A server of its own; puts, reserves and deletes are pipelined in batches."""

    def __init__(self, directory: Path) -> None:
        log, path = directory / "beanstalkd", directory / "beanstalkd.sock"
        log.mkdir()
        self._process = subprocess.Popen(["beanstalkd", "-l", f"unix:{path}", "-b", str(log), "-f", "0"])
        self._socket = _connected(path)
        self._reader = self._socket.makefile("rb")

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    def run(self, count: int) -> Run:
        began_s = time.perf_counter()
        put = b"put 0 0 300 %d\r\n%s\r\n" % (len(_BODY), _BODY)
        for first in range(0, count, BATCH):
            size = min(BATCH, count - first)
            self._socket.sendall(put * size)
            for _ in range(size):
                assert self._reader.readline().startswith(b"INSERTED")
        created_s = time.perf_counter()
        for first in range(0, count, BATCH):
            size = min(BATCH, count - first)
            self._socket.sendall(b"reserve\r\n" * size)
            jobs = []
            for _ in range(size):
                _, job, length = self._reader.readline().split()
                self._reader.read(int(length) + 2)
                jobs.append(job)
            self._socket.sendall(b"".join([b"delete %s\r\n" % job for job in jobs]))
            for _ in range(size):
                assert self._reader.readline() == b"DELETED\r\n"
        ended_s = time.perf_counter()
        return Run(
            "beanstalkd, one server, -f 0", count / (created_s - began_s), count / (ended_s - created_s)
        )


def _connected(path: Path) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            assert time.monotonic() < deadline, f"nobody listens on {path}"
            time.sleep(0.02)
        else:
            return connection


def _resident_bytes(process: int) -> int:
    fields = Path(f"/proc/{process}/status").read_text()
    return int(fields.split("VmRSS:")[1].split()[0]) * 1024


async def _schedule(
    address: tuple[str, int], processes: Mapping[str, Sequence[int]], work: Work, before: int, count: int
) -> None:
    """Memory, and the cost of a creation, as tasks that are far from due go from ``before`` to ``count``."""
    far_us = int((time.time() + 86_400) * 1e6)
    step_us = 28 * 86_400_000_000 // max(count // BATCH, 1)
    work.since_us(1)
    began_s = time.perf_counter()
    await _create(address, _tasks("far", count - before, far_us, step_us))
    rate = (count - before) / (time.perf_counter() - began_s)
    memory = ", ".join(
        f"{name} {sum(map(_resident_bytes, found)) / len(found) / (1 << 20):,.0f}"
        for name, found in processes.items()
        if found
    )
    print(
        f"{count:,} scheduled: the last {count - before:,} created at {rate:,.0f}/s"
        f"\n    create: {work.since_us(count - before)}\n    memory in MiB, each: {memory}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50_000, help="created and consumed by each system")
    parser.add_argument(
        "--scheduled", default="1000000", help="tasks in store for further rounds: one number or several"
    )
    parser.add_argument("--rate", type=int, default=1_000, help="tasks due a second, for lateness")
    parser.add_argument("--seconds", type=int, default=15, help="how long, for lateness")
    options = parser.parse_args()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="z4-bench-") as directory:
        with LocalCluster(Path(directory), free_ports(3)) as cluster:
            cluster.form()
            leader = cluster.peers[0]
            address = ("127.0.0.1", leader.ports.service)
            processes = processes_of(cluster)
            work = Work(processes)
            runs.append(uvloop.run(z4_throughput(address, "first", options.tasks, work)))
            print(runs[0], flush=True)
            lateness = uvloop.run(z4_lateness(address, "late", options.rate, options.seconds))
            print(
                f"lateness at {options.rate}/s due: {percentiles(lateness)} (n={len(lateness)})", flush=True
            )
            stored = 0
            for level in sorted(int(number) for number in options.scheduled.split(",")):
                if level == 0:
                    continue
                uvloop.run(_schedule(address, processes, work, stored, level))
                stored = level
                for when in ("straight after they were created", "at rest"):
                    if when == "at rest":
                        print(work.wait_for_rest(), flush=True)
                    namespace = f"beside-{level}-{when.replace(' ', '-')}"
                    again = uvloop.run(z4_throughput(address, namespace, options.tasks, work))
                    print(f"{again}\n    with {level:,} others scheduled, {when}", flush=True)
                    ratio = again.consumed_per_second / runs[0].consumed_per_second
                    print(f"ratio full/empty: {ratio:.2f}", flush=True)
        servers: tuple[tuple[str, Callable[[Path], Redis | Beanstalkd]], ...] = (
            ("redis-server", Redis),
            ("beanstalkd", Beanstalkd),
        )
        for program, start in servers:
            if shutil.which(program) is None:
                print(f"{program} is not installed: no ratio")
                continue
            server = start(Path(directory))
            try:
                runs.append(server.run(options.tasks))
            finally:
                server.close()
            print(runs[-1], flush=True)
            created = runs[0].created_per_second / runs[-1].created_per_second
            consumed = runs[0].consumed_per_second / runs[-1].consumed_per_second
            print(f"ratio z4/{program}: create {created:.2f}, consume {consumed:.2f}", flush=True)


if __name__ == "__main__":
    main()
