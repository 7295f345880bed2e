"""The checkers see what they should: each known bug of other Raft libraries, planted here, is caught."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from raftcore.core import candidate, changes, dispatch, follower, leader
from raftcore.core.errors import NotLeader
from raftcore.core.leader import Leader
from raftcore.core.log import RaftLog
from raftcore.core.membership import Changer, decode_membership
from raftcore.core.messages import Append, VoteReply
from raftcore.core.quorum import committed_index
from raftcore.core.raft import RaftCore
from raftcore.core.reads import Read, ReadQueue
from raftcore.core.types import (
    NO_NODE,
    ConfigChange,
    Entry,
    EntryId,
    EntryKind,
    Index,
    Membership,
    NodeId,
    Range,
    Recovered,
    Role,
    Term,
)
from raftcore.replica.proposals import PendingEntry, PendingTable
from raftcore.replica.reads import ReadTable
from raftcore.replica.replica import Replica
from raftcore.sim.host import AwaitedSync, SimHost
from raftcore.sim.seeds import shrink
from raftcore.sim.trace import SimulationFailed
from raftcore.sim.world import DURATION_US, World
from tests.sim.leader_worlds import LeadersChangeMembers, LeadersStandStill

SEEDS = 120


class ForgetsItsVote(SimHost):
    """PySyncObj keeps neither term nor vote; here only the vote is gone after a restart."""

    def recover(self) -> Recovered:
        recovered = super().recover()
        return replace(recovered, hard_state=replace(recovered.hard_state, vote=NO_NODE))


class AnswersBeforeTheSync(SimHost):
    """No fsync before an acknowledgement or a vote."""

    def await_sync(self, awaiting: AwaitedSync) -> None:
        self.send(awaiting.messages)
        super().await_sync(replace(awaiting, messages=[]))


class ReportsUnsyncedWrites(SimHost):
    """The core is told that a write is durable when it is merely written."""

    def _release_persisted(self, replica: Replica) -> None:
        for awaiting in self._awaiting:
            awaiting.batch_count = 0
        super()._release_persisted(replica)


class SkipsAnEntry(SimHost):
    """The apply loop loses an entry when it is busy."""

    def carry_out(self, turn) -> None:  # type: ignore[no-untyped-def]
        if len(turn.apply) > 3:
            turn.apply = [*turn.apply[:1], *turn.apply[2:]]
        super().carry_out(turn)


class AnswersThoughTheSyncFailed(SimHost):
    """As if what was written were durable: nothing of it needs to be."""

    def _sync_failed(self) -> None:
        for awaiting in self._awaiting:
            self.send(awaiting.messages)
        super()._sync_failed()


class ForgetsThatItInstalls(SimHost):
    """No look at the marker after a crash between the new state and the new log."""

    def _finish_install(self) -> None:
        pass


def commit_old_terms_by_counting(patch: pytest.MonkeyPatch) -> None:
    """Thesis fig. 3.7; PySyncObj #169."""

    def advance_commit(self: Leader) -> None:
        core = self._core
        matches = {peer: progress.match for peer, progress in self.progress.items()}
        matches[core.node] = core.log.durable
        reached = Index(committed_index(core.membership, matches))
        if reached > core.log.commit:
            was_first = core.log.commit < self._first_own <= reached
            core.advance_commit(reached)
            if was_first:
                self.reads.unpark(reached)

    patch.setattr(Leader, "advance_commit", advance_commit)


def count_the_leaders_unsynced_log(patch: pytest.MonkeyPatch) -> None:
    """The leader's own vote for an entry before its disk has it, without a quorum elsewhere."""

    def advance_durable(self: RaftLog, index: Index) -> None:
        self.durable = self.last

    patch.setattr(RaftLog, "advance_durable", advance_durable)


def read_without_confirmation(patch: pytest.MonkeyPatch) -> None:
    """A deposed leader answers from its old state; it waits for its own commit, and asks nobody."""

    def read(self: Leader, read: Read, *, may_use_lease: bool = True) -> None:
        if self._has_committed():
            self._answer(read, self._core.log.commit)
        else:
            self.reads.park(read)

    patch.setattr(Leader, "read", read)


def reused_read_position(patch: pytest.MonkeyPatch) -> None:
    """etcd #20418: echoes of what left before the read came confirm it."""
    original = ReadQueue.add

    def add(self: ReadQueue, read: Read, commit: Index) -> None:
        if not self._is_open and self.position:
            self.position -= 1
        original(self, read, commit)

    patch.setattr(ReadQueue, "add", add)


