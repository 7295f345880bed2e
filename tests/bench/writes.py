"""Durable creates per second with three peers, their SQL processes running, beside etcd in the same run.

Every acknowledged task is counted again through SQL. ``python -m tests.bench.writes [--seconds N]``
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import grpc
import pymysql
import uvloop

from tests.bench import etcd, http2
from tests.bench.load import Figures, closed_loop
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, free_ports

BATCH = 500
ETCD_BATCH = 128
WARM_UP_S = 2.0
TARGETS = {"batches": 50_000, "streams": 12_000, "unary": 4_000}
_CREATED_HEAD, _CREATED_BYTES = b"\x0a\x1c\x0a\x1a", 30
"""A result that holds a task id of 26 characters and nothing else: no status, no message."""
_MESSAGES = (("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20))


def request(number: int, namespace: str) -> pb.CreateTaskRequest:
    """A task as services write them: three metadata keys, 100 bytes of payload."""
    task = pb.CreateTaskRequest(
        namespace=namespace,
        metadata={
            "user_id": f"user{number % 5000}@example.com",
            "template": "welcome",
            "region": ("us-east-1", "eu-west-1", "ap-south-1")[number % 3],
        },
        payload=b"x" * 100,
    )
    task.deliver_at.seconds = 1_893_456_000 + number % 1_000_000
    return task


async def batches(address: str, seconds: float) -> Figures:
    bodies = [
        pb.CreateTasksRequest(
            tasks=[request(n * BATCH + i, "batches") for i in range(BATCH)]
        ).SerializeToString()
        for n in range(20)
    ]
    async with grpc.aio.insecure_channel(address, options=_MESSAGES) as channel:
        method = channel.unary_unary("/z4.Collection/CreateTasks")
        turn = itertools.cycle(bodies)

        async def call(_caller: int) -> int:
            answer = await method(next(turn), timeout=30)
            assert answer.count(_CREATED_HEAD) == BATCH and len(answer) == BATCH * _CREATED_BYTES
            return BATCH

        return await closed_loop("z4: batches of 500, 16 callers", call, callers=16, seconds=seconds)


async def unary(address: str, seconds: float) -> Figures:
    bodies = [request(n, "unary").SerializeToString() for n in range(1000)]
    figures, _ = await http2.unary_load(
        "z4: unary, 64 callers",
        http2.host_and_port(address),
        "/z4.Collection/CreateTask",
        bodies,
        callers=64,
        seconds=seconds,
    )
    return figures


async def streams(address: str, seconds: float) -> Figures:
    """16 streams, each with 64 tasks on their way."""
    bodies = [request(n, "streams").SerializeToString() for n in range(1000)]
    figures, _ = await http2.stream_load(
        "z4: 16 streams of single tasks",
        http2.host_and_port(address),
        "/z4.Collection/CreateTaskStream",
        bodies,
        streams=16,
        window=64,
        seconds=seconds,
    )
    return figures


async def empty_calls(address: str, seconds: float) -> Figures:
    """What the gRPC library and the machine leave for unary calls that do nothing."""
    figures, _ = await http2.unary_load(
        "z4: unary calls that do nothing, 64 callers",
        http2.host_and_port(address),
        "/z4.Admin/CheckHealth",
        [b""],
        callers=64,
        seconds=seconds,
    )
    return figures


async def etcd_puts(address: str, seconds: float) -> tuple[Figures, Figures]:
    keys = itertools.count()
    value = b"x" * 250

    async with grpc.aio.insecure_channel(address, options=_MESSAGES) as channel:
        put, transact = channel.unary_unary(etcd.PUT), channel.unary_unary(etcd.TRANSACTION)
        await put(etcd.put(b"ready", b"1"), timeout=30, wait_for_ready=True)

        async def single(_caller: int) -> int:
            await put(etcd.put(b"k%012d" % next(keys), value), timeout=30)
            return 1

        async def batch(_caller: int) -> int:
            await transact(
                etcd.transaction([etcd.put(b"k%012d" % next(keys), value) for _ in range(ETCD_BATCH)]),
                timeout=30,
            )
            return ETCD_BATCH

        return (
            await closed_loop(
                "etcd: transactions of 128 puts, 16 callers", batch, callers=16, seconds=seconds
            ),
            await closed_loop("etcd: single puts, 64 callers", single, callers=64, seconds=seconds),
        )


def stored(port: int, namespace: str) -> int:
    connection = pymysql.connect(host="127.0.0.1", port=port, user="root", database="z4", connect_timeout=60)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION z4_consistency = 'linearizable'")
        cursor.execute(
            "SELECT COUNT(*) FROM tasks WHERE namespace = %s AND deliver_at >= '1970-01-01'", (namespace,)
        )
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="z4-bench-") as directory:
        ours = {}
        with LocalCluster(Path(directory), free_ports(3)) as cluster:
            cluster.form()
            leader = cluster.peers[0].service_address
            for peer in cluster.peers:
                # Loading the engine takes each SQL process a second of a core: that is not what is measured.
                stored(peer.ports.sql, "batches")
            uvloop.run(batches(leader, WARM_UP_S))
            for name, run in (("batches", batches), ("streams", streams), ("unary", unary)):
                ours[name] = uvloop.run(run(leader, seconds))
                time.sleep(1)
                count = stored(cluster.peers[0].ports.sql, name)
                print(f"{ours[name]}   target {TARGETS[name]:,}   SQL counts {count:,}", flush=True)
                assert count >= ours[name].units
            print(uvloop.run(empty_calls(leader, seconds)), flush=True)
        if etcd.installed():
            servers = etcd.EtcdCluster(Path(directory))
            try:
                grouped, single = uvloop.run(etcd_puts(servers.endpoints[0], seconds))
            finally:
                servers.stop()
            print(grouped, single, sep="\n")
            print(f"ratio z4/etcd: batches {ours['batches'].per_second / grouped.per_second:.2f},", end=" ")
            print(f"unary {ours['unary'].per_second / single.per_second:.2f}")
        else:
            print("etcd is not installed: no ratio")


if __name__ == "__main__":
    main()
