"""Changing who belongs to the cluster: what a leader's host does beside proposing the change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import structlog

from raftcore.core.errors import (
    ChangePending,
    ConfigMoved,
    MembershipError,
    NotCaughtUp,
    NotLeader,
    OutcomeUnknown,
    RaftError,
    UnknownMember,
)
from raftcore.core.progress import Progress
from raftcore.core.types import AddLearner, ConfigChange, Index, Member, NodeId, Promote, Remove, Role
from raftcore.replica.turn import ReplicaStatus
from raftcore.transport.base import Invitation, Refused, Unreachable

if TYPE_CHECKING:
    from raftcore.host.host import Host

log = structlog.get_logger()

T = TypeVar("T")

_PROBE_TIMEOUT_S = 3.0
_RETRY_S = 0.02
_UNDO_TIMEOUT_S = 5.0
_ROUNDS_MAX = 10
"""Thesis §4.2.1: in a round a newcomer reaches what the leader had when the round began."""


class Members:
    """Adds, removes and promotes members of the host's first shard, and moves its leadership.

    A change with ``based_on`` is made to the membership of that `ReplicaStatus.membership_index` or to none:
    two operators who both looked before they decided do not undo each other. Without, it is made to whatever
    membership there is.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def add(self, name: str, address: str, timeout_s: float, based_on: Index | None = None) -> Member:
        """Add a voter; returns when it has caught up and votes.

        The address is asked first; it becomes a listener, is told who it is, catches up, and only then votes,
        so that a newcomer never stops writes (thesis §4.2.1). When anything fails, and when it gets no nearer
        for ``timeout_s``, it is removed again; while it gets nearer it may take as long as it takes.

        :raises NotLeader: ask the leader. :raises MembershipError: the membership is as it was; says why.
        :raises OutcomeUnknown: leadership was lost on the way; look at the membership.
        """
        return await self._add(name, address, timeout_s, based_on, voter=True)

    async def add_learner(
        self, name: str, address: str, timeout_s: float, based_on: Index | None = None
    ) -> Member:
        """Add a listener, who never votes until `promote`; returns when it knows who it is.

        :raises NotLeader: :raises MembershipError: :raises OutcomeUnknown: as `add`.
        """
        return await self._add(name, address, timeout_s, based_on, voter=False)

    async def promote(self, name: str, timeout_s: float, based_on: Index | None = None) -> None:
        """Make the listener called ``name`` a voter, when it has caught up; a voter stays one.

        :raises NotLeader: ask the leader. :raises UnknownMember: nobody has that name.
        :raises MembershipError: the membership is as it was. :raises OutcomeUnknown: not committed in time.
        """
        status = self._leader_status()
        member = _named(status, name)
        if member.id in status.membership.voters:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._promote(member.id, based_on=based_on)
        except TimeoutError:
            raise OutcomeUnknown(f"{name} did not become a voter within {timeout_s} s") from None
        log.info("member_promoted", member=name, node=member.id)

    async def _add(
        self, name: str, address: str, timeout_s: float, based_on: Index | None, *, voter: bool
    ) -> Member:
        status = self._leader_status()
        for member in status.membership.members:
            if name == member.name:
                raise MembershipError(f"{name} is already a member, at {member.address}")
            if address == member.address:
                raise MembershipError(f"{address} is already a member, called {member.name}")
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        await self._probe(name, address, min(timeout_s, _PROBE_TIMEOUT_S))
        try:
            async with asyncio.timeout_at(deadline_s):
                node = NodeId(await self._change(AddLearner(name, address), based_on))
        except TimeoutError:
            raise OutcomeUnknown(f"adding {name} was not committed within {timeout_s} s") from None
        try:
            async with asyncio.timeout_at(deadline_s) as timeout:
                await self._invite(name, address, node)
                if voter:
                    catching_up = _CatchingUp(self._host, node)
                    await self._promote(node, lambda: catching_up.prolong(timeout, timeout_s))
        except (TimeoutError, RaftError, asyncio.CancelledError) as error:
            await self._undo(node, name)
            if isinstance(error, TimeoutError):
                problem = f"{name} at {address} came no nearer within {timeout_s} s"
                raise MembershipError(f"{problem}; the membership is as before") from error
            if isinstance(error, (Unreachable, Refused)):
                raise MembershipError(str(error)) from error
            raise
        log.info("member_added", member=name, address=address, node=node, voter=voter)
        return Member(node, name, address)

    async def remove(self, name: str, timeout_s: float, based_on: Index | None = None) -> None:
        """Remove a member; returns when the membership without it is committed.

        :raises NotLeader: ask the leader. :raises UnknownMember: nobody has that name.
        :raises MembershipError: the membership is as it was. :raises OutcomeUnknown: not committed in time.
        """
        member = _named(self._leader_status(), name)
        try:
            async with asyncio.timeout(timeout_s):
                await self._change(Remove(member.id), based_on)
        except TimeoutError:
            raise OutcomeUnknown(f"removing {name} was not committed within {timeout_s} s") from None
        log.info("member_removed", member=name, node=member.id)

    async def transfer(self, name: str | None, timeout_s: float) -> Member:
        """Move leadership to ``name``, or to the voter whose log is furthest; returns the new leader.

        :raises NotLeader: ask the leader.
        :raises MembershipError: nobody who may lead did in time, or another one than ``name`` does.
        """
        status = self._leader_status()
        if name is None:
            target = self._furthest_voter(status)
            if target is None:
                raise MembershipError("there is no other voter")
        else:
            target = _named(status, name).id
            if target not in status.membership.voters:
                raise MembershipError(f"{name} does not vote")
        if target != status.node:
            self._host.member_runner().replica.transfer_leadership(target)
        try:
            async with asyncio.timeout(timeout_s):
                leader = self._host.leader()
                while leader is None or leader.id == status.node != target:
                    await asyncio.sleep(_RETRY_S)
                    leader = self._host.leader()
        except TimeoutError:
            raise MembershipError(f"leadership did not move within {timeout_s} s") from None
        if name not in (None, leader.name):
            raise MembershipError(f"{leader.name} leads now, not {name}")
        return leader

    async def hand_over(self, timeout_s: float) -> None:
        """Before a stop: leave leadership to somebody else, if there is anybody."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        attempt_s = 2 * self._host.config.core.election_timeout_us / 1e6
        while (left_s := deadline_s - loop.time()) > 0:
            status = self._host.status()
            if status is None or status.role is not Role.LEADER or len(status.membership.voters) < 2:
                return
            try:
                await self.transfer(None, min(left_s, attempt_s))
            except RaftError as error:
                # Whoever was asked may have died just now; there may be another.
                log.debug("leadership_not_handed_over", reason=str(error))
                await asyncio.sleep(_RETRY_S)

    def _leader_status(self) -> ReplicaStatus:
        status = self._host.status()
        if status is None:
            raise NotLeader
        if status.role is not Role.LEADER:
            raise NotLeader(status.leader)
        return status

    def _furthest_voter(self, status: ReplicaStatus) -> NodeId | None:
        """The voter that can take over soonest: one that is there, and lacks least."""
        core = self._host.member_runner().replica.core
        voters = [(node, each) for node, each in core.progress().items() if node in status.membership.voters]
        silent_us = core.config.election_timeout_us // 2

        def fitness(voter: tuple[NodeId, Progress]) -> tuple[bool, Index]:
            return core.now - voter[1].contact < silent_us, voter[1].match

        return max(voters, key=fitness)[0] if voters else None

    async def _probe(self, name: str, address: str, timeout_s: float) -> None:
        try:
            hello = await self._host.transport.hello(address, timeout_s)
        except (Unreachable, Refused) as error:
            raise MembershipError(f"{error}; the membership is as before") from error
        if hello.name != name:
            raise MembershipError(f"the host at {address} is called {hello.name}, not {name}")
        if hello.cluster_id not in ("", self._host.cluster_id):
            raise MembershipError(
                f"the host at {address} belongs to cluster {hello.cluster_id}: end it, delete what is in its "
                "directories, and start it without letting it form a cluster"
            )

    async def _change(self, change: ConfigChange, based_on: Index | None = None) -> Index:
        """Propose ``change`` until it is committed, waiting while another change is under way.

        :raises ConfigMoved: the membership is not the one of ``based_on`` any more.
        """
        while True:
            status = self._leader_status()
            if based_on not in (None, status.membership_index):
                raise ConfigMoved(
                    f"the membership was changed by entry {status.membership_index}, after {based_on}: "
                    "look at it and decide again"
                )
            changed: asyncio.Future[Index] = asyncio.get_running_loop().create_future()
            try:
                self._host.member_runner().replica.change_membership(
                    change, status.membership_index, resolver(changed)
                )
                return await changed
            except (ChangePending, ConfigMoved, NotCaughtUp):
                await asyncio.sleep(_RETRY_S)

    async def _invite(self, name: str, address: str, node: NodeId) -> None:
        """Tell the newcomer who it is, again and again until it answers."""
        shard = self._host.member_runner().shard
        invitation = Invitation(self._host.cluster_id, shard, node, name)
        while True:
            try:
                return await self._host.transport.invite(address, invitation, _PROBE_TIMEOUT_S)
            except Unreachable as error:
                log.info("invitation_unanswered", member=name, address=address, error=str(error))
                await asyncio.sleep(_RETRY_S)

    async def _promote(
        self,
        node: NodeId,
        waiting: Callable[[], None] = lambda: None,
        based_on: Index | None = None,
    ) -> None:
        """Wait until the learner holds all but a few of the leader's entries, then make it vote.

        ``waiting`` is called again and again until then.
        """
        lag_max = self._host.config.core.promote_lag_max
        while True:
            status = self._leader_status()
            match = status.match.get(node, 0)
            if match and match + lag_max >= status.last_index:
                break
            waiting()
            await asyncio.sleep(_RETRY_S)
        await self._change(Promote(node), based_on)

    async def _undo(self, node: NodeId, name: str) -> None:
        try:
            async with asyncio.timeout(_UNDO_TIMEOUT_S):
                await self._change(Remove(node))
        except UnknownMember:
            return
        except (RaftError, TimeoutError) as error:
            log.warning("member_not_removed_again", member=name, node=node, error=str(error))
            raise OutcomeUnknown(f"{name} was added as a listener and could not be removed again") from error


class _CatchingUp:
    """Moves a timeout on for as long as a newcomer gets nearer.

    Every byte of a snapshot counts that has not been sent before, and every entry of the first rounds: who
    has not caught up after so many is slower than the writes, and has no more than one timeout to do so. The
    leader makes the first snapshot in its own time, and any further one in the newcomer's.
    """

    def __init__(self, host: Host, node: NodeId) -> None:
        self._host = host
        self._node = node
        self._match = self._round_end = Index(0)
        self._sent_bytes = 0
        self._rounds = 0
        self._first_made = 0

    def prolong(self, timeout: asyncio.Timeout, timeout_s: float) -> None:
        if self._is_nearer():
            timeout.reschedule(asyncio.get_running_loop().time() + timeout_s)

    def _is_nearer(self) -> bool:
        runner, outgoing = self._host.member_runner(), self._host.snapshots.outgoing
        core = runner.replica.core
        progress = core.progress().get(self._node)
        match = progress.match if progress is not None else Index(0)
        if match >= self._round_end:
            self._round_end = core.last_index
            self._rounds += 1
        being_made = outgoing.being_made(runner.shard)
        self._first_made = self._first_made or being_made
        sent_bytes = outgoing.sent_bytes(self._node)
        nearer = (
            sent_bytes > self._sent_bytes
            or (match > self._match and self._rounds <= _ROUNDS_MAX)
            or (being_made > 0 and being_made == self._first_made)
        )
        self._match = max(self._match, match)
        self._sent_bytes = max(self._sent_bytes, sent_bytes)
        return nearer


def resolver(future: asyncio.Future[T]) -> Callable[[T | RaftError], None]:
    """A callback that ends ``future`` with its result or its error."""

    def done(outcome: T | RaftError) -> None:
        if future.done():
            return
        if isinstance(outcome, RaftError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    return done


def _named(status: ReplicaStatus, name: str) -> Member:
    for member in status.membership.members:
        if member.name == name:
            return member
    raise UnknownMember(f"nobody is called {name}")
