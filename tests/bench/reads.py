"""Queries over a million tasks of one namespace, beside MariaDB with the same rows in the same run.

``python -m tests.bench.reads [--rows N]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymysql
import uvloop

from tests.bench.mariadb import MariaDb, installed
from z4sql.cli.local_cluster import LocalCluster, free_ports
from z4sql.client import AsyncClient, NewTask

START = datetime(2030, 1, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=500)
RANGE = "namespace = 'bench' AND deliver_at >= '2030-01-01' AND deliver_at < '2031-01-01'"
QUERIES = {
    "filtered": (
        f"SELECT * FROM tasks WHERE {RANGE} AND JSON_EXTRACT(metadata, '$.user_id') = 'user77@example.com'"
    ),
    "count": f"SELECT COUNT(*) FROM tasks WHERE {RANGE}",
    "grouped": (
        "SELECT JSON_UNQUOTE(JSON_EXTRACT(metadata, '$.region')) AS region, COUNT(*) FROM tasks"
        f" WHERE {RANGE} GROUP BY region ORDER BY region"
    ),
    "top 20": f"SELECT id, deliver_at FROM tasks WHERE {RANGE} ORDER BY deliver_at LIMIT 20",
    "10 rows": (
        "SELECT * FROM tasks WHERE namespace = 'bench' AND deliver_at >= '2030-01-03 00:00:00'"
        " AND deliver_at < '2030-01-03 00:00:05'"
    ),
}
TARGETS_MS = {"filtered": 1200, "10 rows": 2}


def tasks(count: int) -> Iterator[NewTask]:
    for n in range(count):
        yield NewTask(
            namespace="bench",
            deliver_at=START + n * STEP,
            metadata=metadata(n),
            payload=b"x" * 60,
        )


def metadata(n: int) -> dict[str, str]:
    return {
        "region": ("us-east-1", "eu-west-1", "ap-south-1")[n % 3],
        "user_id": f"user{n % 5000}@example.com",
    }


async def fill(endpoint: str, count: int) -> None:
    source = tasks(count)
    async with AsyncClient(endpoint, timeout_s=60) as client:

        async def caller() -> None:
            while batch := [task for _, task in zip(range(500), source, strict=False)]:
                for result in await client.create_many(batch):
                    assert isinstance(result, str), result

        await asyncio.gather(*(caller() for _ in range(4)))


def copies(count: int) -> Iterator[tuple[str, str, str, str, str]]:
    for n in range(count):
        at = (START + n * STEP).strftime("%Y-%m-%d %H:%M:%S.%f")
        yield "bench", f"{n:026d}", at, json.dumps(metadata(n)), "x" * 60


def timed(
    connection: pymysql.connections.Connection[pymysql.cursors.Cursor], query: str
) -> tuple[float, int]:
    """(best of several runs in ms, rows)."""
    best, rows, spent = float("inf"), 0, 0.0
    runs = 0
    while runs < 3 or (runs < 200 and spent < 1.0):
        with connection.cursor() as cursor:
            started = time.perf_counter()
            cursor.execute(query)
            rows = len(cursor.fetchall())
            took = time.perf_counter() - started
        best, spent, runs = min(best, took), spent + took, runs + 1
    return best * 1000, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="z4-bench-") as directory:
        ours = {}
        with LocalCluster(Path(directory), free_ports(3)) as cluster:
            cluster.form()
            uvloop.run(fill(cluster.peers[0].service_address, count))
            port = cluster.peers[0].ports.sql
            with pymysql.connect(host="127.0.0.1", port=port, user="root", database="z4") as connection:
                with connection.cursor() as cursor:
                    cursor.execute("SET SESSION z4_consistency = 'linearizable'")
                    cursor.execute("SELECT COUNT(*) FROM tasks WHERE " + RANGE)
                    assert cursor.fetchall() == ((count,),)
                    cursor.execute("SET SESSION z4_consistency = 'local'")
                for name, query in QUERIES.items():
                    ours[name] = timed(connection, query)
        theirs: dict[str, tuple[float, int]] = {}
        if installed():
            server = MariaDb(Path(directory))
            try:
                server.load(copies(count), Path(directory))
                with server.connect() as connection:
                    theirs = {name: timed(connection, query) for name, query in QUERIES.items()}
            finally:
                server.stop()
        else:
            print("MariaDB is not installed: no ratio")
        for name, (took_ms, rows) in ours.items():
            line = f"{name:<10} {took_ms:10.2f} ms  {rows:>7} rows"
            if name in TARGETS_MS:
                line += f"   target {TARGETS_MS[name]} ms"
            if name in theirs:
                assert theirs[name][1] == rows, f"{name}: MariaDB answers {theirs[name][1]} rows"
                line += f"   MariaDB {theirs[name][0]:10.2f} ms   ratio {took_ms / theirs[name][0]:.2f}"
            print(line)


if __name__ == "__main__":
    main()
