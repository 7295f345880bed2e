"""Every client call ends exactly once: with its result, as not accepted, or as unknown."""

from __future__ import annotations

import pytest
from replica_driver import Calls, Cluster

from raftcore.core.errors import ChangePending, ConfigMoved, MembershipError, NotLeader
from raftcore.core.types import AddLearner, Index, NodeId, Remove, Role, SnapshotMeta, Term
from raftcore.replica.replica import ReplicaLimits

ELECTION_US = 1_200_000


def cut_off_leader_with_a_proposal(limits: ReplicaLimits | None = None) -> tuple[Cluster, Calls]:
    """1 leads but is cut off with ``in log`` in its log alone, and ``queued`` in its queue."""
    cluster, calls = Cluster(3, limits or ReplicaLimits(rounds_in_flight_max=1)), Calls()
    cluster.elect(1)
    cluster.cut = {1}
    cluster[1].propose(b"in log", calls.done("in log"))
    cluster.settle()
    cluster[1].propose(b"queued", calls.done("queued"))
    cluster.settle()
    return cluster, calls


def test_queued_commands_are_refused_when_leadership_is_lost_and_logged_ones_wait() -> None:
    cluster, calls = cut_off_leader_with_a_proposal()
    cluster.pass_time(ELECTION_US, 1)
    assert cluster[1].core.role is not Role.LEADER
    assert calls.kinds() == {"queued": "NotLeader"}
    assert cluster[1].status().pending_commands == 1


def test_an_overwritten_entry_is_refused_once_another_is_applied_in_its_place() -> None:
    cluster, calls = cut_off_leader_with_a_proposal()
    cluster.pass_time(ELECTION_US, 1)
    cluster.elect(2)
    cluster[2].propose(b"other", calls.done("other"))
    cluster.settle()
    cluster.cut = set()
    cluster.nodes[1].applies = False
    cluster.pass_time(200_000, 2)
    assert "in log" not in calls.outcomes
    cluster.nodes[1].applies = True
    cluster.settle()
    assert calls.kinds() == {"queued": "NotLeader", "other": "bytes", "in log": "NotLeader"}
    assert b"in log" not in cluster.nodes[1].applied_commands


def test_an_entry_that_survives_a_lost_leadership_is_answered_with_its_result() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    cluster.drops = lambda message: message.dst == 1
    cluster[1].propose(b"survives", calls.done("survives"))
    cluster.settle()
    cluster.pass_time(ELECTION_US, 1)
    assert cluster[1].core.role is not Role.LEADER and not calls.outcomes
    cluster.drops = lambda message: False
    cluster.elect(2)
    cluster.pass_time(200_000, 2)
    assert calls.outcomes == {"survives": b"SURVIVES"}


def test_a_fate_that_stays_unknown_is_reported_within_the_bound() -> None:
    limits = ReplicaLimits(rounds_in_flight_max=1, undecided_wait_us=1_000_000)
    cluster, calls = cut_off_leader_with_a_proposal(limits)
    cluster.pass_time(ELECTION_US, 1)
    assert "in log" not in calls.outcomes
    assert cluster[1].deadline() <= cluster.now + 1_000_000
    cluster.pass_time(999_999, 1)
    assert "in log" not in calls.outcomes
    cluster.pass_time(1, 1)
    assert calls.kinds()["in log"] == "OutcomeUnknown"
    cluster.cut = set()
    cluster.elect(1)
    assert len(calls.outcomes) == 2


def test_a_second_leadership_answers_for_itself_and_not_for_the_first() -> None:
    cluster, calls = cut_off_leader_with_a_proposal(
        ReplicaLimits(rounds_in_flight_max=1, undecided_wait_us=10**9)
    )
    cluster.pass_time(ELECTION_US, 1)
    cluster.elect(2)
    cluster.cut = set()
    cluster.nodes[1].applies = False
    for _ in range(3):
        cluster.pass_time(100_000, 2)
    cluster[2].transfer_leadership(NodeId(1))
    cluster.settle()
    cluster[1].propose(b"second life", calls.done("second life"))
    cluster.settle()
    assert set(calls.outcomes) == {"queued"}
    cluster.nodes[1].applies = True
    cluster.settle()
    assert calls.outcomes["second life"] == b"SECOND LIFE"
    assert calls.kinds()["in log"] == "NotLeader"


def test_stopping_ends_every_call() -> None:
    cluster, calls = cut_off_leader_with_a_proposal()
    cluster[1].read(calls.done("arriving read"))
    cluster[1].turn()
    cluster[1].read(calls.done("read"))
    cluster[1].stop()
    assert calls.kinds() == {
        "in log": "OutcomeUnknown",
        "queued": "NotLeader",
        "arriving read": "ReadFailed",
        "read": "ReadFailed",
    }
    with pytest.raises(NotLeader):
        cluster[1].propose(b"late", calls.done("late"))
    with pytest.raises(NotLeader):
        cluster[1].change_membership(Remove(NodeId(3)), Index(1), calls.done("late change"))
    cluster[1].stop()
    assert len(calls.outcomes) == 4


def test_a_snapshot_that_swallows_an_entry_leaves_its_fate_unknown() -> None:
    cluster, calls = cut_off_leader_with_a_proposal()
    cluster.pass_time(ELECTION_US, 1)
    replica = cluster[1]
    core = replica.core
    meta = SnapshotMeta(Index(50), Term(core.term), core.membership, core.membership_index, "s")
    core.installing = meta
    cluster.nodes[1].store.install(core.shard, core.node, meta)
    replica.snapshot_installed(meta)
    assert calls.kinds()["in log"] == "OutcomeUnknown"
    assert core.applied == 50
    replica.applied(Index(3), [])
    assert core.applied == 50


def test_a_membership_change_is_answered_with_the_index_of_its_committed_entry() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    based_on = cluster[1].core.membership_index
    cluster[1].change_membership(AddLearner("peer4", "127.0.0.1:7004"), based_on, calls.done("add"))
    with pytest.raises(ChangePending):
        cluster[1].change_membership(Remove(NodeId(3)), based_on, calls.done("second"))
    cluster.settle()
    index = calls.outcomes["add"]
    assert cluster[1].core.membership_index == index
    assert cluster[1].core.membership.learners == {index}
    with pytest.raises(ConfigMoved):
        cluster[1].change_membership(Remove(NodeId(3)), based_on, calls.done("third"))
    with pytest.raises((NotLeader, MembershipError)):
        cluster[2].change_membership(Remove(NodeId(3)), based_on, calls.done("fourth"))
    assert set(calls.outcomes) == {"add"}


def test_commands_are_refused_while_leadership_moves() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    cluster.cut = {2}
    cluster[1].transfer_leadership(NodeId(2))
    cluster[1].propose(b"a", calls.done("a"))
    cluster.settle()
    assert calls.kinds() == {"a": "TransferInProgress"}


def test_status_shows_where_calls_wait() -> None:
    cluster, calls = cut_off_leader_with_a_proposal()
    status = cluster[1].status()
    assert (status.queued_commands, status.pending_commands) == (1, 1)
    assert set(status.match) == {2, 3}
    assert cluster[2].status().match == {}
