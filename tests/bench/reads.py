"""Queries over a million tasks of one namespace, beside MariaDB or MySQL with the same rows in the same run.

``python -m tests.bench.reads [--tasks N] [--alone] [--stored N]``

Each query runs a first time, after some seconds of quiet behind the loading, and then again as a dashboard
would that refreshes: with a range that ends elsewhere each time (moved), and with the very same text; at the
end once more as the first query of all after a restart of the SQL process, or of the other server with an
empty buffer pool (the kernel has the files of both in memory). CPU is what the SQL process or the other
server used for one run; wall time also has what else the machine does. With ``--stored 10000000`` nothing
else is measured than narrow ranges, when a tenth of the tasks is there and when all are: what is stored
beside them must not count. Be patient.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

import pymysql
import pymysql.cursors
import uvloop

from tests.bench.reference import Reference, program
from z4sql.cli.local_cluster import LocalCluster, free_ports
from z4sql.client import AsyncClient, NewTask

START: Final = datetime(2030, 1, 1, tzinfo=UTC)
SPAN: Final = timedelta(days=10)
RANGE: Final = "namespace = 'bench' AND deliver_at >= '2030-01-01' AND deliver_at < '2031-01-01'"
HALF: Final = "namespace = 'bench' AND deliver_at >= '2030-01-06' AND deliver_at < '2031-01-01'"
"""Of a part of a namespace no counter tells anything."""
NARROW: Final = "namespace = 'bench' AND deliver_at >= '2030-01-03 00:00:00' AND deliver_at < '{until}'"
KEY: Final = "JSON_EXTRACT(metadata, '$.user_id') = 'user77@example.com'"
QUERIES: Final = {
    "10 rows": f"SELECT * FROM tasks WHERE {NARROW}",
    "10 rows, one key": f"SELECT * FROM tasks WHERE {NARROW} AND {KEY}",
    "top 20": f"SELECT id, deliver_at FROM tasks WHERE {RANGE} ORDER BY deliver_at LIMIT 20",
    "newest 20 of key": (
        f"SELECT id, deliver_at FROM tasks WHERE {RANGE} AND {KEY} ORDER BY deliver_at DESC LIMIT 20"
    ),
    "count": f"SELECT COUNT(*) FROM tasks WHERE {RANGE}",
    "count of key": (
        f"SELECT COUNT(*) FROM tasks WHERE {RANGE} AND JSON_EXTRACT(metadata, '$.tenant') = 'tenant7'"
    ),
    "filtered rows": f"SELECT * FROM tasks WHERE {RANGE} AND {KEY}",
    "grouped by key": (
        "SELECT JSON_UNQUOTE(JSON_EXTRACT(metadata, '$.region')) AS region, COUNT(*) FROM tasks"
        f" WHERE {RANGE} GROUP BY region ORDER BY region"
    ),
    "grouped by state": f"SELECT state, COUNT(*) FROM tasks WHERE {RANGE} GROUP BY state",
    "half by state": f"SELECT state, COUNT(*) FROM tasks WHERE {HALF} GROUP BY state",
    "histogram": (
        "SELECT DATE_FORMAT(deliver_at, '%Y-%m-%d %H:00:00') AS hour, COUNT(*) FROM tasks"
        f" WHERE {RANGE} GROUP BY hour ORDER BY hour"
    ),
}
TARGETS: Final = {
    "filtered rows": 5.0,
    "count of key": 5.0,
    "grouped by key": 5.0,
    "grouped by state": 5.0,
    "histogram": 5.0,
}
"""How many times as fast as the other server a refresh should be, also one whose range moved."""
DASHBOARD: Final = ("count of key", "grouped by key", "grouped by state", "histogram", "10 rows")
DASHBOARDS: Final = 32
DASHBOARDS_S: Final = 20.0
NARROW_TITLES: Final = ("10 rows", "10 rows, one key", "top 20")
SPREAD_RUNS: Final = 500
REPEATED_MIN: Final = 3
REPEATED_MAX: Final = 500
REPEATED_MS: Final = 1_500.0
CPU_STEP_MS: Final = 10.0
"""Of the kernel's count: a single run of less CPU than that is told as that."""
QUIET_S: Final = 10.0
"""Between the loading and the first query, of both."""
START_TIMEOUT_S: Final = 60.0
FROM_2030: Final = " AND deliver_at >= '2030-01-01' AND deliver_at < '2040-01-01'"
FULL: Final = f"SELECT namespace, id, deliver_at, metadata FROM tasks WHERE {RANGE}"

Connection: TypeAlias = "pymysql.connections.Connection[pymysql.cursors.Cursor]"


