"""``z4 demo``: three peers on loopback, a year of real flights in, SQL out."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from z4sql.cli.flights import FLIGHT_COUNT, FlightsMissing, flights
from z4sql.cli.local_cluster import ClusterFailed, LocalCluster, free_ports, taken, usual_ports
from z4sql.client import AsyncClient, NewTask, Z4Error

if TYPE_CHECKING:
    import pymysql

_PEERS = 3
_BATCH = 500
_CALLERS = 4
_WIDTH_MAX = 120

WELCOME_QUERY = (
    "SELECT * FROM tasks WHERE namespace = 'welcome_emails'"
    " AND deliver_at BETWEEN '2022-04-16' AND '2022-04-17'"
    " AND JSON_EXTRACT(metadata, '$.user_id') = 'newuser@example.com'"
)
QUERIES = (
    WELCOME_QUERY,
    "SELECT namespace, COUNT(*) AS flights, MIN(deliver_at) AS first, MAX(deliver_at) AS last FROM tasks"
    " WHERE namespace IN ('EWR', 'JFK', 'LGA') AND deliver_at BETWEEN '2013-01-01' AND '2014-01-02'"
    " GROUP BY namespace ORDER BY namespace",
    "SELECT id, deliver_at, metadata->>'$.flight' AS flight, metadata->>'$.dest' AS dest FROM tasks"
    " WHERE namespace = 'JFK' AND deliver_at >= '2013-07-04 16:00' AND deliver_at < '2013-07-04 18:00'"
    " AND metadata->>'$.carrier' = 'B6' ORDER BY deliver_at LIMIT 5",
    "SELECT metadata->>'$.carrier' AS carrier, COUNT(*) AS flights,"
    " ROUND(AVG(metadata->>'$.dep_delay'), 1) AS mean_delay FROM tasks"
    " WHERE namespace = 'LGA' AND deliver_at BETWEEN '2013-12-01' AND '2013-12-31 23:59:59'"
    " GROUP BY carrier ORDER BY flights DESC LIMIT 5",
)
REFUSED = (
    "SELECT * FROM tasks WHERE namespace = 'welcome_emails'",
    "SELECT * FROM tasks WHERE deliver_at BETWEEN '2022-04-16' AND '2022-04-17'",
)


class DemoFailed(Exception):
    """Something was not as it must be; the message says what."""


def run(*, once: bool, data_dir: str | None) -> int:
    """Run the demonstration; returns 0 only when everything was as it must be."""
    directory = Path(data_dir) if data_dir else Path(tempfile.mkdtemp(prefix="z4-demo-"))
    signal.signal(signal.SIGTERM, _interrupt)
    kept = False
    try:
        _demonstrate(directory, once=once)
    except (ClusterFailed, DemoFailed, FlightsMissing, Z4Error) as problem:
        print(f"z4 demo: {problem}", file=sys.stderr)
        kept = True
        return 1
    except KeyboardInterrupt:
        print("\nstopped" if not once else "\ninterrupted")
        return 130 if once else 0
    finally:
        if data_dir is None and not kept:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _demonstrate(directory: Path, *, once: bool) -> None:
    ports = usual_ports(_PEERS)
    if busy := taken(ports):
        print(f"ports in use: {', '.join(map(str, busy))}; taking others")
        ports = free_ports(_PEERS)
    with LocalCluster(directory, ports) as cluster:
        print(f"starting {_PEERS} peers; logs in {directory}/peer*/log")
        cluster.form()
        loaded = asyncio.run(_load([peer.service_address for peer in cluster.peers]))
        _ask(cluster.peers[0].ports.sql, loaded)
        if once:
            return
        _show_what_to_try(cluster)
        while all(peer.running() for peer in cluster.peers):
            time.sleep(0.2)
        raise DemoFailed("a peer stopped by itself")


def _welcome_emails() -> list[NewTask]:
    users = ("newuser@example.com", "ada@example.com", "grace@example.com", "newuser@example.com")
    return [
        NewTask(
            namespace="welcome_emails",
            deliver_at=datetime(2022, 4, 16, 8 + hour, 30, tzinfo=UTC),
            metadata={"user_id": user, "template": "welcome"},
            payload=b'{"subject": "Welcome!"}',
        )
        for hour, user in enumerate(users)
    ]


async def _load(endpoints: list[str]) -> int:
    """Create every task through the batch call; returns how many the cluster acknowledged."""
    from tqdm import tqdm

    tasks = _all_tasks()
    started = time.monotonic()
    async with AsyncClient(endpoints, timeout_s=30) as client:
        # A file or a pipe needs no picture of every step.
        pause_s = 0.1 if sys.stdout.isatty() else 5.0
        with tqdm(
            total=FLIGHT_COUNT + len(_welcome_emails()),
            unit=" tasks",
            desc="loading flights",
            file=sys.stdout,
            mininterval=pause_s,
        ) as bar:

            async def caller() -> int:
                count = 0
                while batch := list(islice(tasks, _BATCH)):
                    results = await client.create_many(batch)
                    for result in results:
                        if isinstance(result, Z4Error):
                            raise DemoFailed(f"a task was refused: {result}")
                    count += len(results)
                    bar.update(len(results))
                return count

            created = sum(await asyncio.gather(*(caller() for _ in range(_CALLERS))))
    took_s = time.monotonic() - started
    print(f"{created} tasks durable on a majority of {_PEERS} peers in {took_s:.1f} s")
    return created


def _all_tasks() -> Iterator[NewTask]:
    yield from _welcome_emails()
    yield from flights()


def _ask(port: int, loaded: int) -> None:
    """Run the queries with a MySQL client and check what they answer. :raises DemoFailed:"""
    import pymysql

    try:
        _query(port, loaded)
    except pymysql.err.MySQLError as error:
        raise DemoFailed(f"a query failed: {error}") from None


def _query(port: int, loaded: int) -> None:
    import pymysql

    with pymysql.connect(host="127.0.0.1", port=port, user="root", database="z4") as connection:
        _rows(connection, "SET SESSION z4_consistency = 'linearizable'")
        (counted,) = _rows(
            connection,
            "SELECT COUNT(*) FROM tasks WHERE namespace IN ('EWR', 'JFK', 'LGA', 'welcome_emails')"
            " AND deliver_at BETWEEN '2013-01-01' AND '2022-12-31'",
        )[1]
        if counted[0] != loaded:
            raise DemoFailed(f"{loaded} tasks were acknowledged, SQL counts {counted[0]}")
        for query in QUERIES:
            print(f"\nmysql> {query};")
            started = time.monotonic()
            names, rows = _rows(connection, query)
            took_s = time.monotonic() - started
            if not rows:
                raise DemoFailed(f"no rows: {query}")
            _print_table(names, rows)
            print(f"{len(rows)} rows in set ({took_s:.3f} sec)")
        for query in REFUSED:
            print(f"\nmysql> {query};")
            try:
                _rows(connection, query)
            except pymysql.err.MySQLError as error:
                code, message = error.args[:2]
                print(f"ERROR {code}: {message}")
                if code != 1104:
                    raise DemoFailed(f"refused with {code}, not 1104: {query}") from None
            else:
                raise DemoFailed(f"not refused: {query}")


def _rows(
    connection: pymysql.connections.Connection[pymysql.cursors.Cursor], query: str
) -> tuple[list[str], list[tuple[object, ...]]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        names = [column[0] for column in cursor.description or ()]
        return names, list(cursor.fetchall())


def _print_table(names: list[str], rows: list[tuple[object, ...]]) -> None:
    """As the mysql client does: a table, or one value a line when the table would be too wide."""
    texts = [names, *([_text(value) for value in row] for row in rows)]
    widths = [max(len(line[at]) for line in texts) for at in range(len(names))]
    if sum(widths) + 3 * len(widths) > _WIDTH_MAX:
        _print_vertically(names, texts[1:])
        return
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in texts
    ]
    print("\n".join((rule, lines[0], rule, *lines[1:], rule)))


def _print_vertically(names: list[str], rows: list[list[str]]) -> None:
    width = max(map(len, names))
    for number, row in enumerate(rows, start=1):
        print(f"{'*' * 27} {number}. row {'*' * 27}")
        for name, cell in zip(names, row, strict=True):
            print(f"{name.rjust(width)}: {cell}")


def _text(value: object) -> str:
    if value is None:
        return "NULL"
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _show_what_to_try(cluster: LocalCluster) -> None:
    print("\nthe cluster is up; try:\n")
    for peer in cluster.peers:
        print(f"  mysql -h 127.0.0.1 -P {peer.ports.sql} -u root z4    # {peer.name}")
    # Without an activated environment, as under make, it is beside this interpreter.
    program = "z4t" if shutil.which("z4t") else os.path.relpath(Path(sys.executable).parent / "z4t")
    print(f"  {program} -t {cluster.peers[0].service_address} info")
    print(f"\n  mysql> {QUERIES[2]};\n\nCtrl-C stops it.")
