"""The replicas that a host runs: recovered when it starts, joined when it is invited."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from raftcore.core.errors import StorageError
from raftcore.core.raft import RaftCore
from raftcore.core.types import Instant, NodeId, ShardId
from raftcore.host.admission import accept, form_cluster, is_new
from raftcore.host.machine import StateMachine
from raftcore.host.runner import ReplicaRunner
from raftcore.replica.replica import Replica
from raftcore.storage.base import HostIdentity
from raftcore.transport.base import Invitation

if TYPE_CHECKING:
    from raftcore.host.host import Host

log = structlog.get_logger()

MachineFactory = Callable[[ShardId, NodeId], StateMachine]


class Replicas:
    """Who the host is, and its runners by shard."""

    def __init__(self, host: Host, machine_factory: MachineFactory) -> None:
        self.runners: dict[ShardId, ReplicaRunner] = {}
        self.identity: HostIdentity | None = None
        self._host = host
        self._machine_factory = machine_factory

    async def recover(self, bootstrap: bool) -> None:
        """Run what the log store names; with ``bootstrap`` a fresh host forms a cluster first.

        :raises StorageError: when log or state cannot be opened, do not fit each other, or belong elsewhere.
        """
        config, store = self._host.config, self._host.store
        self.identity = store.identity()
        if self.identity is None and bootstrap:
            self.identity = form_cluster(store, config.name, config.address)
            log.info("cluster_formed", cluster=self.identity.cluster_id, name=config.name)
        if self.identity is None:
            return
        if self.identity.name != config.name:
            raise StorageError(f"{config.data_dir} belongs to {self.identity.name}")
        for shard, node in self.identity.replicas:
            await self._run(shard, node)

    async def join(self, invitation: Invitation) -> None:
        """Become the replica that the invitation names; durable on return.

        :raises Refused: when this host belongs elsewhere, has another name or a newer replica.
        """
        host, name = self._host, self._host.config.name
        if not is_new(invitation, name, self.identity):
            return
        self.identity = accept(invitation, host.store, name, self.identity)
        try:
            former = self.runners.pop(invitation.shard, None)
            if former is not None:
                await host.snapshots.part(former)
                await former.stop(sync=False)
                host.upkeep.replaced(invitation.shard)
                host.store.discard(former.shard, former.node)
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

    async def _run(self, shard: ShardId, node: NodeId) -> None:
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


def now() -> Instant:
    """The host's monotonic clock."""
    return Instant(time.monotonic_ns() // 1000)
