"""Membership changes, thesis chapter 4: one at a time, effective on append, without gaps in service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftcore.core.errors import (
    BadFrame,
    ChangePending,
    ConfigMoved,
    InvariantViolation,
    MembershipError,
    NotCaughtUp,
    NotLeader,
    UnknownMember,
    WouldRemoveLastVoter,
)
from raftcore.core.membership import (
    Changer,
    ConfigHistory,
    check_membership,
    decode_membership,
    encode_membership,
)
from raftcore.core.messages import Append, PreVote, PreVoteReply, TimeoutNow, VoteReply
from raftcore.core.raft import RaftCore
from raftcore.core.types import AddLearner, Index, Instant, Member, Membership, NodeId, Promote, Remove, Role
from tests.unit.core_cluster import (
    CONFIG,
    Cluster,
    config_entry,
    core_of,
    drain,
    entries_of,
    membership_of,
    recovered_of,
    voter_of,
)
from tests.unit.test_core_reads import leader_of
from tests.unit.test_core_replication import ack, lead

NEW = AddLearner("peer4", "127.0.0.1:7004")


def test_a_change_waits_for_the_first_commit_of_the_term_and_for_the_one_before() -> None:
    core = lead(voter_of(1, 1, 2, 3, commit=1), 2)
    with pytest.raises(ChangePending):
        core.change_membership(NEW, Index(1))
    ack(core, 2, 2)
    added = core.change_membership(NEW, Index(1))
    with pytest.raises(ChangePending):
        core.change_membership(NEW, added.index)
    drain(core)
    ack(core, 2, core.last_index)
    core.change_membership(NEW, added.index)


def test_a_change_is_compared_with_the_membership_it_was_made_for() -> None:
    core = leader_of(1, 2, 3)
    added = core.change_membership(NEW, Index(1))
    drain(core)
    ack(core, 2, added.index)
    with pytest.raises(ConfigMoved):
        core.change_membership(NEW, Index(1))
    assert core.membership_index == added.index


def test_only_a_leader_changes_the_membership() -> None:
    with pytest.raises(NotLeader):
        voter_of(1, 1, 2).change_membership(NEW, Index(1))


def test_a_learners_id_is_the_index_of_its_entry_and_exceeds_every_older_id() -> None:
    core = lead(voter_of(1, 1, 2, 9), 2)
    ack(core, 2, 2)
    added = core.change_membership(NEW, Index(1))
    assert added.index == 10
    assert core.membership.learners == {10}
    assert core.membership.members[-1] == Member(NodeId(10), "peer4", "127.0.0.1:7004")


def test_ids_that_were_removed_never_come_again() -> None:
    core = lead(voter_of(1, 1, 2, 5), 2)
    ack(core, 2, 2)
    removed = core.change_membership(Remove(5), Index(1))
    drain(core)
    ack(core, 2, removed.index)
    added = core.change_membership(NEW, removed.index)
    assert added.index > 5


def test_a_change_is_effective_when_appended_and_undone_when_overwritten() -> None:
    core = voter_of(2, 1, 2, 3)
    smaller = membership_of(1, 2)
    core.step(Append(1, 1, 2, 1, 1, 1, 0, 0, [config_entry(1, 2, smaller)]))
    ready = drain(core)
    assert core.membership == ready.membership == smaller
    assert ready.write is not None and ready.write.configs == [(2, smaller)]
    core.step(Append(1, 3, 2, 5, 1, 1, 0, 0, entries_of(2, 5)))
    ready = drain(core)
    assert core.membership == ready.membership == membership_of(1, 2, 3)
    assert core.membership_index == 1


def test_effective_and_undone_hold_across_a_restart() -> None:
    entries = [config_entry(1, 1, membership_of(1, 2, 3)), config_entry(1, 2, membership_of(1, 2))]
    core = core_of(recovered_of(2, term=1, commit=1, entries=entries))
    assert core.membership == membership_of(1, 2)
    core.step(Append(1, 3, 2, 5, 1, 1, 0, 0, entries_of(2, 5)))
    assert core.membership == membership_of(1, 2, 3)


def test_a_learner_does_not_count() -> None:
    core = leader_of(1, 2, 3)
    added = core.change_membership(NEW, Index(1))
    drain(core)
    ack(core, added.index, added.index)
    assert core.commit == 2
    ack(core, 2, added.index)
    assert core.commit == added.index


def test_only_a_learner_that_has_caught_up_is_promoted() -> None:
    config = replace(CONFIG, promote_lag_max=2)
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership_of(1))]), config)
    lead(core)
    learner = core.change_membership(NEW, Index(1)).index
    drain(core)
    for _ in range(5):
        core.propose(b"x")
    drain(core)
    with pytest.raises(NotCaughtUp):
        core.change_membership(Promote(NodeId(learner)), Index(learner))
    ack(core, learner, core.last_index - 3)
    with pytest.raises(NotCaughtUp):
        core.change_membership(Promote(NodeId(learner)), Index(learner))
    ack(core, learner, core.last_index - 2)
    core.change_membership(Promote(NodeId(learner)), Index(learner))
    assert core.membership.voters == {1, learner}


def test_a_learner_that_fell_silent_is_not_promoted() -> None:
    core = lead(voter_of(1, 1))
    learner = core.change_membership(NEW, Index(1)).index
    drain(core)
    ack(core, learner, core.last_index)
    core.observe(Instant(core.now + CONFIG.election_timeout_us))
    with pytest.raises(NotCaughtUp):
        core.change_membership(Promote(NodeId(learner)), Index(learner))


def test_changes_that_make_no_sense_are_refused() -> None:
    core = leader_of(1, 2, 3)
    for change in (Promote(NodeId(2)), Promote(NodeId(99)), Remove(NodeId(99))):
        with pytest.raises(UnknownMember):
            core.change_membership(change, Index(1))
    with pytest.raises(UnknownMember):
        core.transfer_leadership(NodeId(99))
    alone = lead(voter_of(1, 1))
    with pytest.raises(WouldRemoveLastVoter):
        alone.change_membership(Remove(NodeId(1)), Index(1))
    far = lead(voter_of(1, 1, 2, 10**12), 2)
    ack(far, 2, 2)
    with pytest.raises(MembershipError):
        far.change_membership(NEW, Index(1))


def test_adding_an_unreachable_peer_never_stops_writes() -> None:
    cluster = Cluster(1)
    leader = cluster.elect(1).core
    leader.change_membership(NEW, leader.membership_index)
    for n in range(5):
        cluster.propose(b"%d" % n)
    assert leader.commit == leader.last_index


def test_a_cluster_grows_from_one_to_three_and_survives_the_first() -> None:
    cluster = Cluster(1)
    leader = cluster.elect(1).core
    cluster.propose(b"before")
    ids = []
    for name in ("b", "c"):
        id = leader.change_membership(AddLearner(name, name), leader.membership_index).index
        ids.append(id)
        cluster.start(recovered_of(id))
        cluster.advance(5 * CONFIG.heartbeat_interval_us)
        leader.change_membership(Promote(NodeId(id)), leader.membership_index)
        cluster.advance(CONFIG.heartbeat_interval_us)
    assert leader.membership.voters == {1, *ids}
    cluster.isolate(1)
    cluster.advance(6 * CONFIG.election_timeout_us)
    assert cluster.leader.core.node in ids
    assert cluster.data(cluster.leader.core.node) == [b"before"]


def test_a_just_added_voter_does_not_depose_the_leader() -> None:
    core = lead(voter_of(1, 1))
    learner = core.change_membership(NEW, Index(1)).index
    drain(core)
    ack(core, learner, core.last_index)
    core.change_membership(Promote(NodeId(learner)), Index(learner))
    drain(core)
    core.observe(Instant(core.deadline()))
    core.expire()
    assert core.role is Role.LEADER


def test_a_leader_that_is_removed_commits_that_without_itself_and_hands_over() -> None:
    core = leader_of(1, 2, 3)
    removal = core.change_membership(Remove(NodeId(1)), Index(1))
    drain(core)
    ack(core, 2, removal.index)
    drain(core)
    assert core.role is Role.LEADER and core.commit < removal.index
    ack(core, 3, removal.index)
    messages = drain(core).messages
    assert (core.role, core.commit) == (Role.FOLLOWER, removal.index)
    assert messages[-1] == TimeoutNow(1, 1, 2, core.term)
    core.observe(Instant(core.deadline()))
    core.expire()
    assert not any(isinstance(m, PreVote) for m in drain(core).messages)


def test_removing_the_leader_of_a_cluster_elects_another_at_once() -> None:
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    leader.change_membership(Remove(NodeId(1)), leader.membership_index)
    cluster.settle()
    cluster.settle()
    assert cluster.leader.core.node in (2, 3)
    cluster.propose(b"after")
    assert cluster.data(2) == cluster.data(3) == [b"after"]


def test_a_removed_replica_does_not_disturb_those_who_stay() -> None:
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    cluster.isolate(3)
    leader.change_membership(Remove(NodeId(3)), leader.membership_index)
    cluster.settle()
    cluster.heal()
    term = leader.term
    cluster.advance(10 * CONFIG.election_timeout_us)
    assert leader.role is Role.LEADER and leader.term == term
    assert cluster.nodes[3].core.is_removed


def test_two_removals_in_a_row_finish_even_when_the_leader_of_the_first_dies() -> None:
    """Thesis §4.2.2 and figure 4.6: four voters, two removed, of which one must still vote."""
    cluster = Cluster(1, 2, 3, 4)
    leader = cluster.elect(1).core
    leader.change_membership(Remove(NodeId(1)), leader.membership_index)
    cluster.settle()
    cluster.advance(3 * CONFIG.election_timeout_us)
    leader = cluster.leader.core
    cluster.advance(CONFIG.election_timeout_us)
    leader.change_membership(Remove(leader.node), leader.membership_index)
    cluster.settle()
    cluster.advance(4 * CONFIG.election_timeout_us)
    assert len(cluster.leader.core.membership.voters) == 2
    cluster.propose(b"x")
    assert cluster.leader.core.commit == cluster.leader.core.last_index


def test_a_joint_membership_needs_both_majorities_and_a_new_leader_leaves_it() -> None:
    joint = membership_of(1, 2, 3, outgoing=(1, 4, 5))
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, joint)]))
    core.observe(Instant(core.deadline()))
    core.expire()
    lead_jointly(core)
    assert core.role is Role.LEADER
    drain(core)
    ack(core, 2, 2)
    ack(core, 3, 2)
    assert core.commit == 0
    ack(core, 4, 2)
    assert core.commit == 2
    ready = drain(core)
    assert core.membership == membership_of(1, 2, 3) == ready.membership
    assert set(core.progress()) == {2, 3}


def lead_jointly(core: RaftCore) -> None:
    for kind, voters in ((PreVoteReply, (2, 3, 4)), (VoteReply, (2, 3, 4))):
        before = core.role
        for voter in voters:
            assert core.role is before
            term = core.term + 1 if kind is PreVoteReply else core.term
            core.step(kind(1, voter, 1, term, True))
        drain(core)


def test_the_history_of_memberships_follows_the_log() -> None:
    first, second, third = membership_of(1), membership_of(1, 2), membership_of(1, 2, 3)
    history = ConfigHistory([(Index(1), first)])
    history.append(Index(5), second)
    history.append(Index(9), third)
    assert (history.current, history.index, history.at(Index(6))) == (third, 9, second)
    assert history.truncate(Index(9)) and not history.truncate(Index(6))
    assert (history.current, history.since(Index(2))) == (second, [(5, second)])
    history.compact(Index(5))
    assert history.at(Index(4)) == first
    history.compact(Index(6))
    assert history.at(Index(4)).voters == frozenset()
    with pytest.raises(InvariantViolation):
        history.append(Index(5), third)


def test_nobody_is_voter_and_learner_at_once() -> None:
    with pytest.raises(InvariantViolation, match="at once"):
        check_membership(membership_of(1, 2, learners=[2]))
    with pytest.raises(InvariantViolation, match="has a voter"):
        check_membership(membership_of())
    with pytest.raises(InvariantViolation, match="directory"):
        check_membership(Membership(voters=frozenset({NodeId(1)})))


def test_an_id_in_use_is_never_given_to_a_newcomer() -> None:
    with pytest.raises(InvariantViolation, match="never used again"):
        Changer(membership_of(1, 7), Index(5)).simple(NEW)


@pytest.mark.parametrize("data", [b"", b"\x07" + bytes(10), encode_membership(membership_of(1, 2))[:-1]])
def test_bytes_that_are_no_membership_are_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_membership(data)
    with pytest.raises(BadFrame):
        decode_membership(encode_membership(membership_of(1)) + b"x")
