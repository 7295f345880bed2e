"""The consensus core by itself: raftcore.kv on three processes, fsync on, beside etcd in the same run.

``python -m tests.bench.consensus [--seconds N] [--kills N] [--state-mb N]`` prints

- rounds per second: a round appends an entry, makes it durable on a quorum, commits and applies it. One
  proposal at a time from inside the leader's process (no client), and from one caller over gRPC;
- entries per second: proposals in batches, thousands in flight, from inside the leader's process;
- writes per second and their latency at 1, 16 and 256 callers over gRPC;
- failover (kill -9 of the leader to the next acknowledged write), restart of a node with much state, and the
  transfer of that state to a newcomer;

and in the end a table of all that etcd was asked for too. etcd offers no way to propose from inside.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import grpc
import structlog
import uvloop

from raftcore.core.config import CoreConfig
from raftcore.core.errors import OutcomeUnknown, RaftError
from raftcore.host.config import HostConfig
from raftcore.kv._pb.kv_pb2 import Command, Request, Set
from raftcore.kv.client import KvClient
from raftcore.kv.errors import KvError
from raftcore.kv.node import Node as KvNode
from raftcore.kv.server import CALL
from tests.bench import etcd, http2
from tests.bench.load import Figures, closed_loop
from z4sql.testing.ports import free_address

VALUE: Final = b"x" * 250
CALLERS: Final = (1, 16, 256)
BATCH: Final = 128
IN_FLIGHT: Final = 16
"""Batches."""
_PATIENCE_US: Final = 3_000_000
"""The election timeout where the leader shares a process with its load."""
_CHUNK: Final = 512 << 10
_TRY_S: Final = 0.2


class Node:
    """One ``raftcore.kv serve`` process."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.address = free_address()
        self._directory = directory / name
        self._process: asyncio.subprocess.Process

    async def start(self, *, bootstrap: bool = False, election_timeout_ms: int = 600) -> None:
        self._directory.mkdir(exist_ok=True)
        with (self._directory / "log.txt").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "raftcore.kv", "serve", "--name", self.name),
                *("--address", self.address, "--data-dir", str(self._directory)),
                *("--sync-interval-s", "5", "--election-timeout-ms", str(election_timeout_ms)),
                *(("--bootstrap",) if bootstrap else ()),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 120)
        assert line.startswith(b"ready"), f"{self.name} did not start: see {self._directory}/log.txt"

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def cluster(directory: Path) -> list[Node]:
    nodes = [Node(f"n{number}", directory) for number in (1, 2, 3)]
    await asyncio.gather(*(node.start(bootstrap=node is nodes[0]) for node in nodes))
    async with KvClient([nodes[0].address], timeout_s=30) as client:
        for node in nodes[1:]:
            await client.change("add-node", node.name, node.address)
    return nodes


async def leader_of(nodes: Sequence[Node]) -> Node:
    async with asyncio.timeout(30):
        while True:
            for node in nodes:
                async with KvClient([node.address], timeout_s=0.5) as client:
                    try:
                        info = await client.info(node.address)
                    except (KvError, OutcomeUnknown):
                        continue
                if info.id and info.id == info.leader_id:
                    return node
            await asyncio.sleep(0.05)


async def loads(name: str, address: str, path: str, bodies: Sequence[bytes], seconds: float) -> list[Figures]:
    found = []
    for callers in CALLERS:
        title, where = f"{name}: {callers} callers", http2.host_and_port(address)
        figures, _ = await http2.unary_load(title, where, path, bodies, callers=callers, seconds=seconds)
        found.append(figures)
        print(figures, flush=True)
    return found


