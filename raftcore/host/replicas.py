"""The replicas that a host runs: recovered when it starts, joined when it is invited."""

from __future__ import annotations

import asyncio
import random
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from raftcore.core.errors import StorageError
from raftcore.core.messages import TimeoutNow
from raftcore.core.raft import RaftCore
from raftcore.core.types import Instant, NodeId, ShardId
from raftcore.host.admission import accept, check_parted, check_plausible, form_cluster, is_new
from raftcore.host.machine import StateMachine
from raftcore.host.runner import ReplicaRunner
from raftcore.replica.replica import Replica
from raftcore.storage.base import HostIdentity
from raftcore.transport.base import Invitation, Refused

if TYPE_CHECKING:
    from raftcore.host.host import Host

log = structlog.get_logger()

_PARTING_ELECTION_TIMEOUTS = 4
"""A voter campaigns within two, and is then told that it is removed."""
_PARTING_LOOK_S = 0.02

MachineFactory = Callable[[ShardId, NodeId], StateMachine]


class Replicas:
    """Who the host is, and its runners by shard."""

    def __init__(self, host: Host, machine_factory: MachineFactory) -> None:
        self.runners: dict[ShardId, ReplicaRunner] = {}
        self.identity: HostIdentity | None = None
        self._host = host
        self._machine_factory = machine_factory

    async def recover(self) -> None:
        """Run what the log store names.

        :raises StorageError: when log or state cannot be opened, do not fit each other, or belong elsewhere.
        """
        config, store = self._host.config, self._host.store
        self.identity = store.identity()
        if self.identity is None:
            return
        if self.identity.name != config.name:
            raise StorageError(f"{config.data_dir} belongs to {self.identity.name}")
        store.discard_all_but(self.identity.replicas)
        for shard, node in self.identity.replicas:
            await self._run(shard, node)

    async def form(self) -> None:
        """Form a cluster of this host, unless it belongs to one; durable on return.

        :raises StorageError: when log or state cannot be opened.
        """
        if self.identity is not None:
            return
        config = self._host.config
        self.identity = form_cluster(self._host.store, config.name, config.address)
        log.info("cluster_formed", cluster=self.identity.cluster_id, name=config.name)
        for shard, node in self.identity.replicas:
            runner = await self._run(shard, node)
            # Nobody else could be disturbed by an election: there is nothing to wait for.
            term = runner.replica.status().term
            runner.replica.step(TimeoutNow(shard, node, node, term))

    async def parted(self, invitation: Invitation) -> None:
        """Wait until the replica that is to be replaced, if any, finds out that it is removed.

        :raises Refused: when it does not, and as `join`.
        """
        former = self.runners.get(invitation.shard)
        if former is None or not is_new(invitation, self._host.config.name, self.identity):
            return
        core = former.replica.core
        check_plausible(invitation, core)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _PARTING_ELECTION_TIMEOUTS * core.config.election_timeout_us / 1e6
        while True:
            try:
                check_parted(invitation.name, core)
                return
            except Refused:
                if loop.time() >= until_s:
                    raise
            await asyncio.sleep(_PARTING_LOOK_S)

    async def join(self, invitation: Invitation) -> None:
        """Become the replica that the invitation names; durable on return.

        :raises Refused: when this host belongs elsewhere, has another name, a newer replica, or one that does
            not know that it is removed.
        """
        host, name = self._host, self._host.config.name
        if not is_new(invitation, name, self.identity):
            return
        if (running := self.runners.get(invitation.shard)) is not None:
            check_plausible(invitation, running.replica.core)
            check_parted(name, running.replica.core)
        self.identity = accept(invitation, host.store, name, self.identity)
        try:
            former = self.runners.pop(invitation.shard, None)
            if former is not None:
                await host.snapshots.part(former)
                await former.stop(sync=False)
                host.upkeep.replaced(invitation.shard)
                host.store.discard(former.shard, former.node)
                await host.log_durable()
            await self._run(invitation.shard, invitation.node)
        except Exception as error:
            host.fail(error)
            raise
        log.info("host_joined", name=name, cluster=invitation.cluster_id, node=invitation.node)

    async def close(self, *, sync: bool) -> None:
        """End every call, and close every state, durable when ``sync``."""
        for runner in self.runners.values():
            try:
                await runner.stop(sync=sync)
            except Exception as error:
                log.error("state_not_closed", shard=runner.shard, error=f"{type(error).__name__}: {error}")

    async def _run(self, shard: ShardId, node: NodeId) -> ReplicaRunner:
        config, store = self._host.config, self._host.store
        machine = self._machine_factory(shard, node)
        applied = await asyncio.to_thread(machine.open)
        applied = await self._host.snapshots.incoming.finish(shard, node, machine, applied)
        core_config = replace(config.core, shard=shard)
        recovered = store.recover(shard, node, applied, core_config.tail_bytes_max)
        core = RaftCore(core_config, recovered, random.Random(secrets.randbits(64)))  # noqa: S311
        limits = replace(config.limits, undecided_wait_us=3 * core_config.election_timeout_us)
        runner = ReplicaRunner(shard, node, Replica(core, limits), machine, applied)
        runner.replica.observe(now())
        runner.set_membership(runner.replica.status().membership)
        self.runners[shard] = runner
        return runner


def state_directory(place: Path, shard: ShardId, node: NodeId) -> Path:
    """Where the state of a replica lies below ``place``; what former replicas of the shard left is removed.

    A replica that was removed and is added again is another one: it must never find what it was.
    """
    directory = place / f"state-{shard}-{node}"
    for former in place.glob(f"state-{shard}-*"):
        # Beside a state there may be what is about to replace it: "state-1-2.new".
        if former.name.partition(".")[0] != directory.name:
            shutil.rmtree(former, ignore_errors=True)
    return directory


def now() -> Instant:
    """The host's monotonic clock."""
    return Instant(time.monotonic_ns() // 1000)