@dataclass(slots=True)
class Run:
    """Wall time and the server's CPU of one run of a query."""

    wall_ms: float
    cpu_ms: float

    def __str__(self) -> str:
        return f"{self.wall_ms:8.1f} ms, CPU {self.cpu_ms:7.1f} ms"

    def ratios(self, other: Run) -> str:
        """How many times as fast as another one."""
        return f"{other.wall_ms / self.wall_ms:9.2f} {other.cpu_ms / self.cpu_ms:8.2f}"


@dataclass(slots=True)
class Timing:
    """Of one query."""

    settled: Run
    moved: Run
    refresh: Run
    rows: int
    restarted: Run | None = None


@dataclass(slots=True)
class Server:
    """A server under test: how to connect, its process, whose CPU and memory count, how to start it again."""

    connect: Callable[[], Connection]
    process_id: int
    restart: Callable[[], Server]

    def cpu_ms(self) -> float:
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process_id}/status").read_text())
        return int(found[1]) // 1024 if found is not None else 0


def step(count: int) -> timedelta:
    return SPAN / count


def queries(count: int) -> dict[str, str]:
    """The queries, with a narrow range of ten rows."""
    until = datetime(2030, 1, 3) + 10 * step(count)
    return {name: query.replace("{until}", f"{until}") for name, query in QUERIES.items()}


def tasks(numbers: Iterable[int], apart: timedelta) -> Iterator[NewTask]:
    for n in numbers:
        at = START + n * apart
        yield NewTask(namespace="bench", deliver_at=at, metadata=metadata(n), payload=b"x" * 60)


def metadata(n: int) -> dict[str, str]:
    return {
        "region": ("us-east-1", "eu-west-1", "ap-south-1")[n % 3],
        "tenant": f"tenant{n % 50}",
        "user_id": f"user{n % 5000}@example.com",
    }


async def fill(endpoint: str, source: Iterator[NewTask]) -> None:
    async with AsyncClient(endpoint, timeout_s=60) as client:

        async def caller() -> None:
            while batch := [task for _, task in zip(range(500), source, strict=False)]:
                for result in await client.create_many(batch):
                    assert isinstance(result, str), result

        await asyncio.gather(*(caller() for _ in range(4)))


def changing(count: int) -> Iterator[str]:
    """Ranges of ten rows, each another one."""
    for n in range(SPREAD_RUNS):
        since = datetime(2030, 1, 4) + n * step(count)
        yield (
            f"SELECT * FROM tasks WHERE namespace = 'bench' AND deliver_at >= '{since}'"
            f" AND deliver_at < '{since + 10 * step(count)}'"
        )


def copies(numbers: Iterable[int], apart: timedelta) -> Iterator[tuple[str, ...]]:
    for n in numbers:
        at = (START + n * apart).strftime("%Y-%m-%d %H:%M:%S.%f")
        yield "bench", f"{n:026d}", at, json.dumps(metadata(n)), "x" * 60, "scheduled"


def once(server: Server, connection: Connection, query: str) -> tuple[Run, int]:
    """One run, and how many rows it gave."""
    used_ms = server.cpu_ms()
    with connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute(query)
        rows = len(cursor.fetchall())
        wall_ms = (time.perf_counter() - started) * 1000
        return Run(wall_ms, max(server.cpu_ms() - used_ms, CPU_STEP_MS)), rows


def timed(server: Server, connection: Connection, query: str) -> Timing:
    """The first run, and those behind it."""
    first, rows = once(server, connection, query)
    moved = repeated(server, connection, (ending_before(query, n) for n in itertools.count(1)), rows)
    refresh = repeated(server, connection, itertools.repeat(query), rows)
    return Timing(first, moved, refresh, rows)


def repeated(server: Server, connection: Connection, asked: Iterator[str], rows: int) -> Run:
    """The fastest of many runs, with the mean of their CPU."""
    fastest_ms, spent_ms, runs = float("inf"), 0.0, 0
    used_ms = server.cpu_ms()
    while runs < REPEATED_MIN or (runs < REPEATED_MAX and spent_ms < REPEATED_MS):
        query = next(asked)
        run, found = once(server, connection, query)
        assert found == rows, f"{found} rows are not {rows}: {query}"
        fastest_ms, spent_ms, runs = min(fastest_ms, run.wall_ms), spent_ms + run.wall_ms, runs + 1
    return Run(fastest_ms, max(server.cpu_ms() - used_ms, CPU_STEP_MS) / runs)


def ending_before(query: str, microseconds: int) -> str:
    """The query with a range that ends earlier; no task is so near to its end."""
    head, found, tail = re.split(r"(?<=deliver_at < ')([^']+)", query, maxsplit=1)
    return f"{head}{datetime.fromisoformat(found) - timedelta(microseconds=microseconds)}{tail}"