async def inside(directory: Path, seconds: float) -> tuple[Figures, Figures]:
    """Rounds and entries per second: the leader is in this process, its two followers are not."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    address = free_address()
    leader = KvNode(
        HostConfig(
            name="n0",
            address=address,
            listen=address,
            data_dir=directory / "n0" / "log",
            core=CoreConfig(election_timeout_us=_PATIENCE_US, heartbeat_interval_us=_PATIENCE_US // 20),
        )
    )
    followers = [Node(name, directory) for name in ("f1", "f2")]
    await asyncio.gather(
        leader.start(bootstrap=True),
        *(node.start(election_timeout_ms=_PATIENCE_US // 1000) for node in followers),
    )
    try:
        async with KvClient([address], timeout_s=30) as client:
            for node in followers:
                await client.change("add-node", node.name, node.address)
        command = Command(set=Set(key=b"k", value=VALUE)).SerializeToString()
        host = leader.host

        async def round_trip(_: int) -> int:
            await host.apply(command, 10.0)
            return 1

        async def batch(_: int) -> int:
            results = asyncio.get_running_loop().create_future()
            left = BATCH

            def done(result: bytes | RaftError) -> None:
                nonlocal left
                left -= 1
                if isinstance(result, RaftError) and not results.done():
                    results.set_exception(result)
                elif not left and not results.done():
                    results.set_result(None)

            for _number in range(BATCH):
                host.propose(command, done)
            await results
            return BATCH

        rounds = await closed_loop(
            "raftcore: rounds inside the leader", round_trip, callers=1, seconds=seconds
        )
        print(rounds, flush=True)
        title = f"raftcore: entries, {IN_FLIGHT * BATCH} in flight"
        entries = await closed_loop(title, batch, callers=IN_FLIGHT, seconds=seconds)
        print(entries, flush=True)
    finally:
        await leader.stop()
        for node in followers:
            await node.kill()
    return rounds, entries


async def until_written(write: Callable[[], Awaitable[object]], errors: tuple[type[Exception], ...]) -> float:
    """Seconds until a write is acknowledged."""
    began_s = time.perf_counter()
    async with asyncio.timeout(60):
        while True:
            try:
                await write()
            except errors:
                await asyncio.sleep(0.005)
            else:
                return time.perf_counter() - began_s


async def failovers(nodes: list[Node], kills: int) -> list[float]:
    took = []
    for _ in range(kills):
        leader = await leader_of(nodes)
        others = [node.address for node in nodes if node is not leader]
        await leader.kill()
        async with KvClient(others, timeout_s=_TRY_S, attempt_s=_TRY_S) as client:
            took.append(await until_written(lambda: client.set(b"failover", b"1"), (KvError, OutcomeUnknown)))
        await leader.start()
        await asyncio.sleep(0.5)
    return took


def table(inner: tuple[Figures, Figures], mine: list[Figures], other: list[Figures]) -> str:
    """Everything with a rate, beside etcd where etcd was asked for the same."""
    heads = ("", "raftcore", "etcd", "ratio", "p50 ms", "etcd", "p99 ms", "etcd")
    rows = [
        (title, f"{each.per_second:,.0f}/s", "", "", _ms(each, 0.5), "", _ms(each, 0.99), "")
        for title, each in zip(("rounds, inside the leader", "entries, batched inside"), inner, strict=True)
    ]
    for callers, a, b in zip(CALLERS, mine, other, strict=True):
        rates = f"{a.per_second:,.0f}/s", f"{b.per_second:,.0f}/s", f"{a.per_second / b.per_second:.2f}"
        title = "rounds, one caller over gRPC" if callers == 1 else f"writes, {callers} callers"
        rows.append((title, *rates, _ms(a, 0.5), _ms(b, 0.5), _ms(a, 0.99), _ms(b, 0.99)))
    return "\n".join(f"{row[0]:<29}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in (heads, *rows))


def _ms(figures: Figures, share: float) -> str:
    return f"{figures.percentile_ms(share):.1f}"


def told(name: str, took: list[float]) -> None:
    ordered = sorted(took)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{name}: failover median {statistics.median(took):.2f} s, p99 {p99:.2f} s (n={len(took)})",
        flush=True,
    )


async def large_state(nodes: list[Node], directory: Path, megabytes: int) -> None:
    """Fill the state, restart a node with it, and give it to a newcomer."""
    leader = await leader_of(nodes)
    value, numbers = secrets.token_bytes(_CHUNK), itertools.count()
    total = megabytes * (1 << 20) // _CHUNK
    async with KvClient([leader.address], timeout_s=60, attempt_s=60) as client:

        async def fill() -> None:
            while (number := next(numbers)) < total:
                await client.set(b"large/%06d" % number, value)

        began_s = time.perf_counter()
        await asyncio.gather(*(fill() for _ in range(8)))
        took_s = time.perf_counter() - began_s
        print(f"{megabytes} MB written in values of 512 KiB: {megabytes / took_s:.0f} MB/s", flush=True)
        await asyncio.sleep(12)
        follower = next(node for node in nodes if node is not leader)
        await follower.kill()
        began_s = time.perf_counter()
        await follower.start()
        async with KvClient([follower.address], timeout_s=30) as restarted:
            assert await restarted.get(b"large/000000", stale=True) is not None
        print(
            f"restart with {megabytes} MB of state: {time.perf_counter() - began_s:.2f} s to serve",
            flush=True,
        )
        newcomer = Node("n4", directory)
        await newcomer.start()
        began_s = time.perf_counter()
        await client.change("add-node", newcomer.name, newcomer.address)
        async with KvClient([newcomer.address], timeout_s=30) as joined:
            while await joined.get(b"large/%06d" % (total - 1), stale=True) is None:
                await asyncio.sleep(0.01)
        took_s = time.perf_counter() - began_s
        print(
            f"a newcomer has {megabytes} MB after {took_s:.1f} s: {megabytes / took_s:.0f} MB/s", flush=True
        )
        await newcomer.kill()


async def ours(directory: Path, seconds: float, kills: int, megabytes: int) -> list[Figures]:
    nodes = await cluster(directory)
    try:
        leader = await leader_of(nodes)
        bodies = [
            Request(
                write=Command(request_id=secrets.token_bytes(16), set=Set(key=b"k%04d" % n, value=VALUE))
            ).SerializeToString()
            for n in range(20_000)
        ]
        figures = await loads("raftcore.kv", leader.address, CALL, bodies, seconds)
        told("raftcore.kv", await failovers(nodes, kills))
        if megabytes:
            await large_state(nodes, directory, megabytes)
    finally:
        for node in nodes:
            await node.kill()
    return figures


async def etcd_failovers(servers: etcd.EtcdCluster, kills: int) -> list[float]:
    took = []
    for _ in range(kills):
        leader = await servers.leader()
        others = [endpoint for number, endpoint in enumerate(servers.endpoints) if number != leader]
        servers.kill(leader)
        channels = [grpc.aio.insecure_channel(endpoint) for endpoint in others]
        puts = itertools.cycle([channel.unary_unary(etcd.PUT) for channel in channels])

        async def put(puts: Iterator[Callable[..., Awaitable[bytes]]] = puts) -> None:
            await next(puts)(etcd.put(b"failover", b"1"), timeout=_TRY_S)

        took.append(await until_written(put, (grpc.aio.AioRpcError,)))
        for channel in channels:
            await channel.close()
        servers.start(leader)
        await asyncio.sleep(1.5)
    return took


async def theirs(directory: Path, seconds: float, kills: int) -> list[Figures]:
    servers = etcd.EtcdCluster(directory)
    try:
        address = servers.endpoints[await servers.leader()]
        bodies = [etcd.put(b"k%04d" % n, VALUE) for n in range(1000)]
        figures = await loads("etcd", address, etcd.PUT, bodies, seconds)
        told("etcd", await etcd_failovers(servers, kills))
    finally:
        servers.stop()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--state-mb", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="z4-bench-") as directory:
        inner = uvloop.run(inside(Path(directory), options.seconds))
        mine = uvloop.run(ours(Path(directory), options.seconds, options.kills, options.state_mb))
        if not etcd.installed():
            print("etcd is not installed: no ratio")
            return
        other = uvloop.run(theirs(Path(directory), options.seconds, options.kills))
        print(table(inner, mine, other))


if __name__ == "__main__":
    main()
