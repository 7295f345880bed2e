"""Endless queries, queries that ask for too much memory, floods of packets, at every peer: no election."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymysql
import pytest

from z4sql.cli.local_cluster import LocalCluster, PeerProcess, free_ports
from z4sql.client import Client, NewTask

TASKS = 4_000
_MANY = "namespace = 'many' AND deliver_at > '2022-01-01'"


def _pairs(columns: str, names: str) -> str:
    bounds = " AND ".join(f"{n}.namespace = 'many' AND {n}.deliver_at > '2022-01-01'" for n in names)
    return f"SELECT {columns} FROM {', '.join(f'tasks {n}' for n in names)} WHERE {bounds}"


HEAVY = [
    _pairs("COUNT(*)", "abcd"),
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r",
    _pairs("GROUP_CONCAT(CONCAT(a.metadata, b.metadata))", "ab"),
    _pairs("a.id, b.id, a.metadata, b.metadata", "ab") + " ORDER BY b.id, a.id",
    "SELECT LENGTH(REPLACE(REPEAT('a', 100000), 'a', REPEAT('b', 100000)))",
    "SELECT LENGTH(CONCAT(" + ", ".join(["REPEAT('x', 16000000)"] * 200) + "))",
    "SELECT COUNT(*) FROM tasks WHERE "
    + _MANY
    + " AND id IN ("
    + ", ".join(f"'{n}'" for n in range(20_000))
    + ")",
]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path, free_ports(3)) as cluster:
        cluster.form()
        with Client([peer.service_address for peer in cluster.peers], timeout_s=60) as client:
            start = datetime(2023, 1, 1, tzinfo=UTC)
            client.create_many(
                NewTask("many", deliver_at=start + timedelta(seconds=n), metadata={"n": str(n)})
                for n in range(TASKS)
            )
        yield cluster


def _term(peer: PeerProcess) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{peer.ports.metrics}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("z4_raft_term ")))


def _load(port: int, stopping: threading.Event, outcomes: list[str], query_s: int) -> None:
    number = 0
    while not stopping.is_set():
        try:
            with (
                pymysql.connect(
                    host="127.0.0.1", port=port, user="root", database="z4", read_timeout=30
                ) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(f"SET max_execution_time = {query_s * 1000}")
                cursor.execute(HEAVY[number % len(HEAVY)])
                cursor.fetchall()
                outcomes.append("answered")
        except pymysql.err.Error as error:
            outcomes.append(str(error.args[0]))
        number += 1


def _flood(port: int, stopping: threading.Event, sent: list[int]) -> None:
    """Packets of strangers: noise, headers that promise more, logins followed by pings that nobody reads."""
    noise = random.Random(port)
    login = struct.pack("<IIB23x", 0x80208, 1 << 24, 45) + b"root\0\0"
    greeted = struct.pack("<I", len(login) | 1 << 24) + login
    bodies = [
        noise.randbytes(1 << 20),
        struct.pack("<I", 0xFFFFFF | 1 << 24) + bytes(4 << 20),
        greeted + struct.pack("<IB", 1, 0x0E) * 200_000,
        greeted + struct.pack("<I", 0xFFFFFF) + bytes(8 << 20),
    ]
    while not stopping.is_set():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(noise.choice(bodies))
        except OSError:
            pass  # the server ends it in the midst of what we send
        sent.append(port)


@pytest.mark.parametrize(
    ("load_s", "queries_at_once", "query_s"),
    [pytest.param(3.0, 1, 1, id="short"), pytest.param(10.0, 3, 3, id="long", marks=pytest.mark.long)],
)
def test_no_query_or_flood_brings_about_an_election(
    cluster: LocalCluster, load_s: float, queries_at_once: int, query_s: int
) -> None:
    before = [_term(peer) for peer in cluster.peers]
    stopping, outcomes, sent = threading.Event(), list[str](), list[int]()
    attackers = [
        threading.Thread(target=_load, args=(peer.ports.sql, stopping, outcomes, query_s))
        for peer in cluster.peers
        for _ in range(queries_at_once)
    ]
    attackers += [
        threading.Thread(target=_flood, args=(peer.ports.sql, stopping, sent)) for peer in cluster.peers
    ]
    for attacker in attackers:
        attacker.start()
    created = 0
    try:
        with Client([peer.service_address for peer in cluster.peers], timeout_s=20) as client:
            deadline = time.monotonic() + load_s
            while time.monotonic() < deadline:
                client.create("meanwhile")
                created += 1
                time.sleep(0.05)
    finally:
        stopping.set()
        for attacker in attackers:
            attacker.join()
    seen = json.dumps({code: outcomes.count(code) for code in sorted(set(outcomes))})
    assert created > 10, seen
    assert "3024" in outcomes and set(sent) == {peer.ports.sql for peer in cluster.peers}, seen
    assert [_term(peer) for peer in cluster.peers] == before, seen
    for peer in cluster.peers:
        cluster.wait_sql(peer)
