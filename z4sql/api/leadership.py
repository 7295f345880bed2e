"""Who leads, where its clients reach it, and waiting until somebody does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from raftcore.core.types import Member, Role
from raftcore.host.host import Host
from raftcore.replica.turn import ReplicaStatus

FORWARDED = "z4-forwarded"
"""Metadata key of a call that a follower passed on: it is never passed on again."""


@dataclass(slots=True, frozen=True)
class Leader:
    """``service_address`` is empty while the leader's registration is not yet known here."""

    member: Member
    service_address: str
    local: bool


class Leadership:
    """Follows the host's role; calls to the leader share one channel per address."""

    def __init__(
        self,
        host: Host,
        service_address_of: Callable[[str], str],
        applied_index: Callable[[], int],
        dial: Callable[[str], grpc.aio.Channel],
    ) -> None:
        """``service_address_of`` looks a member's name up in the replicated state; empty when unknown."""
        self._host = host
        self._service_address_of = service_address_of
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._changed = asyncio.Event()
        self._leads_from: int | None = None
        self._term = 0
        self._applied_index = applied_index
        self._dial = dial
        host.on_role_change(self._on_role_change)

    @property
    def leads(self) -> bool:
        """Whether this peer leads and has applied all that earlier leaders committed.

        Only then does it know the newest stamp in the log, behind which its clock must not fall.
        """
        return self._leads_from is not None and self._applied_index() >= self._leads_from

    @property
    def elected(self) -> bool:
        """Whether this peer was elected, perhaps without having applied everything yet."""
        return self._leads_from is not None

    def current(self) -> Leader | None:
        """The leader as this peer knows it."""
        member = self._host.leader()
        if member is None:
            return None
        return Leader(member, self._service_address_of(member.name), self.leads)

    async def wait(self, timeout_s: float) -> Leader | None:
        """The leader, once it is known and can be reached; None when ``timeout_s`` is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            leader = self.current()
            if leader is not None and (leader.local or (leader.service_address and not self.elected)):
                return leader
            left_s = deadline - loop.time()
            if left_s <= 0:
                return None
            self._changed.clear()
            try:
                # Registrations and applied entries arrive without a change of role: look now and then.
                await asyncio.wait_for(self._changed.wait(), min(left_s, 0.05))
            except TimeoutError:
                continue

    def channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self._dial(address)
        return channel

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    def _on_role_change(self, status: ReplicaStatus) -> None:
        if status.role is not Role.LEADER:
            self._leads_from = None
        elif self._leads_from is None or status.term != self._term:
            self._leads_from = status.last_index
        self._term = status.term
        self._changed.set()
