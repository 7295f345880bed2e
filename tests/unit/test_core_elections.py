"""Elections, thesis §3.4, §3.6.1, §4.2.3 and §9.6: who may win, and who may not disturb."""

from __future__ import annotations

from random import Random

import pytest

from raftcore.core.config import CoreConfig
from raftcore.core.errors import InvariantViolation, WrongReplica
from raftcore.core.messages import (
    Append,
    Heartbeat,
    HeartbeatReply,
    NotMember,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from raftcore.core.raft import RaftCore
from raftcore.core.types import AddLearner, Instant, Role
from tests.unit.core_cluster import (
    CONFIG,
    START,
    Cluster,
    config_entry,
    core_of,
    drain,
    entries_of,
    membership_of,
    recovered_of,
    voter_of,
)

TIMEOUT = CONFIG.election_timeout_us


def time_out(core: RaftCore) -> None:
    core.observe(Instant(core.deadline()))
    core.expire()


def candidate_of(node: int, *voters: int) -> RaftCore:
    """A candidate whose vote requests have left."""
    core = voter_of(node, *voters)
    time_out(core)
    for voter in voters:
        core.step(PreVoteReply(1, voter, node, core.term + 1, True))
    drain(core)
    assert core.role is Role.CANDIDATE
    return core


def test_one_of_three_is_elected_and_the_others_follow() -> None:
    cluster = Cluster(1, 2, 3)
    cluster.advance(5 * TIMEOUT)
    leader = cluster.leader.core
    assert all(node.core.leader == leader.node for node in cluster.nodes.values())
    assert all(node.core.commit == 2 for node in cluster.nodes.values())


def test_a_single_voter_elects_itself() -> None:
    cluster = Cluster(1)
    cluster.advance(3 * TIMEOUT)
    assert cluster.leader.core.commit == 2


def test_a_single_voter_leads_only_when_its_vote_is_durable() -> None:
    core = voter_of(1, 1)
    time_out(core)
    ready = core.ready()
    assert core.role is Role.CANDIDATE and ready is not None and ready.write is not None
    assert ready.write.must_sync and ready.write.hard_state == (ready.write.hard_state)
    core.persisted(ready.write.token)
    assert core.role is Role.LEADER


def test_vote_requests_wait_until_term_and_vote_are_durable() -> None:
    core = voter_of(1, 1, 2, 3)
    time_out(core)
    asked = drain(core).messages
    assert [(type(m), m.dst, m.term) for m in asked] == [(PreVote, 2, 2), (PreVote, 3, 2)]
    assert core.term == 1
    core.step(PreVoteReply(1, 2, 1, 2, True))
    ready = core.ready()
    assert ready is not None and ready.write is not None and ready.write.hard_state is not None
    assert (ready.write.hard_state.term, ready.write.hard_state.vote) == (2, 1)
    assert not ready.messages
    assert [(type(m), m.dst, m.term) for m in ready.messages_after_persist] == [(Vote, 2, 2), (Vote, 3, 2)]


def test_a_granted_vote_waits_until_it_is_durable_and_survives_a_restart() -> None:
    core = voter_of(2, 1, 2, 3)
    core.step(Vote(1, 1, 2, 2, 1, 1, False))
    ready = core.ready()
    assert ready is not None and ready.write is not None and ready.write.hard_state is not None
    assert ready.write.must_sync and not ready.messages
    assert ready.messages_after_persist == [VoteReply(1, 2, 1, 2, True)]
    again = voter_of(2, 1, 2, 3, term=2, vote=ready.write.hard_state.vote)
    again.step(Vote(1, 3, 2, 2, 1, 1, False))
    assert drain(again).messages == [VoteReply(1, 2, 3, 2, False)]


def test_a_repeated_request_of_the_same_candidate_is_granted_again() -> None:
    core = voter_of(2, 1, 2, 3)
    for _ in range(2):
        core.step(Vote(1, 1, 2, 2, 1, 1, False))
        assert drain(core).messages_after_persist == [VoteReply(1, 2, 1, 2, True)]


def test_duplicated_votes_count_once() -> None:
    core = candidate_of(1, 1, 2, 3, 4, 5)
    for _ in range(5):
        core.step(VoteReply(1, 2, 1, 2, True))
    assert core.role is Role.CANDIDATE
    core.step(VoteReply(1, 3, 1, 2, True))
    assert core.role is Role.LEADER


def test_votes_of_another_term_or_kind_do_not_elect() -> None:
    core = candidate_of(1, 1, 2, 3)
    core.step(VoteReply(1, 2, 1, 1, True))
    core.step(PreVoteReply(1, 2, 1, 2, True))
    core.step(PreVoteReply(1, 3, 1, 3, True))
    assert (core.role, core.term) == (Role.CANDIDATE, 2)


def test_a_lost_election_ends_at_once() -> None:
    core = candidate_of(1, 1, 2, 3)
    core.step(VoteReply(1, 2, 1, 2, False))
    core.step(VoteReply(1, 3, 1, 2, False))
    assert (core.role, core.term, core.vote) == (Role.FOLLOWER, 2, 1)


def test_granting_a_pre_vote_changes_nothing() -> None:
    core = voter_of(2, 1, 2, 3)
    before = (core.term, core.vote, core.role, core.leader, core.leader_contact, core.deadline())
    core.observe(Instant(START + 10))
    core.step(PreVote(1, 1, 2, 7, 1, 1))
    assert (core.term, core.vote, core.role, core.leader, core.leader_contact, core.deadline()) == before
    ready = drain(core)
    assert ready.write is None
    assert ready.messages == [PreVoteReply(1, 2, 1, 7, True)]


def test_a_pre_vote_refusal_brings_a_candidate_up_to_the_voters_term() -> None:
    voter = voter_of(2, 1, 2, 3, term=9)
    voter.step(PreVote(1, 1, 2, 2, 1, 1))
    (refusal,) = drain(voter).messages
    assert refusal == PreVoteReply(1, 2, 1, 9, False)
    candidate = voter_of(1, 1, 2, 3)
    time_out(candidate)
    candidate.step(refusal)
    assert (candidate.role, candidate.term) == (Role.FOLLOWER, 9)


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"),
    [(3, 2, True), (4, 2, True), (2, 3, True), (2, 2, False), (9, 1, False)],
)
def test_only_a_log_that_is_up_to_date_is_voted_for(last_index: int, last_term: int, granted: bool) -> None:
    """Thesis §3.6.1: the later last term wins, then the longer log."""
    for request, reply in (
        (Vote(1, 1, 2, 9, last_index, last_term, False), VoteReply(1, 2, 1, 9, granted)),
        (PreVote(1, 1, 2, 9, last_index, last_term), PreVoteReply(1, 2, 1, 9 if granted else 2, granted)),
    ):
        core = voter_of(2, 1, 2, 3, terms=(1, 1, 2))
        core.step(request)
        ready = drain(core)
        assert ready.messages + ready.messages_after_persist == [reply]


