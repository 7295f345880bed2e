"""What an application calls on its host beside callbacks: awaiting results, indexes and members.

`Host.propose` and `Host.read` are what all of this is made of: whoever calls ten thousand times a second uses
those, and gives up the timeout.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from raftcore.core.errors import OutcomeUnknown, ReadFailed
from raftcore.core.types import Index, Member, ShardId
from raftcore.host.admission import FIRST_SHARD
from raftcore.host.gathering import GatheredCommands
from raftcore.host.machine import StateMachine
from raftcore.host.members import Members, resolver
from raftcore.host.runner import ReplicaRunner
from raftcore.replica.turn import Done, ReadDone, ReplicaStatus


class Calls(ABC):
    """The awaitable half of a `raftcore.host.host.Host`."""

    _loop: asyncio.AbstractEventLoop
    _members: Members
    _gathered: GatheredCommands

    @abstractmethod
    def propose(self, command: bytes, done: Done, shard: ShardId = FIRST_SHARD) -> None: ...

    @abstractmethod
    def read(self, done: ReadDone, shard: ShardId = FIRST_SHARD) -> None: ...

    @abstractmethod
    def status(self, shard: ShardId = FIRST_SHARD) -> ReplicaStatus | None: ...

    @abstractmethod
    def _runner(self, shard: ShardId) -> ReplicaRunner: ...

    async def apply(self, command: bytes, timeout_s: float, shard: ShardId = FIRST_SHARD) -> bytes:
        """Replicate ``command``; the machine's result for it, once it is applied here.

        While the loop is busy, commands gather for some milliseconds to share a round.

        :raises NotAccepted: it is in no log. :raises OutcomeUnknown: it may be applied, or be so later.
        """
        applied: asyncio.Future[bytes] = self._loop.create_future()
        self._gathered.callers += 1
        try:
            self._gathered.add(command, resolver(applied), shard)
            async with asyncio.timeout(timeout_s):
                return await applied
        except TimeoutError:
            raise OutcomeUnknown(f"the command was not applied within {timeout_s} s") from None
        finally:
            self._gathered.callers -= 1

    async def barrier(self, timeout_s: float, shard: ShardId = FIRST_SHARD) -> Index:
        """Wait for a linearizable read index to be applied here.

        :raises ReadFailed: nothing was confirmed in time. :raises NotLeader: nobody leads.
        """
        read: asyncio.Future[Index] = self._loop.create_future()
        self.read(resolver(read), shard)
        try:
            async with asyncio.timeout(timeout_s):
                return await read
        except TimeoutError:
            raise ReadFailed(f"no read index was confirmed within {timeout_s} s") from None

    async def until_applied(self, index: Index, timeout_s: float, shard: ShardId = FIRST_SHARD) -> bool:
        """Wait until ``index`` is applied here; False after ``timeout_s``.

        :raises NotLeader: this host has no replica, or not that one any more.
        """
        return await self._runner(shard).until_applied(index, timeout_s)

    def machine(self, shard: ShardId = FIRST_SHARD) -> StateMachine:
        """The state machine, to be read while nothing is awaited.

        :raises NotLeader: this host has no replica. :raises ReadFailed: a snapshot is replacing the state.
        """
        runner = self._runner(shard)
        if runner.frozen:
            raise ReadFailed("the state is being replaced by a snapshot")
        return runner.machine

    async def add_member(
        self, name: str, address: str, timeout_s: float, based_on: Index | None = None
    ) -> Member:
        """On the leader: add a voter; returns when it has caught up and votes. See `Members.add`."""
        return await self._members.add(name, address, timeout_s, based_on)

    async def add_learner(
        self, name: str, address: str, timeout_s: float, based_on: Index | None = None
    ) -> Member:
        """On the leader: add a member that only listens. See `Members.add_learner`."""
        return await self._members.add_learner(name, address, timeout_s, based_on)

    async def promote_member(self, name: str, timeout_s: float, based_on: Index | None = None) -> None:
        """On the leader: make the learner called ``name`` a voter. See `Members.promote`."""
        await self._members.promote(name, timeout_s, based_on)

    async def remove_member(self, name: str, timeout_s: float, based_on: Index | None = None) -> None:
        """On the leader: remove the member called ``name``. See `Members.remove`."""
        await self._members.remove(name, timeout_s, based_on)

    async def transfer_leadership(self, name: str | None, timeout_s: float) -> Member:
        """On the leader: make ``name``, or whoever is furthest, the leader. See `Members.transfer`."""
        return await self._members.transfer(name, timeout_s)

    def leader(self, shard: ShardId = FIRST_SHARD) -> Member | None:
        """The leader as far as is known here."""
        status = self.status(shard)
        if status is None:
            return None
        return next((member for member in status.membership.members if member.id == status.leader), None)
