"""One host with a dict machine as a process, driven by JSON lines: a request in, an answer out.

Usage: host_process.py NAME ADDRESS DIRECTORY BOOTSTRAP(0|1)
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import structlog
import uvloop
from dict_machine import DictMachine

from raftcore.core.config import CoreConfig
from raftcore.core.errors import RaftError
from raftcore.host.host import Host, HostConfig


class Driver:
    def __init__(self, name: str, address: str, directory: Path) -> None:
        self.machines: list[DictMachine] = []
        self.directory = directory
        config = HostConfig(
            name=name,
            address=address,
            listen=address,
            data_dir=directory / "log",
            core=CoreConfig(election_timeout_us=300_000, heartbeat_interval_us=50_000),
            state_sync_interval_s=0.3,
        )
        self.host = Host(config, self.machine)

    def machine(self, shard: int, node: int) -> DictMachine:
        machine = DictMachine(self.directory / f"state-{shard}-{node}")
        self.machines.append(machine)
        return machine

    async def call(self, method: str, *arguments):
        return await getattr(self, method)(*arguments)

    async def status(self):
        status = self.host.status()
        leader = self.host.leader()
        if status is None:
            return None
        return {
            "node": status.node,
            "role": status.role.name,
            "applied": self.machines[-1].applied,
            "leader": leader.name if leader else None,
            "voters": sorted(m.name for m in status.membership.members if m.id in status.membership.voters),
            "members": sorted(m.name for m in status.membership.members),
            "cluster": self.host.cluster_id,
        }

    async def values(self):
        return self.machines[-1].values

    async def propose(self, commands):
        loop = asyncio.get_running_loop()
        finished = loop.create_future()
        outcomes = [None] * len(commands)
        left = len(commands)

        def done_at(at):
            def done(outcome):
                nonlocal left
                failed = isinstance(outcome, RaftError)
                outcomes[at] = type(outcome).__name__ if failed else json.loads(outcome)
                left -= 1
                if not left:
                    finished.set_result(None)

            return done

        for at, command in enumerate(commands):
            try:
                self.host.propose(json.dumps(command).encode(), done_at(at))
            except RaftError as error:
                done_at(at)(error)
        await finished
        return outcomes

    async def add(self, name, address, timeout_s):
        return (await self.host.add_member(name, address, timeout_s)).id

    async def remove(self, name, timeout_s):
        await self.host.remove_member(name, timeout_s)

    async def transfer(self, name, timeout_s):
        return (await self.host.transfer_leadership(name, timeout_s)).name

    async def barrier(self, timeout_s):
        return await self.host.barrier(timeout_s)

    async def stop(self):
        await self.host.stop()


async def main() -> None:
    name, address, directory, bootstrap = sys.argv[1:]
    driver = Driver(name, address, Path(directory))
    await driver.host.start(bootstrap == "1")
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps("ready"), flush=True)
    while line := await reader.readline():
        method, *arguments = json.loads(line)
        try:
            answer = {"ok": await driver.call(method, *arguments)}
        except RaftError as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)
        if method == "stop":
            return


structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
# Both kinds of loop take part in every test.
run = uvloop.run if sys.argv[1] == "peer2" else asyncio.run
run(main())
