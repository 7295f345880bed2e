"""One host with a dict machine as a process, driven by JSON lines: a request in, an answer out.

Usage: host_process.py NAME ADDRESS DIRECTORY BOOTSTRAP(0|1)

HOST_ELECTION_TIMEOUT_US is what it says; HOST_MACHINE=rocks gives it a machine on disk; HOST_CONFIG is a JSON
object of settings; HOST_DIE_AT names a function, and the process ends, as by kill -9, before that is called.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import structlog
import uvloop
from dict_machine import DictMachine
from rocks_machine import RocksMachine

from raftcore.core.config import CoreConfig
from raftcore.core.errors import RaftError
from raftcore.host.host import Host, HostConfig

MACHINES = {"dict": DictMachine, "rocks": RocksMachine}

_SETTINGS: dict[str, Any] = {"state_sync_interval_s": 0.3, "formation_wait_s": 0}


class Driver:
    def __init__(self, name: str, address: str, directory: Path) -> None:
        self.machines: list[DictMachine | RocksMachine] = []
        self.directory = directory
        config = HostConfig(
            name=name,
            address=address,
            listen=address,
            data_dir=directory / "log",
            core=CoreConfig(
                election_timeout_us=int(os.environ.get("HOST_ELECTION_TIMEOUT_US", 300_000)),
                heartbeat_interval_us=50_000,
            ),
            **_SETTINGS | json.loads(os.environ.get("HOST_CONFIG", "{}")),
        )
        self.host = Host(config, self.machine)

    def machine(self, shard: int, node: int) -> DictMachine | RocksMachine:
        machine = MACHINES[os.environ.get("HOST_MACHINE", "dict")](self.directory / f"state-{shard}-{node}")
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
            "term": status.term,
            "applied": self.machines[-1].applied,
            "leader": leader.name if leader else None,
            "voters": sorted(m.name for m in status.membership.members if m.id in status.membership.voters),
            "members": sorted(m.name for m in status.membership.members),
            "cluster": self.host.cluster_id,
        }

    async def values(self):
        return self.machines[-1].values

    async def value(self, key):
        return json.loads(self.machines[-1].store.get(key.encode()) or "null")

    async def digest(self):
        return await asyncio.to_thread(self.machines[-1].digest)

    async def report(self):
        report = await self.host.report()
        return {
            "first_index": report.first_index,
            "last_index": report.last_index,
            "followers": {lag.name: lag.entries for lag in report.followers},
            "snapshots": [
                [each.outgoing, each.node, each.done_bytes, each.total_bytes] for each in report.snapshots
            ],
            "log_bytes": report.log_bytes,
            "snapshot_bytes": report.snapshot_bytes,
        }

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

    async def add_learner(self, name, address, timeout_s):
        return (await self.host.add_learner(name, address, timeout_s)).id

    async def begin_add(self, name, address, timeout_s):
        self.adding = asyncio.create_task(self.host.add_member(name, address, timeout_s))

    async def added(self):
        """How `begin_add` ended."""
        return (await self.adding).id

    async def remove(self, name, timeout_s):
        await self.host.remove_member(name, timeout_s)

    async def transfer(self, name, timeout_s):
        return (await self.host.transfer_leadership(name, timeout_s)).name

    async def barrier(self, timeout_s):
        return await self.host.barrier(timeout_s)

    async def stop(self):
        await self.host.stop()


def die_at(step: str) -> None:
    """``step`` is "module:name", or "module:name:2" for the second call."""
    module_name, name, *count = step.split(":")
    module = importlib.import_module(module_name)
    *holders, attribute = name.split(".")
    for each in holders:
        module = getattr(module, each)
    left = int(count[0]) if count else 1
    original = getattr(module, attribute)

    def dying(*arguments, **named):
        nonlocal left
        left -= 1
        if not left:
            os._exit(9)
        return original(*arguments, **named)

    setattr(module, attribute, dying)


async def main() -> None:
    name, address, directory, bootstrap = sys.argv[1:]
    driver = Driver(name, address, Path(directory))
    await driver.host.start(bootstrap == "1")
    driver.host.fatal.add_done_callback(lambda _: os._exit(8))
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
if os.environ.get("HOST_DIE_AT"):
    die_at(os.environ["HOST_DIE_AT"])
# Both kinds of loop take part in every test.
run = uvloop.run if sys.argv[1] == "peer2" else asyncio.run
run(main())
