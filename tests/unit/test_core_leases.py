"""Reads by lease, thesis §6.4.1: opt-in, from the sending, within clock drift, ended by a transfer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftcore.core.config import CoreConfig
from raftcore.core.lease import Lease
from raftcore.core.messages import (
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    ReadRequest,
    TimeoutNow,
    Vote,
    VoteReply,
)
from raftcore.core.raft import RaftCore
from raftcore.core.types import Index, Instant, NodeId, Role
from raftcore.replica.replica import Replica
from tests.unit.core_cluster import (
    CONFIG,
    START,
    Cluster,
    config_entry,
    core_of,
    drain,
    membership_of,
    recovered_of,
)
from tests.unit.test_core_replication import ack, lead

LEASES = replace(CONFIG, lease_reads=True, clock_drift_ppm_max=250_000)
LENGTH_US = 1000 * 1_000_000 // 1_250_000 - 2


def leader_of(*voters: int, config: CoreConfig = LEASES) -> RaftCore:
    """Replica 1, leading, its first entry committed, no lease yet."""
    membership = membership_of(*voters)
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership)]), config)
    lead(core, *voters[1:])
    for voter in voters[1:]:
        ack(core, voter, 2)
    drain(core)
    assert core.commit == 2
    return core


def beat(core: RaftCore) -> int:
    """A heartbeat round leaves now; returns its position."""
    core.observe(Instant(core.now + core.config.heartbeat_interval_us))
    core.expire()
    beats = [message for message in drain(core).messages if isinstance(message, Heartbeat)]
    return beats[-1].read_position


def echo(core: RaftCore, src: int, position: int) -> None:
    core.step(HeartbeatReply(core.shard, NodeId(src), core.node, core.term, position))


def is_served_alone(core: RaftCore) -> bool:
    """Whether a read of this instant is answered without asking anybody."""
    core.read()
    ready = drain(core)
    assert bool(ready.reads) is not any(isinstance(message, Heartbeat) for message in ready.messages)
    return bool(ready.reads)


def test_leases_are_off_unless_asked_for() -> None:
    assert not CoreConfig().lease_reads
    core = leader_of(1, 2, 3, config=CONFIG)
    echo(core, 2, beat(core))
    assert not is_served_alone(core)


def test_a_lease_counts_from_the_sending_and_not_from_the_answer() -> None:
    core = leader_of(1, 2, 3)
    position = beat(core)
    sent = core.now
    core.observe(Instant(sent + LENGTH_US - 1))
    assert not is_served_alone(core), "nobody has answered yet"
    echo(core, 2, position)
    assert is_served_alone(core)
    core.observe(Instant(sent + LENGTH_US))
    assert not is_served_alone(core)


def test_a_lease_needs_a_quorum() -> None:
    core = leader_of(1, 2, 3, 4, 5)
    position = beat(core)
    echo(core, 2, position)
    assert not is_served_alone(core)
    echo(core, 3, position)
    assert is_served_alone(core)


def test_answers_to_appends_and_to_read_rounds_extend_a_lease() -> None:
    core = leader_of(1, 2, 3)
    assert not is_served_alone(core)
    sent = core.now
    core.propose(b"x")
    (append, _) = drain(core).messages
    core.step(
        AppendReply(
            core.shard, NodeId(2), core.node, core.term, False, Index(3), Index(0), Index(0), core.term,
            append.read_position,  # type: ignore[union-attr]  # an Append
        )
    )  # fmt: skip
    assert is_served_alone(core)
    core.observe(Instant(sent + LENGTH_US))
    assert not is_served_alone(core), "the Append left later, but its position is that of the read before it"


def test_an_old_echo_gives_no_lease() -> None:
    core = leader_of(1, 2, 3)
    position = beat(core)
    for _ in range(9):
        beat(core)
        echo(core, 3, 0)
    echo(core, 2, position)
    assert not is_served_alone(core)


def test_there_is_no_lease_before_the_first_own_commit() -> None:
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership_of(1, 2, 3))]), LEASES)
    lead(core, 2, 3)
    echo(core, 2, beat(core))
    core.read()
    assert not drain(core).reads, "the commit index is not known"


def test_a_transfer_ends_the_lease_for_the_rest_of_the_term() -> None:
    core = leader_of(1, 2, 3)
    echo(core, 2, beat(core))
    assert is_served_alone(core)
    core.transfer_leadership(NodeId(2))
    assert any(isinstance(message, TimeoutNow) for message in drain(core).messages)
    assert not is_served_alone(core)
    core.transfer_leadership(core.node)
    echo(core, 2, beat(core))
    echo(core, 3, beat(core))
    assert not is_served_alone(core), "the request to campaign may still arrive"


def test_a_lease_of_a_former_membership_is_none_of_the_present_one() -> None:
    """With two voters added, those who answered before are no quorum any more."""
    core = leader_of(1, 2, 3)
    echo(core, 2, beat(core))
    assert is_served_alone(core)
    core.truncate(Index(core.last_index + 1))
    core.adopt_membership(Index(core.last_index + 1), membership_of(1, 2, 3, 4, 5))
    assert not is_served_alone(core)


def test_a_followers_read_is_served_by_the_lease_of_its_leader() -> None:
    core = leader_of(1, 2, 3)
    echo(core, 2, beat(core))
    core.step(ReadRequest(core.shard, NodeId(3), core.node, core.term, 7))
    (reply,) = drain(core).messages
    assert (reply.id, reply.index) == (7, 2)  # type: ignore[union-attr]  # a ReadReply


def follower_that_heard(leader: int) -> RaftCore:
    core = core_of(recovered_of(3, term=2, entries=[config_entry(1, 1, membership_of(1, 2, 3))]), LEASES)
    core.observe(Instant(START + 5_000))
    core.step(Heartbeat(core.shard, NodeId(leader), core.node, core.term, Index(0), 0))
    drain(core)
    return core


def votes_for(core: RaftCore, candidate: int, term: int, *, transfer: bool = False) -> bool:
    core.step(Vote(core.shard, NodeId(candidate), core.node, term, Index(9), core.term, transfer))  # type: ignore[arg-type]
    replies = drain(core)
    return any(
        isinstance(message, VoteReply) and message.granted
        for message in [*replies.messages, *replies.messages_after_persist]
    )


def test_a_promise_outlives_the_term_in_which_it_was_made() -> None:
    """A higher term is heard of, from a candidate that asked for pre-votes long ago: no vote yet."""
    core = follower_that_heard(1)
    core.step(HeartbeatReply(core.shard, NodeId(2), core.node, 3, 0))  # type: ignore[arg-type]
    assert core.term == 3 and core.leader == 0
    assert not votes_for(core, 2, 3)
    core.observe(Instant(core.now + LEASES.election_timeout_us - 1))
    assert not votes_for(core, 2, 3)
    core.step(PreVote(core.shard, NodeId(2), core.node, 4, Index(9), 3))  # type: ignore[arg-type]
    assert not drain(core).messages
    core.observe(Instant(core.now + 1))
    assert votes_for(core, 2, 3)


def test_without_leases_a_higher_term_ends_the_waiting() -> None:
    core = core_of(recovered_of(3, term=2, entries=[config_entry(1, 1, membership_of(1, 2, 3))]), CONFIG)
    core.step(Heartbeat(core.shard, NodeId(1), core.node, core.term, Index(0), 0))
    core.step(HeartbeatReply(core.shard, NodeId(2), core.node, 3, 0))  # type: ignore[arg-type]
    assert votes_for(core, 2, 3)


def test_a_promise_does_not_bind_against_its_own_leader_or_a_transfer() -> None:
    assert votes_for(follower_that_heard(1), 1, 3)
    assert votes_for(follower_that_heard(1), 2, 3, transfer=True)
    assert not votes_for(follower_that_heard(1), 2, 3)


def test_a_restarted_replica_votes_for_nobody_for_a_lease_time() -> None:
    core = core_of(recovered_of(3, term=2, entries=[config_entry(1, 1, membership_of(1, 2, 3))]), LEASES)
    core.observe(Instant(START + LEASES.election_timeout_us - 1))
    assert not votes_for(core, 1, 3)
    core.observe(Instant(START + LEASES.election_timeout_us))
    assert votes_for(core, 1, 3)


def test_a_read_that_came_after_the_clock_was_read_is_not_served_by_lease() -> None:
    """The process may have stood still in between: the lease may be over."""
    core = leader_of(1, 2, 3)
    replica = Replica(core)
    echo(core, 2, beat(core))
    outcomes: list[object] = []
    replica.applied(Index(2), []) if core.applied < 2 else None
    replica.read(outcomes.append)
    turn = replica.turn()
    assert turn is not None and any(isinstance(message, Heartbeat) for message in turn.messages)
    replica.read(outcomes.append)
    replica.observe(core.now)
    turn = replica.turn()
    assert turn is None or not turn.messages


@pytest.mark.parametrize("drift_ppm", [1, 10_000, 400_000])
def test_no_clock_within_the_bound_breaks_a_promise_within_the_lease(drift_ppm: int) -> None:
    """The follower's clock runs ahead by the whole bound; rounding is against us on both sides."""
    config = replace(LEASES, election_timeout_us=600_000, clock_drift_ppm_max=drift_ppm)
    lease = Lease(config)
    lease.sent(1, Instant(0))
    promise_ends_us = config.election_timeout_us * 1_000_000 / (1_000_000 + drift_ppm)
    assert lease.holds(1, Instant(int(promise_ends_us) - 4))
    assert not lease.holds(1, Instant(int(promise_ends_us) - 1))


def test_a_cluster_with_leases_reads_and_fails_over() -> None:
    cluster = Cluster(1, 2, 3, config=LEASES)
    cluster.elect(1)
    cluster.advance(500)
    cluster.sent.clear()
    node = cluster.nodes[1]
    for _ in range(5):
        node.core.observe(Instant(cluster.now))
        node.core.read()
        cluster.settle()
    assert len(node.reads) == 5 and not cluster.sent
    cluster.isolate(1)
    cluster.advance(6_000)
    assert cluster.leader.core.node != 1
    assert node.core.role is not Role.LEADER