def test_who_hears_a_leader_ignores_elections_unless_the_leader_asked_for_one() -> None:
    core = voter_of(2, 1, 2, 3)
    core.step(Heartbeat(1, 1, 2, 1, 0, 0))
    drain(core)
    core.observe(Instant(START + TIMEOUT - 1))
    core.step(PreVote(1, 3, 2, 5, 9, 1))
    core.step(Vote(1, 3, 2, 5, 9, 1, False))
    assert core.ready() is None and core.term == 1
    core.step(Vote(1, 3, 2, 5, 9, 1, True))
    assert core.term == 5 and drain(core).messages_after_persist == [VoteReply(1, 2, 3, 5, True)]


def test_after_the_least_timeout_elections_are_heard_again() -> None:
    core = voter_of(2, 1, 2, 3)
    core.step(Heartbeat(1, 1, 2, 1, 0, 0))
    drain(core)
    core.observe(Instant(START + TIMEOUT))
    core.step(PreVote(1, 3, 2, 5, 9, 1))
    assert drain(core).messages == [PreVoteReply(1, 2, 3, 5, True)]


def test_the_known_leader_itself_may_ask() -> None:
    core = voter_of(2, 1, 2, 3)
    core.step(Heartbeat(1, 1, 2, 1, 0, 0))
    drain(core)
    core.step(PreVote(1, 1, 2, 2, 1, 1))
    assert drain(core).messages == [PreVoteReply(1, 2, 1, 2, True)]


def test_two_survivors_elect_one_of_them() -> None:
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.advance(6 * TIMEOUT)
    assert cluster.leader.core.node in (2, 3)


def test_long_log_of_a_low_term_and_short_log_of_a_high_term_elect_somebody() -> None:
    cluster = Cluster(1, 2, 3)
    cluster.nodes.clear()
    first = config_entry(1, 1, membership_of(1, 2, 3))
    cluster.start(recovered_of(1, term=2, entries=[first, *entries_of(2, 2, 2)]))
    cluster.start(recovered_of(2, term=8, entries=[first]))
    cluster.advance(10 * TIMEOUT)
    assert cluster.leader.core.node == 1


def test_a_leader_without_a_quorum_steps_down() -> None:
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    cluster.isolate(1)
    cluster.advance(TIMEOUT + 2 * CONFIG.heartbeat_interval_us)
    assert (leader.role, leader.leader) == (Role.FOLLOWER, 0) or leader.role is Role.PRE_CANDIDATE