def reused_replica_id(patch: pytest.MonkeyPatch) -> None:
    """The next free number is taken for a newcomer, though somebody had it who was removed."""
    original = Changer.__init__

    def init(self: Changer, current: Membership, index: Index) -> None:
        original(self, current, Index(max(member.id for member in current.members) + 1))

    patch.setattr(Changer, "__init__", init)


def change_before_own_commit(patch: pytest.MonkeyPatch) -> None:
    """Ongaro's correction of the single-server change, raft-dev 2015, forgotten."""
    original = changes.require_settled

    def require_settled(core: RaftCore, based_on: Index, *, has_committed: bool) -> None:
        original(core, based_on, has_committed=True)

    patch.setattr(changes, "require_settled", require_settled)


def read_before_applied(patch: pytest.MonkeyPatch) -> None:
    """The read index is confirmed, but not waited for."""

    def confirmed(self: ReadTable, id: int, index: Index) -> None:
        waiting = self._unconfirmed.pop(id, None)
        if waiting is not None:
            self._finish(waiting, index)

    patch.setattr(ReadTable, "confirmed", confirmed)


def truncate_without_a_conflict(patch: pytest.MonkeyPatch) -> None:
    """RaftOS #26, PySyncObj: whatever lies behind an old Append is erased."""

    def merge(core: RaftCore, entries: Sequence[Entry]) -> None:
        if entries[0].index <= core.log.last:
            core.truncate(entries[0].index)
        core.log.append(entries)
        for entry in entries:
            if entry.kind is EntryKind.CONFIG:
                core.adopt_membership(entry.index, decode_membership(entry.data))

    patch.setattr(follower, "_merge", merge)


def count_votes_per_message(patch: pytest.MonkeyPatch) -> None:
    """PySyncObj: a duplicated reply counts twice."""
    counts: dict[tuple[NodeId, Term], int] = {}

    def on_vote_reply(core: RaftCore, message: VoteReply) -> None:
        if core.role is not Role.CANDIDATE or not message.granted:
            return
        key = (core.node, core.term)
        counts[key] = counts.get(key, 1) + 1
        if 2 * counts[key] > len(core.membership.voters) and core.writes.durable_vote == (
            core.term,
            core.node,
        ):
            core.become_leader()

    patch.setattr(candidate, "on_vote_reply", on_vote_reply)
    patch.setitem(dispatch.HANDLERS, VoteReply, on_vote_reply)


def commit_what_was_not_verified(patch: pytest.MonkeyPatch) -> None:
    """WRaft #118: the leader's commit index is believed for entries that nobody compared."""
    original = follower.on_append

    def on_append(core: RaftCore, message: Append) -> None:
        original(core, message)
        commit = min(message.commit, core.log.last)
        if core.leader == message.src and commit > core.log.commit:
            core.advance_commit(Index(commit))

    patch.setitem(dispatch.HANDLERS, Append, on_append)


def vote_for_a_shorter_log(patch: pytest.MonkeyPatch) -> None:
    """The election restriction, thesis §3.6.1, is not looked at."""
    patch.setattr(RaftLog, "is_up_to_date", lambda self, last_index, last_term: True)


