"""Linearizable reads, thesis §6.4: confirmed by a quorum that was asked after the read came."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftcore.core.errors import Busy, NotLeader
from raftcore.core.membership import encode_membership
from raftcore.core.messages import Append, AppendReply, Heartbeat, HeartbeatReply, ReadReply, ReadRequest
from raftcore.core.raft import RaftCore
from raftcore.core.ready import ReadConfirmed
from raftcore.core.types import EntryKind, Index, Instant, NodeId, Remove, Role
from tests.unit.core_cluster import (
    CONFIG,
    Cluster,
    config_entry,
    core_of,
    drain,
    membership_of,
    recovered_of,
    voter_of,
)
from tests.unit.test_core_replication import ack, lead


def leader_of(*voters: int) -> RaftCore:
    """Replica 1, leading, its first entry committed."""
    core = lead(voter_of(1, *voters), *voters[1:])
    for voter in voters[1:]:
        ack(core, voter, 2)
    drain(core)
    assert core.commit == 2
    return core


def echo(core: RaftCore, src: int, position: int) -> None:
    core.step(HeartbeatReply(1, src, core.node, core.term, position))


def test_a_read_is_confirmed_by_a_quorum_of_echoes_of_its_own_position() -> None:
    core = leader_of(1, 2, 3)
    first = core.read()
    beats = drain(core).messages
    assert [(type(m), m.dst, m.read_position) for m in beats] == [(Heartbeat, 2, 1), (Heartbeat, 3, 1)]
    second = core.read()
    echo(core, 2, 1)
    assert drain(core).reads == [ReadConfirmed(first, Index(2))]
    echo(core, 3, 1)
    echo(core, 2, 1)
    assert not drain(core).reads, "old echoes prove nothing about a newer read"
    echo(core, 3, 2)
    assert drain(core).reads == [ReadConfirmed(second, Index(2))]


def test_reads_of_one_turn_share_one_round() -> None:
    core = leader_of(1, 2, 3)
    reads = [core.read() for _ in range(10)]
    assert len(drain(core).messages) == 2
    echo(core, 2, 1)
    assert [read.id for read in drain(core).reads] == reads


def test_acknowledgements_of_appends_confirm_reads_too() -> None:
    core = leader_of(1, 2, 3)
    read = core.read()
    drain(core)
    ack(core, 3, 2, position=1)
    assert [r.id for r in drain(core).reads] == [read]


def test_no_read_before_a_commit_in_the_own_term() -> None:
    core = lead(voter_of(1, 1, 2, 3, terms=(1, 1), commit=2), 2)
    read = core.read()
    drain(core)
    echo(core, 2, core.leadership.reads.position)  # type: ignore[union-attr]
    assert not drain(core).reads
    ack(core, 2, 3)
    beats = [m for m in drain(core).messages if isinstance(m, Heartbeat)]
    assert beats[0].read_position == 1
    echo(core, 2, 1)
    assert drain(core).reads == [ReadConfirmed(read, Index(3))]


def test_a_single_voter_reads_only_after_its_own_commit_too() -> None:
    core = voter_of(1, 1, terms=(1, 1), commit=1)
    core.observe(Instant(core.deadline()))
    core.expire()
    drain(core)
    assert core.role is Role.LEADER
    read = core.read()
    ready = core.ready()
    assert ready is not None and ready.write is not None and not ready.reads
    core.persisted(ready.write.token)
    assert drain(core).reads == [ReadConfirmed(read, Index(3))]
    again = core.read()
    assert drain(core).reads == [ReadConfirmed(again, Index(3))]


def test_a_lost_heartbeat_does_not_lose_the_read() -> None:
    core = leader_of(1, 2, 3)
    core.read()
    drain(core)
    core.observe(Instant(core.deadline()))
    core.expire()
    beats = [m for m in drain(core).messages if isinstance(m, Heartbeat)]
    assert {m.read_position for m in beats} == {1}


def test_stepping_down_fails_every_pending_read() -> None:
    core = leader_of(1, 2, 3)
    reads = [core.read(), core.read()]
    core.step(ReadRequest(1, 2, 1, core.term, 77))
    drain(core)
    core.step(Heartbeat(1, 3, 1, 9, 0, 0))
    ready = drain(core)
    assert ready.failed_reads == reads
    assert ReadReply(1, 1, 2, 9, 77, Index(0)) in ready.messages_after_persist


def test_a_smaller_quorum_confirms_at_once() -> None:
    core = leader_of(1, 2)
    read = core.read()
    drain(core)
    core.change_membership(Remove(2), core.membership_index)
    assert [r.id for r in drain(core).reads] == [read]


def test_joint_memberships_confirm_by_both_majorities() -> None:
    core = leader_of(1, 2, 3)
    joint = membership_of(1, 4, 5, outgoing=(1, 2, 3))
    entry = core.append_own(EntryKind.CONFIG, encode_membership(joint))
    core.adopt_membership(entry.index, joint)
    read = core.read()
    drain(core)
    echo(core, 2, 1)
    echo(core, 3, 1)
    assert not drain(core).reads
    echo(core, 4, 1)
    assert [r.id for r in drain(core).reads] == [read]


def test_pending_reads_are_bounded() -> None:
    config = replace(CONFIG, pending_reads_max=2)
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership_of(1, 2, 3))]), config)
    lead(core, 2)
    core.read()
    core.step(ReadRequest(1, 2, 1, core.term, 5))
    with pytest.raises(Busy):
        core.read()
    core.step(ReadRequest(1, 2, 1, core.term, 6))
    assert ReadReply(1, 1, 2, core.term, 6, Index(0)) in drain(core).messages


def test_a_follower_asks_its_leader_once_per_turn() -> None:
    core = voter_of(2, 1, 2, 3)
    with pytest.raises(NotLeader):
        core.read()
    core.step(Heartbeat(1, 1, 2, 1, 0, 0))
    drain(core)
    reads = [core.read(), core.read()]
    (request,) = drain(core).messages
    assert isinstance(request, ReadRequest) and request.dst == 1
    core.step(ReadReply(1, 1, 2, 1, request.id, Index(5)))
    assert drain(core).reads == [ReadConfirmed(id, Index(5)) for id in reads]
    core.step(ReadReply(1, 1, 2, 1, request.id, Index(5)))
    assert not drain(core).reads


def test_a_follower_fails_reads_that_are_refused_or_never_answered_or_whose_leader_is_gone() -> None:
    core = voter_of(2, 1, 2, 3)
    core.step(Heartbeat(1, 1, 2, 1, 0, 0))
    drain(core)
    refused = core.read()
    (request,) = drain(core).messages
    core.step(ReadReply(1, 1, 2, 1, request.id, Index(0)))  # type: ignore[union-attr]
    assert drain(core).failed_reads == [refused]
    late = core.read()
    drain(core)
    core.observe(Instant(core.now + CONFIG.election_timeout_us))
    core.step(Heartbeat(1, 1, 2, 1, 0, 0))
    core.expire()
    assert drain(core).failed_reads == [late]
    orphan = core.read()
    drain(core)
    core.step(Append(1, 3, 2, 4, 1, 1, 0, 0, []))
    assert drain(core).failed_reads == [orphan]


def test_request_ids_do_not_come_again_after_a_restart() -> None:
    ids = set()
    for seed in range(20):
        core = core_of(recovered_of(2, term=1, entries=[config_entry(1, 1, membership_of(1, 2))]), seed=seed)
        core.step(Heartbeat(1, 1, 2, 1, 0, 0))
        drain(core)
        core.read()
        (request,) = drain(core).messages
        ids.add(request.id)  # type: ignore[union-attr]
    assert len(ids) == 20


def test_an_isolated_leader_serves_no_read() -> None:
    cluster = Cluster(1, 2, 3)
    old = cluster.elect(1)
    cluster.isolate(1)
    read = old.core.read()
    cluster.advance(5 * CONFIG.election_timeout_us)
    cluster.propose(b"new")
    assert read not in old.reads and read in old.failed_reads


def test_reads_on_every_replica_see_what_was_committed_before() -> None:
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    cluster.propose(b"a")
    reads = {id: node.core.read() for id, node in cluster.nodes.items()}
    cluster.settle()
    assert all(cluster.nodes[id].reads[read] == leader.commit for id, read in reads.items())
    assert isinstance(cluster.sent[-1], (ReadReply, HeartbeatReply, AppendReply, Heartbeat))


def test_reads_neither_hold_up_a_transfer_nor_are_held_up_by_one_that_fails() -> None:
    """A leader that goes on reading is replaced all the same; a target that is gone costs no read."""
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    leader.transfer_leadership(NodeId(2))
    reads = [leader.read() for _ in range(5)]
    cluster.settle()
    assert cluster.leader.core.node == 2
    node = cluster.nodes[1]
    assert {*reads} <= node.failed_reads | node.reads.keys(), "each has ended"
    cluster.advance(500)
    leader = cluster.leader.core
    cluster.isolate(3)
    leader.transfer_leadership(NodeId(3))
    read = leader.read()
    cluster.settle()
    assert read in cluster.nodes[2].reads
    cluster.advance(2 * CONFIG.election_timeout_us)
    assert cluster.leader.core is leader
    leader.propose(b"accepted again")