def streamed(server: Server, query: str) -> str:
    """The whole result, read row by row: rows a second, and by how much the server grew."""
    before_mb = most_mb = server.resident_mb()
    used_ms, started, rows = server.cpu_ms(), time.perf_counter(), 0
    with server.connect() as connection, connection.cursor(pymysql.cursors.SSCursor) as cursor:
        cursor.execute(query)
        while found := cursor.fetchmany(20_000):
            rows += len(found)
            most_mb = max(most_mb, server.resident_mb())
    took_s = time.perf_counter() - started
    cpu_us = (server.cpu_ms() - used_ms) * 1000 / max(rows, 1)
    return f"{rows} rows  {rows / took_s:10.0f} rows/s  CPU {cpu_us:5.2f} us/row  +{most_mb - before_mb} MB"


def dashboards(server: Server, panels: list[str], *, moving: bool) -> str:
    """Many people look at the same panels at once; each refreshes twice, unless time is up.

    ``moving``: each time with another end of the range.
    """
    waits_ms: list[float] = []
    failures: list[Exception] = []

    def look(at: int) -> None:
        try:
            with server.connect() as connection, connection.cursor() as cursor:
                for number in range(at, at + 2 * len(panels)):
                    if time.perf_counter() - began > DASHBOARDS_S:
                        return
                    panel = panels[number % len(panels)]
                    panel = ending_before(panel, at * len(panels) + number) if moving else panel
                    started = time.perf_counter()
                    cursor.execute(panel)
                    cursor.fetchall()
                    waits_ms.append((time.perf_counter() - started) * 1000)
        except Exception as error:
            failures.append(error)

    used_ms, began = server.cpu_ms(), time.perf_counter()
    threads = [threading.Thread(target=look, args=(at,)) for at in range(DASHBOARDS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    waits_ms.sort()
    took_s = time.perf_counter() - began
    cpu_ms = (server.cpu_ms() - used_ms) / len(waits_ms)
    return (
        f"{len(waits_ms) / took_s:8.1f} queries/s  p50 {waits_ms[len(waits_ms) // 2]:8.0f} ms"
        f"  p99 {waits_ms[len(waits_ms) * 99 // 100]:8.0f} ms  CPU {cpu_ms:8.1f} ms/query"
    )


def sql_process(port: int) -> int:
    """The process that listens on a port of loopback."""
    inodes = {
        line.split()[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {os.readlink(file) for file in (process / "fd").iterdir()}
        except OSError:
            continue
        if links & {f"socket:[{inode}]" for inode in inodes}:
            return int(process.name)
    raise LookupError(f"nobody listens on port {port}")


def measure(server: Server, count: int, name: str) -> dict[str, Timing]:
    asked = queries(count)
    time.sleep(QUIET_S)
    print(f"{name:<8} memory             {server.resident_mb()} MB")
    with server.connect() as connection:
        found = {}
        for title, query in asked.items():
            timing = found[title] = timed(server, connection, query)
            runs = f"first {timing.settled}   moved {timing.moved}   refresh {timing.refresh}"
            print(f"{name:<8} {title:<18} {runs}   {timing.rows} rows", flush=True)
        print(f"{name:<8} 10 rows, others    {spread(server, connection, changing(count))}", flush=True)
    print(f"{name:<8} full result        {streamed(server, FULL)}", flush=True)
    panels = [asked[title] for title in DASHBOARD]
    for title, moving in (("dashboards", False), ("moving ones", True)):
        told = dashboards(server, panels, moving=moving)
        print(f"{name:<8} {DASHBOARDS} {title:<15} {told}", flush=True)
    print(f"{name:<8} memory             {server.resident_mb()} MB", flush=True)
    for title, query in asked.items():
        server = server.restart()
        with server.connect() as connection:
            found[title].restarted, rows = once(server, connection, query)
        assert rows == found[title].rows, f"{rows} rows are not {found[title].rows}: {query}"
        print(f"{name:<8} {title:<18} restarted {found[title].restarted}", flush=True)
    return found


def ours(directory: Path, count: int) -> dict[str, Timing]:
    with LocalCluster(directory, free_ports(3)) as cluster:
        cluster.form()
        uvloop.run(fill(cluster.peers[0].service_address, tasks(range(count), step(count))))
        server = served(cluster)
        await_last(server, START + (count - 1) * step(count))
        return measure(server, count, "z4")


def served(cluster: LocalCluster) -> Server:
    port = cluster.peers[0].ports.sql

    def connect() -> Connection:
        return pymysql.connect(host="127.0.0.1", port=port, user="root", database="z4")

    server = Server(connect, sql_process(port), lambda: restarted(cluster, server))
    return server


def restarted(cluster: LocalCluster, server: Server) -> Server:
    """Another SQL process, as soon as it answers: the peer starts one when the former ends."""
    os.kill(server.process_id, signal.SIGKILL)
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with server.connect() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT COUNT(*) FROM namespaces")
            return served(cluster)
        except pymysql.err.OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def await_last(server: Server, last: datetime) -> None:
    """Wait until the server shows the task that was written last."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION z4_consistency = 'linearizable'")
        cursor.execute("SELECT MAX(deliver_at) FROM tasks WHERE namespace = 'bench'" + FROM_2030)
        ((found,),) = cursor.fetchall()
        assert found >= last.replace(tzinfo=None) - timedelta(milliseconds=1), f"{found} is not {last}"


def stored(directory: Path, count: int, *, alone: bool) -> None:
    """Narrow ranges beside a tenth of ``count`` tasks, and beside all of them."""
    first = count // 10
    apart, parts = step(first), (range(first), range(first, count))
    with LocalCluster(directory, free_ports(3)) as cluster:
        cluster.form()
        for numbers in parts:
            uvloop.run(fill(cluster.peers[0].service_address, tasks(numbers, apart)))
            server = served(cluster)
            await_last(server, START + (numbers.stop - 1) * apart)
            narrow(server, first, f"z4       {numbers.stop:>9} stored")
    found = None if alone else program()
    if found is None:
        return
    reference = Reference(found, directory)
    try:
        reference.create()
        for numbers in parts:
            reference.load(copies(numbers, apart), directory)
            narrow(beside(reference), first, f"{reference.name:<8} {numbers.stop:>9} stored")
    finally:
        reference.stop()


def narrow(server: Server, apart: int, title: str) -> None:
    """Narrow queries over tasks of which so many lie in `SPAN`."""
    asked = queries(apart)
    with server.connect() as connection:
        for name in NARROW_TITLES:
            moved = (ending_before(asked[name], n) for n in range(1, SPREAD_RUNS + 1))
            print(f"{title}  {name:<18} {spread(server, connection, moved)}", flush=True)
    print(f"{title}  memory {server.resident_mb()} MB", flush=True)


def spread(server: Server, connection: Connection, asked: Iterable[str]) -> str:
    """How long most runs of `SPREAD_RUNS` narrow queries take, and the slow ones."""
    waits_ms, used_ms = [], server.cpu_ms()
    with connection.cursor() as cursor:
        for query in asked:
            started = time.perf_counter()
            cursor.execute(query)
            cursor.fetchall()
            waits_ms.append((time.perf_counter() - started) * 1000)
    waits_ms.sort()
    cpu_ms = (server.cpu_ms() - used_ms) / SPREAD_RUNS
    return (
        f"p50 {waits_ms[SPREAD_RUNS // 2]:6.2f} ms  p99 {waits_ms[SPREAD_RUNS * 99 // 100]:6.2f} ms"
        f"  CPU {cpu_ms:5.2f} ms"
    )


def theirs(directory: Path, count: int) -> tuple[str, dict[str, Timing]]:
    """The name of the other server, and what it took."""
    found = program()
    if found is None:
        print("neither MariaDB nor another server is installed: no ratio")
        return "", {}
    reference = Reference(found, directory)
    try:
        reference.create()
        reference.load(copies(range(count), step(count)), directory)
        return reference.name, measure(beside(reference), count, reference.name)
    finally:
        reference.stop()


def beside(reference: Reference) -> Server:
    def restart() -> Server:
        reference.restart()
        return beside(reference)

    return Server(reference.connect, sql_process(reference.port), restart)


def compare(one: dict[str, Timing], name: str, other: dict[str, Timing]) -> None:
    titles = [f"{title:>9} {'by CPU':>8}" for title in ("restarted", "first", "moved", "refresh")]
    print(f"\n{f'times as fast as {name}':<26} {' '.join(titles)}")
    for title, timing in one.items():
        theirs = other.get(title)
        if theirs is None or timing.restarted is None or theirs.restarted is None:
            continue
        assert theirs.rows == timing.rows, f"{title}: {name} answers {theirs.rows} rows, z4 {timing.rows}"
        line = " ".join(
            (
                timing.restarted.ratios(theirs.restarted),
                timing.settled.ratios(theirs.settled),
                timing.moved.ratios(theirs.moved),
                timing.refresh.ratios(theirs.refresh),
            )
        )
        line = f"{title:<26} {line}"
        if title in TARGETS:
            runs = ((theirs.moved, timing.moved), (theirs.refresh, timing.refresh))
            ratio = min(their.cpu_ms / max(our.cpu_ms, 0.01) for their, our in runs)
            line += f"   target {TARGETS[title]:.0f}: {'met' if ratio >= TARGETS[title] else 'MISSED'} by CPU"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--stored", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="z4-bench-") as directory:
        if options.stored:
            stored(Path(directory), options.stored, alone=options.alone)
            return
        found = ours(Path(directory), options.tasks)
        name, beside = ("", {}) if options.alone else theirs(Path(directory), options.tasks)
    compare(found, name, beside)


if __name__ == "__main__":
    main()