def count_learners(patch: pytest.MonkeyPatch) -> None:
    """A listener's copy is taken for a voter's."""

    def quorum_reached(membership: Membership, match: Mapping[NodeId, int]) -> int:
        everybody = membership.voters | membership.learners
        reached = sorted((match.get(node, 0) for node in everybody), reverse=True)
        return reached[len(membership.voters) // 2]

    patch.setattr(leader, "committed_index", quorum_reached)


def change_the_membership_while_a_change_is_pending(patch: pytest.MonkeyPatch) -> None:
    """Two uncommitted changes may have majorities that do not meet. Thesis §4.1."""

    def change_membership(self: Leader, change: ConfigChange, based_on: Index) -> EntryId:
        core = self._core
        changes.pass_all_ids(core)
        index = Index(core.log.last + 1)
        return self._append_membership(Changer(core.membership, index).simple(change))

    patch.setattr(Leader, "change_membership", change_membership)


def apply_before_durable(patch: pytest.MonkeyPatch) -> None:
    """etcd #14370: committed elsewhere is taken for durable here."""

    def hand_out(self: RaftLog, bytes_max: int) -> Range | None:
        if self.handed_out >= self.commit:
            return None
        lo = Index(self.handed_out + 1)
        self.handed_out = self.commit
        return Range(lo, Index(self.commit + 1))

    patch.setattr(RaftLog, "hand_out", hand_out)


def read_before_the_first_own_commit(patch: pytest.MonkeyPatch) -> None:
    """etcd #7331: a new leader does not know yet what is committed."""

    def read(self: Leader, read: Read, *, may_use_lease: bool = True) -> None:
        self.reads.add(read, self._core.log.commit)

    patch.setattr(Leader, "read", read)


def refuse_what_was_proposed(patch: pytest.MonkeyPatch) -> None:
    """hashicorp/raft #561: losing leadership is taken for proof that the write is lost."""

    def lose_leadership(self: PendingTable, leading_in: Term | None, now: int) -> None:
        if self._own and self._own[0].term != leading_in:
            for entry in self.take_all():
                entry.fail(NotLeader)

    patch.setattr(PendingTable, "lose_leadership", lose_leadership)


def answer_by_index_alone(patch: pytest.MonkeyPatch) -> None:
    """Whatever is applied at an index answers whoever proposed something there."""
    original = PendingTable.decided

    def decided(
        self: PendingTable, index: Index, term: Term
    ) -> tuple[PendingEntry | None, list[PendingEntry]]:
        for entry in (*self._own, *self._orphans):
            if entry.index == index:
                term = entry.term
        return original(self, index, term)

    patch.setattr(PendingTable, "decided", decided)


@dataclass(frozen=True)
class Planted:
    name: str
    host: type[SimHost] = SimHost
    plant: Callable[[pytest.MonkeyPatch], None] | None = None
    first: int = 1
    """The first seed to try: a rare bug need not be looked for where it is known not to show."""
    world: type[World] = World
    duration_us: int = DURATION_US

    def run(self, seed: int, host: type[SimHost]) -> None:
        self.world(seed, host=host, duration_us=self.duration_us).run()


def spaced(plant: Callable[[pytest.MonkeyPatch], None]) -> str:
    return plant.__name__.replace("_", " ")


PLANTED = [
    Planted("forgotten vote", host=ForgetsItsVote),
    Planted("answer before fsync", host=AnswersBeforeTheSync),
    Planted("persisted before fsync", host=ReportsUnsyncedWrites),
    Planted("entry skipped by the applier", host=SkipsAnEntry),
    Planted("answer though the sync failed", host=AnswersThoughTheSyncFailed),
    Planted("installation forgotten", host=ForgetsThatItInstalls),
    Planted(spaced(answer_by_index_alone), plant=answer_by_index_alone, first=25),
    Planted("commit what was not verified", plant=commit_what_was_not_verified, first=150),
    *[
        Planted(spaced(plant), plant=plant, world=LeadersStandStill, duration_us=2_000_000)
        for plant in (read_without_confirmation, reused_read_position)
    ],
    Planted(
        spaced(change_before_own_commit),
        plant=change_before_own_commit,
        world=LeadersChangeMembers,
        duration_us=3_000_000,
    ),
    *[
        Planted(spaced(plant), plant=plant)
        for plant in (
            commit_old_terms_by_counting,
            count_the_leaders_unsynced_log,
            reused_replica_id,
            read_before_applied,
            truncate_without_a_conflict,
            count_votes_per_message,
            vote_for_a_shorter_log,
            count_learners,
            change_the_membership_while_a_change_is_pending,
            apply_before_durable,
            read_before_the_first_own_commit,
            refuse_what_was_proposed,
        )
    ],
]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))
def test_planted_bug_is_caught(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    if planted.plant is not None:
        planted.plant(monkeypatch)
    for seed in range(planted.first, planted.first + SEEDS):
        try:
            planted.run(seed, planted.host)
        except SimulationFailed as failure:
            print(f"seed {seed}: {str(failure).splitlines()[0]}")
            monkeypatch.undo()
            planted.run(seed, SimHost)
            return
    pytest.fail(f"{SEEDS} seeds did not notice: {planted.name}")


def test_shrinking_leaves_the_faults_that_a_failure_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    truncate_without_a_conflict(monkeypatch)
    for seed in range(1, SEEDS):
        world = World(seed, duration_us=2_000_000)
        try:
            world.run()
        except SimulationFailed:
            break
    needed = shrink(seed, 2_000_000)
    assert needed.startswith("voters=")
    assert len(needed) < len(world.faults_text)
