"""Snapshots of a host's shards, in both directions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_never

from raftcore.core.ready import InstallSnapshot, SnapshotWanted
from raftcore.host.incoming import IncomingSnapshots
from raftcore.host.outgoing import OutgoingSnapshots
from raftcore.host.runner import ReplicaRunner
from raftcore.host.saturation import SnapshotProgress

if TYPE_CHECKING:
    from raftcore.host.host import Host


class Snapshots:
    """Answers what replicas want in the way of snapshots."""

    def __init__(self, host: Host) -> None:
        directory = host.config.snapshots
        self.outgoing = OutgoingSnapshots(host, directory / "outgoing")
        self.incoming = IncomingSnapshots(host, directory / "incoming")

    def start(self) -> None:
        """Remove what an earlier life left and nobody asks for. :raises OSError:"""
        self.outgoing.start()
        self.incoming.start()

    async def stop(self) -> None:
        """Send, make and pull nothing any more; an installation under way comes to its end."""
        await asyncio.gather(self.outgoing.stop(), self.incoming.stop())

    def wanted(self, runner: ReplicaRunner, request: SnapshotWanted | InstallSnapshot) -> None:
        """Carry out a replica's request; it is told when that is done."""
        match request:
            case SnapshotWanted():
                self.outgoing.wanted(runner, request.peer)
            case InstallSnapshot():
                self.incoming.wanted(runner, request)
            case _:
                assert_never(request)

    async def part(self, runner: ReplicaRunner) -> None:
        """The replica leaves this host."""
        await self.incoming.abandon(runner.shard)
        await self.outgoing.drop(runner)

    async def expire(self) -> None:
        """Give up transfers that stand still, and remove what nobody wants any more."""
        await self.outgoing.expire()
        await self.incoming.expire()

    def progress(self) -> list[SnapshotProgress]:
        """Every transfer under way."""
        return [*self.outgoing.progress(), *self.incoming.progress()]
