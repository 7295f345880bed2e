"""Nodes of raftcore.kv as processes, on loopback or each in a network namespace of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from raftcore.core.errors import OutcomeUnknown
from raftcore.kv._pb.kv_pb2 import Info
from raftcore.kv.client import KvClient
from raftcore.kv.errors import KvError, Refused
from z4sql.testing.ports import free_address

ROOT = Path(__file__).resolve().parents[3]


class NodeProcess:
    """One node: alive, stopped by a signal, or dead; its data stays."""

    def __init__(self, name: str, directory: Path, address: str, prefix: list[str]) -> None:
        self.name = name
        self.directory = directory
        self.address = address
        self.process: asyncio.subprocess.Process | None = None
        self.paused = False
        self._prefix = prefix
        self._in_memory = int(name[1:]) % 2 == 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, bootstrap: bool = False) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "log.txt").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._prefix,
                sys.executable,
                *("-m", "raftcore.kv", "serve"),
                *("--name", self.name),
                *("--address", self.address),
                *("--data-dir", str(self.directory)),
                *("--election-timeout-ms", "300"),
                # Logs are cut so soon that who was away for long, or is new, gets a snapshot.
                *("--sync-interval-s", "0.5", "--trailing-entries", "50"),
                *(["--bootstrap"] if bootstrap else []),
                # Both tables take part in every test.
                *(["--in-memory"] if self._in_memory else []),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            )
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        assert line.startswith(b"ready"), f"{self.name} did not start: {self.log_end()}"

    async def kill(self) -> None:
        if self.process is not None:
            if self.alive:
                self.process.kill()
            await self.process.wait()
        self.paused = False

    def pause(self) -> None:
        self.paused = True
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.paused = False
        if self.alive:
            self.process.send_signal(signal.SIGCONT)

    def log_end(self) -> str:
        return (self.directory / "log.txt").read_text(errors="replace")[-2000:]


class Cluster:
    """``size`` nodes; the first forms the cluster and the others are added to it."""

    def __init__(self, directory: Path, size: int, network: Network | None = None) -> None:
        self.network = network
        self.nodes = []
        for number in range(1, size + 1):
            name = f"n{number}"
            if network is None:
                address, prefix = free_address(), []
            else:
                host = network.host(number)
                address, prefix = f"{host}:7400", network.prefix(number)
            self.nodes.append(NodeProcess(name, directory / name, address, prefix))

    @property
    def endpoints(self) -> list[str]:
        return [node.address for node in self.nodes]

    async def start(self) -> None:
        first, *others = self.nodes
        await asyncio.gather(first.start(bootstrap=True), *(node.start() for node in others))
        async with KvClient([first.address], timeout_s=30) as client:
            for node in others:
                await client.change("add-node", node.name, node.address)

    async def stop(self) -> None:
        for node in self.nodes:
            node.resume()
            await node.kill()

    async def info(self, node: NodeProcess) -> Info | None:
        """What a node knows; None when it does not answer."""
        async with KvClient([node.address], timeout_s=0.5) as client:
            try:
                return await client.info(node.address)
            except (KvError, OutcomeUnknown):
                return None

    async def leader(self) -> NodeProcess | None:
        """The node that leads by its own account, in the newest term."""
        infos = await asyncio.gather(*(self.info(node) for node in self.nodes))
        leading = [
            (info.term, number)
            for number, info in enumerate(infos)
            if info is not None and info.id and info.id == info.leader_id
        ]
        return self.nodes[max(leading)[1]] if leading else None

    async def transfer(self, name: str) -> None:
        async with KvClient(self.endpoints, timeout_s=3) as client:
            with contextlib.suppress(KvError, OutcomeUnknown):
                await client.change("transfer", name)

    async def remove(self, name: str) -> None:
        async with KvClient(self.endpoints, timeout_s=5) as client:
            with contextlib.suppress(KvError, OutcomeUnknown):
                await client.change("remove-node", name)

    async def add(self, node: NodeProcess, timeout_s: float) -> bool:
        """Whether ``node`` is a voter now."""
        async with KvClient(self.endpoints, timeout_s=timeout_s) as client:
            try:
                await client.change("add-node", node.name, node.address)
            except Refused as error:
                return "already a member" in str(error)
            except (KvError, OutcomeUnknown):
                return False
        return True

    async def heal(self) -> None:
        """Everybody runs, votes and is reachable."""
        if self.network is not None:
            await self.network.heal()
        for node in self.nodes:
            node.resume()
            if not node.alive:
                await node.start()
        async with asyncio.timeout(60):
            while not await self._whole():
                await asyncio.sleep(0.1)

    async def _whole(self) -> bool:
        leader = await self.leader()
        info = None if leader is None else await self.info(leader)
        if info is None:
            return False
        voters = {peer.name for peer in info.peers if peer.voter}
        listening = {peer.name for peer in info.peers} - voters
        for name in listening:
            await self.remove(name)
        for node in self.nodes:
            if node.name not in voters:
                await self.add(node, 10)
                return False
        return True


class Network:
    """A bridge, and a namespace behind it for every node. A cut is a route that goes nowhere. Needs root."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._mark = os.getpid()
        self._subnet = f"10.{200 + self._mark % 50}.{self._mark // 50 % 250}"
        self._bridge = f"kvb{self._mark}"
        self._cuts: set[tuple[int, int]] = set()

    def host(self, number: int) -> str:
        return f"{self._subnet}.{number}"

    def prefix(self, number: int) -> list[str]:
        """What runs a command inside node ``number``'s namespace, as the same process."""
        return ["ip", "netns", "exec", self._name(number)]

    async def start(self) -> None:
        """The test is skipped where there can be no bridge or no namespace."""
        try:
            await _ip("link", "add", self._bridge, "type", "bridge")
            await _ip("netns", "add", f"{self._bridge}-probe")
            await _ip("netns", "del", f"{self._bridge}-probe")
        except AssertionError as error:
            pytest.skip(str(error))
        await _ip("addr", "add", f"{self._subnet}.254/24", "dev", self._bridge)
        await _ip("link", "set", self._bridge, "up")
        for number in range(1, self.size + 1):
            name, outer = self._name(number), f"kvv{self._mark}-{number}"
            await _ip("netns", "add", name)
            await _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
            await _ip("link", "set", outer, "master", self._bridge, "up")
            await _ip("-n", name, "addr", "add", f"{self.host(number)}/24", "dev", "eth0")
            await _ip("-n", name, "link", "set", "eth0", "up")
            await _ip("-n", name, "link", "set", "lo", "up")

    async def stop(self) -> None:
        for number in range(1, self.size + 1):
            with contextlib.suppress(AssertionError):
                await _ip("netns", "del", self._name(number))
        with contextlib.suppress(AssertionError):
            await _ip("link", "del", self._bridge)

    async def cut(self, source: int, target: int) -> None:
        """Nothing that ``source`` sends reaches ``target``."""
        if (source, target) not in self._cuts:
            self._cuts.add((source, target))
            await _ip("-n", self._name(source), "route", "add", "blackhole", f"{self.host(target)}/32")

    async def heal(self) -> None:
        for source, target in self._cuts:
            await _ip("-n", self._name(source), "route", "del", "blackhole", f"{self.host(target)}/32")
        self._cuts.clear()

    def _name(self, number: int) -> str:
        return f"kvn{self._mark}-{number}"


async def _ip(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *arguments, stderr=asyncio.subprocess.PIPE)
    _, problem = await process.communicate()
    assert process.returncode == 0, f"ip {' '.join(arguments)}: {problem.decode()}"