def test_a_leader_that_hears_only_a_learner_steps_down() -> None:
    membership = membership_of(1, 2, 3, learners=[4])
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership)]))
    lead(core, 2, 3)
    while core.role is Role.LEADER:
        time_out(core)
        core.step(HeartbeatReply(1, 4, 1, core.term, 0))
        assert core.now < START + 6 * TIMEOUT
    assert core.leader == 0


def lead(core: RaftCore, *voters: int) -> None:
    time_out(core)
    for voter in voters:
        core.step(PreVoteReply(1, voter, core.node, core.term + 1, True))
    drain(core)
    for voter in voters:
        core.step(VoteReply(1, voter, core.node, core.term, True))
    assert core.role is Role.LEADER
    drain(core)


def test_a_stale_leader_is_told_the_term_and_steps_down() -> None:
    stuck = voter_of(3, 1, 2, 3, term=7)
    stuck.step(Heartbeat(1, 1, 3, 2, 0, 0))
    (answer,) = drain(stuck).messages
    leader = voter_of(1, 1, 2, 3)
    lead(leader, 2)
    leader.step(answer)
    assert (leader.role, leader.term) == (Role.FOLLOWER, 7)


def test_candidates_follow_a_leader_of_their_term() -> None:
    core = candidate_of(1, 1, 2, 3)
    core.step(Append(1, 2, 1, 2, 1, 1, 0, 0, entries_of(2, 2)))
    assert (core.role, core.leader, core.vote) == (Role.FOLLOWER, 2, 1)


def test_a_second_leader_in_the_same_term_halts_the_shard() -> None:
    leader = voter_of(1, 1, 2, 3)
    lead(leader, 2)
    with pytest.raises(InvariantViolation, match="one leader"):
        leader.step(Heartbeat(1, 3, 1, leader.term, 0, 0))
    follower = voter_of(1, 1, 2, 3)
    follower.step(Heartbeat(1, 2, 1, 1, 0, 0))
    with pytest.raises(InvariantViolation, match="one leader"):
        follower.step(Heartbeat(1, 3, 1, 1, 0, 0))


@pytest.mark.parametrize("term", [0, 1, 2])
def test_a_leader_answers_or_ignores_vote_requests_of_old_terms(term: int) -> None:
    leader = voter_of(1, 1, 2, 3)
    lead(leader, 2)
    leader.step(Vote(1, 3, 1, term, 9, 1, False))
    leader.step(PreVote(1, 3, 1, term, 9, 1))
    assert all(reply == VoteReply(1, 1, 3, 2, False) for reply in drain(leader).messages)
    assert leader.role is Role.LEADER


def test_waits_differ_between_replicas_and_rounds() -> None:
    waits = set()
    for seed in range(50):
        core = RaftCore(
            CONFIG, recovered_of(1, term=1, entries=[config_entry(1, 1, membership_of(1, 2))]), Random(seed)
        )
        core.observe(Instant(START))
        for _ in range(4):
            waits.add(core.deadline() - core.now)
            time_out(core)
            drain(core)
    assert min(waits) >= TIMEOUT and max(waits) < 2 * TIMEOUT
    assert len(waits) > 100


def test_heartbeats_must_be_faster_than_elections() -> None:
    with pytest.raises(ValueError, match="heartbeat_interval_us"):
        CoreConfig(election_timeout_us=100, heartbeat_interval_us=60)


def test_a_learner_never_campaigns_but_votes() -> None:
    membership = membership_of(1, 2, learners=[3])
    core = core_of(recovered_of(3, term=1, entries=[config_entry(1, 1, membership)]))
    for _ in range(3):
        time_out(core)
    assert core.role is Role.FOLLOWER and core.ready() is None
    core.step(Vote(1, 1, 3, 2, 1, 1, False))
    assert drain(core).messages_after_persist == [VoteReply(1, 3, 1, 2, True)]


def test_a_newcomer_knows_nobody_and_waits_for_any_leader() -> None:
    core = core_of(recovered_of(9))
    time_out(core)
    core.step(TimeoutNow(1, 1, 9, 0))
    assert core.role is Role.FOLLOWER and core.ready() is None
    core.step(Append(1, 1, 9, 4, 0, 0, 1, 0, [config_entry(1, 1, membership_of(1, learners=[9]))]))
    assert (core.leader, core.last_index, core.commit, core.membership_index) == (1, 1, 1, 1)


def test_a_replica_whose_removal_is_uncommitted_may_still_campaign_without_its_own_vote() -> None:
    entries = [config_entry(1, 1, membership_of(1, 2, 3)), config_entry(1, 2, membership_of(2, 3))]
    core = core_of(recovered_of(1, term=1, commit=1, entries=entries))
    time_out(core)
    assert core.role is Role.PRE_CANDIDATE
    core.step(PreVoteReply(1, 2, 1, 2, True))
    assert core.role is Role.PRE_CANDIDATE
    core.step(PreVoteReply(1, 3, 1, 2, True))
    assert core.role is Role.CANDIDATE


