"""How a fresh host becomes a cluster of one, and who keeps it from that.

A host whose disk was lost looks like a fresh one, and may have been told to form a cluster once and for all.
The members of the cluster that it belongs to still count on it: they dial it, and name it. So it listens
first, and when it is named it forms nothing and waits, to be removed there and invited again under a new id.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from raftcore.core.errors import WrongCluster
from raftcore.transport.base import Claim

if TYPE_CHECKING:
    from raftcore.host.host import Host

log = structlog.get_logger()

_INVITED_WITHIN_S = 2.0
"""A member that is being added is named too, until its invitation arrives."""


class Formation:
    """Forms a cluster of one where nobody objects, and ends one that somebody objects to."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._claims: set[str] = set()
        self._forming: asyncio.Task[None] | None = None
        self._complaint: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Form a cluster after a while, unless this host is claimed or invited until then."""
        self._forming = asyncio.create_task(self._form(), name="forming a cluster")

    async def stop(self) -> None:
        """Form none any more."""
        if self._complaint is not None:
            self._complaint.cancel()
        if self._forming is not None:
            self._forming.cancel()
            await asyncio.wait([self._forming])

    def claimed(self, claim: Claim) -> None:
        """A member of another cluster takes this host, by its name, for a member of that one.

        A cluster of more than this host has members who know better; one of nobody else ends.
        """
        self._claims.add(claim.cluster_id)
        if not self._host.cluster_id:
            if self._complaint is None:
                loop = asyncio.get_running_loop()
                self._complaint = loop.call_later(_INVITED_WITHIN_S, self._complain, claim)
            return
        status = self._host.status()
        if status is not None and {member.id for member in status.membership.members} == {status.node}:
            then = "delete what is in its directories before it is started and added again"
            self._host.fail(WrongCluster(self._problem(claim, then)))

    def _complain(self, claim: Claim) -> None:
        if not self._host.cluster_id:
            log.error(
                "name_claimed", name=self._host.config.name, problem=self._problem(claim, "add it again")
            )

    def _problem(self, claim: Claim, then: str) -> str:
        name = self._host.config.name
        return (
            f"{name} is a member of cluster {claim.cluster_id}, says {claim.name} at {claim.address}, and "
            f"has nothing of what it held there: remove {name} from that cluster, and {then}"
        )

    async def _form(self) -> None:
        await asyncio.sleep(self._host.config.formation_wait_s)
        try:
            if not self._claims:
                await self._host.form()
        except Exception as error:
            self._host.fail(error)
