"""Snapshots at the core's edge: what supersedes what, what a transfer says of its peer. Thesis §5."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftcore.core.messages import Heartbeat, HeartbeatReply, Message, PreVote, Snapshot
from raftcore.core.progress import ProgressState
from raftcore.core.raft import RaftCore
from raftcore.core.ready import InstallSnapshot, SnapshotWanted
from raftcore.core.types import AddLearner, Index, Instant, Membership, NodeId, Role, SnapshotMeta, Term
from tests.unit.core_cluster import CONFIG, Cluster, core_of, drain, membership_of, recovered_of, voter_of
from tests.unit.test_core_replication import ack, lead, reject


def meta_of(index: int, membership: Membership, *, term: int = 1, id: str = "s") -> SnapshotMeta:
    return SnapshotMeta(Index(index), Term(term), membership, Index(1), id)


def leader_with_a_peer_in_need() -> RaftCore:
    """Replica 1, leading; replica 3 needs a snapshot, which is not made yet."""
    core = lead(voter_of(1, 1, 2, 3, terms=(1,) * 6, commit=6, applied=6), 2)
    ack(core, 2, 7)
    core.compacted(Index(6))
    reject(core, 3, 6, 2, 1)
    assert drain(core).snapshot == SnapshotWanted(NodeId(3))
    return core


@pytest.mark.parametrize(
    "membership",
    [
        membership_of(1, 3, 4, learners=[2]),
        membership_of(1, 3, 4),
        membership_of(1, 2, 3, outgoing=[1, 3, 4]),
        membership_of(1, 3, 4, outgoing=[1, 2, 3]),
    ],
)
def test_whatever_membership_a_snapshot_carries_is_in_force_after_it(membership: Membership) -> None:
    """A voter may come back as a learner, as nothing, or into the middle of a joint change (etcd #10864)."""
    core = voter_of(2, 1, 2, 3, term=3)
    meta = replace(meta_of(20, membership, term=3), membership_index=Index(17))
    core.step(Snapshot(core.shard, NodeId(1), core.node, core.term, meta))
    assert drain(core).snapshot == InstallSnapshot(NodeId(1), meta)
    core.snapshot_installed(meta)
    assert (core.membership, core.membership_index) == (membership, 17)
    assert drain(core).membership == membership
    core.observe(Instant(core.deadline()))
    core.expire()
    campaigns = core.role is Role.PRE_CANDIDATE
    assert campaigns is (core.node in membership.voters | membership.outgoing)
    again = core_of(
        recovered_of(2, term=3, first=21, previous_term=3, commit=20, applied=20, configs=[(17, membership)])
    )
    assert (again.membership, again.membership_index) == (membership, 17)


def test_a_voter_that_became_a_learner_by_snapshot_becomes_a_voter_again() -> None:
    core = voter_of(2, 1, 2, 3)
    for index, membership in ((20, membership_of(1, 3, learners=[2])), (40, membership_of(1, 2, 3))):
        meta = meta_of(index, membership)
        core.step(Snapshot(core.shard, NodeId(1), core.node, core.term, meta))
        core.snapshot_installed(meta)
        drain(core)
    core.observe(Instant(core.deadline()))
    core.expire()
    assert core.role is Role.PRE_CANDIDATE


def test_a_newer_snapshot_supersedes_the_one_under_way_and_an_older_does_not() -> None:
    core = voter_of(2, 1, 2, 3)
    membership = membership_of(1, 2, 3)

    def offer(meta: SnapshotMeta, src: int = 1, term: int = 1) -> object:
        core.step(Snapshot(core.shard, NodeId(src), core.node, Term(term), meta))
        return drain(core).snapshot

    first, older, newer = (meta_of(index, membership, id=f"{index}") for index in (20, 15, 30))
    assert offer(first) == InstallSnapshot(NodeId(1), first)
    assert offer(older) is None and core.installing == first
    assert offer(newer) == InstallSnapshot(NodeId(1), newer) and core.installing == newer
    from_another = meta_of(25, membership, id="of the next leader")
    assert offer(from_another, src=3, term=2) == InstallSnapshot(NodeId(3), from_another)


def test_how_a_transfer_ends_says_nothing_of_the_peer_being_alive() -> None:
    """Only what is heard of it does (etcd #5879)."""
    for ok in (True, False):
        core = leader_with_a_peer_in_need()
        core.snapshot_ready(NodeId(3), meta_of(6, membership_of(1, 2, 3)))
        drain(core)
        contact = core.progress()[NodeId(3)].contact
        core.observe(Instant(core.now + 50))
        core.snapshot_sent(NodeId(3), ok)
        progress = core.progress()[NodeId(3)]
        assert progress.contact == contact
        assert progress.state is ProgressState.PROBE and progress.paused
        assert progress.next == (7 if ok else progress.match + 1)


def test_heartbeats_and_their_answers_leave_a_transfer_alone() -> None:
    """Heartbeats flow while it goes on, and nothing starts it again (etcd #9962)."""
    core = leader_with_a_peer_in_need()
    meta = meta_of(6, membership_of(1, 2, 3))
    core.snapshot_ready(NodeId(3), meta)
    drain(core)
    sent: list[Message] = []
    for _ in range(5):
        core.observe(Instant(core.now + CONFIG.heartbeat_interval_us))
        core.expire()
        for peer in (2, 3):
            core.step(HeartbeatReply(core.shard, NodeId(peer), core.node, core.term, 0))
        reject(core, 3, 6, 2, 1)
        sent += [message for message in drain(core).messages if message.dst == 3]
    assert [type(message).__name__ for message in sent] == ["Heartbeat"] * 5
    assert core.progress()[NodeId(3)].snapshot == meta


def test_a_replica_that_stands_still_answers_its_leader_and_keeps_its_promise() -> None:
    """The answer counts for quorum contact, reads and leases; log and state are not looked at."""
    core = voter_of(3, 1, 2, 3, term=2)
    core.step(Heartbeat(core.shard, NodeId(1), core.node, core.term, Index(0), 0))
    drain(core)
    core.observe(Instant(core.now + CONFIG.election_timeout_us // 2))
    heartbeat = Heartbeat(core.shard, NodeId(1), core.node, core.term, Index(99), 7)
    answer = core.answer_standing_still(heartbeat)
    assert answer == HeartbeatReply(core.shard, core.node, NodeId(1), core.term, 7)
    for other in (
        replace(heartbeat, src=NodeId(2)),
        replace(heartbeat, term=Term(core.term + 1)),
        replace(heartbeat, term=Term(core.term - 1)),
        PreVote(core.shard, NodeId(2), core.node, Term(3), Index(9), Term(2)),
    ):
        assert core.answer_standing_still(other) is None
    assert core.commit == 0 and core.ready() is None
    core.observe(Instant(core.now + CONFIG.election_timeout_us - 1))
    core.step(PreVote(core.shard, NodeId(2), core.node, Term(3), Index(9), Term(2)))
    assert not drain(core).messages, "it has heard its leader"


def test_a_replica_that_stands_still_says_nothing_that_a_crash_could_take_back() -> None:
    core = voter_of(3, 1, 2, 3, term=2)
    core.step(Heartbeat(core.shard, NodeId(1), core.node, Term(5), Index(0), 0))
    assert core.term == 5
    assert (
        core.answer_standing_still(Heartbeat(core.shard, NodeId(1), core.node, Term(5), Index(0), 0)) is None
    )


def test_a_leader_without_a_snapshot_to_offer_asks_again_at_the_next_sign_of_life() -> None:
    core = leader_with_a_peer_in_need()
    core.snapshot_ready(NodeId(3), None)
    assert drain(core).snapshot is None, "not in a loop: only when the peer is heard again"
    core.step(HeartbeatReply(core.shard, NodeId(3), core.node, core.term, 0))
    assert drain(core).snapshot == SnapshotWanted(NodeId(3))


def test_a_snapshot_that_ends_before_the_log_begins_is_not_offered() -> None:
    core = leader_with_a_peer_in_need()
    core.snapshot_ready(NodeId(3), meta_of(4, membership_of(1, 2, 3)))
    assert not [message for message in drain(core).messages if isinstance(message, Snapshot)]


def test_a_learner_that_was_added_while_it_was_cut_off_catches_up_by_snapshot() -> None:
    """The log that names it is compacted away before it hears of anything (openraft #1828)."""
    cluster = Cluster(1, 2, 3)
    core = cluster.elect(1).core
    for n in range(10):
        cluster.propose(b"%d" % n)
    learner = core.change_membership(AddLearner("four", "four:7000"), core.membership_index).index
    cluster.settle()
    for n in range(10, 20):
        cluster.propose(b"%d" % n)
    for id in (1, 2, 3):
        cluster.compact(id, cluster.nodes[id].core.applied + 1)
    cluster.start(recovered_of(learner))
    cluster.advance(4 * CONFIG.election_timeout_us)
    assert cluster.data(learner) == [b"%d" % n for n in range(20)]
    assert cluster.nodes[learner].core.membership.learners == {NodeId(learner)}
    cluster.propose(b"more")
    assert cluster.data(learner)[-1] == b"more"
    assert cluster.leader.core.progress()[NodeId(learner)].state is ProgressState.REPLICATE


def test_a_peer_far_behind_ends_up_with_the_log_though_it_is_compacted_all_the_time() -> None:
    """No loop of snapshots (hashicorp/raft #212)."""
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.isolate(3)
    for n in range(30):
        cluster.propose(b"%d" % n)
    cluster.heal()
    cluster.sent.clear()
    for n in range(30, 60):
        cluster.propose(b"%d" % n)
        leader = cluster.leader
        cluster.compact(leader.core.node, leader.core.applied - 2)
        cluster.advance(CONFIG.heartbeat_interval_us)
    assert cluster.data(3) == [b"%d" % n for n in range(60)]
    assert sum(isinstance(message, Snapshot) for message in cluster.sent) <= 2