def test_a_replica_whose_removal_is_committed_never_campaigns() -> None:
    entries = [config_entry(1, 1, membership_of(1, 2, 3)), config_entry(1, 2, membership_of(2, 3))]
    core = core_of(recovered_of(1, term=1, commit=2, entries=entries))
    time_out(core)
    assert core.role is Role.FOLLOWER and not drain(core).messages


def test_a_removed_replica_that_missed_it_is_told_and_stops_campaigning() -> None:
    entries = [config_entry(1, 1, membership_of(1, 2, 3)), config_entry(1, 2, membership_of(2, 3))]
    voter = core_of(recovered_of(2, term=1, commit=2, entries=entries))
    removed = voter_of(1, 1, 2, 3)
    time_out(removed)
    voter.step(next(m for m in drain(removed).messages if m.dst == 2))
    (answer,) = drain(voter).messages
    assert answer == NotMember(1, 2, 1, 1, 2)
    removed.step(answer)
    assert removed.role is Role.FOLLOWER and removed.is_removed
    time_out(removed)
    assert removed.role is Role.FOLLOWER


def test_a_candidate_that_knows_a_later_membership_is_no_stranger() -> None:
    voter = core_of(recovered_of(2, term=1, commit=1, entries=[config_entry(1, 1, membership_of(2))]))
    voter.step(PreVote(1, 5, 2, 2, 3, 1))
    assert drain(voter).messages == [PreVoteReply(1, 2, 5, 2, True)]


def test_a_membership_change_that_nobody_committed_blocks_no_election() -> None:
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    cluster.is_lost = lambda message: isinstance(message, Append) and message.dst == 3
    leader.change_membership(AddLearner("peer4", "127.0.0.1:1"), leader.membership_index)
    cluster.turn(cluster.nodes[1])
    cluster.isolate(1)
    cluster.is_lost = lambda _: False
    cluster.advance(8 * TIMEOUT)
    assert cluster.leader.core.node in (2, 3)
    assert cluster.leader.core.commit == cluster.leader.core.last_index


def test_messages_for_another_replica_or_shard_are_refused() -> None:
    core = voter_of(1, 1, 2, 3)
    with pytest.raises(WrongReplica):
        core.step(Heartbeat(1, 2, 3, 1, 0, 0))
    with pytest.raises(WrongReplica):
        core.step(Heartbeat(2, 2, 1, 1, 0, 0))


def test_an_inbox_that_holds_a_heartbeat_prevents_the_election_of_a_paused_process() -> None:
    core = voter_of(2, 1, 2, 3)
    core.observe(Instant(START + 50 * TIMEOUT))
    core.step(Heartbeat(1, 1, 2, 1, 0, 0))
    core.expire()
    assert (core.role, core.leader) == (Role.FOLLOWER, 1)


def test_one_deaf_replica_does_not_depose_the_leader() -> None:
    """It hears nobody but is heard by all: pre-votes are ignored while a leader is there."""
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    term = leader.term
    cluster.cuts = {(1, 3), (2, 3)}
    cluster.advance(20 * TIMEOUT)
    assert leader.role is Role.LEADER and leader.term == term


def test_a_voter_of_an_older_term_grants_in_the_term_that_was_asked_for() -> None:
    """Its grant would else look stale, and it would be of no use to anybody (canonical/raft #279)."""
    voter = voter_of(2, 1, 2, 3)
    voter.step(PreVote(1, 1, 2, 9, 1, 1))
    assert drain(voter).messages == [PreVoteReply(1, 2, 1, 9, True)] and voter.term == 1
    candidate = voter_of(1, 1, 2, 3, term=8)
    time_out(candidate)
    drain(candidate)
    candidate.step(PreVoteReply(1, 2, 1, 9, True))
    assert (candidate.role, candidate.term) == (Role.CANDIDATE, 9)


@pytest.mark.parametrize("cut", [{(1, 2), (2, 1)}, {(1, 2)}, {(2, 1)}, {(1, 3), (2, 3)}, {(3, 1), (3, 2)}])
def test_a_partial_partition_does_not_change_leaders_for_ever(cut: set[tuple[int, int]]) -> None:
    """One replica reaches both others, or only one direction works: the cluster settles on one leader."""
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.cuts = cut
    cluster.advance(30 * TIMEOUT)
    settled = cluster.leader.core
    terms = {node.core.term for node in cluster.nodes.values()}
    assert settled.term <= 5, "an election for each timeout would be some twenty"
    cluster.advance(30 * TIMEOUT)
    assert cluster.leader.core is settled
    assert {node.core.term for node in cluster.nodes.values()} == terms
