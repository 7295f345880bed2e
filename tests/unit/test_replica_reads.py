"""Linearizable reads through a replica: confirmed, applied, bounded in time and number."""

from __future__ import annotations

import pytest
from replica_driver import Calls, Cluster

from raftcore.core.errors import Busy
from raftcore.core.messages import ReadReply
from raftcore.replica.replica import ReplicaLimits


def test_a_read_ends_with_an_index_that_is_applied_here() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    cluster[1].propose(b"a", calls.done("a"))
    cluster.settle()
    cluster.nodes[1].applies = False
    cluster[1].propose(b"b", calls.done("b"))
    cluster.settle()
    cluster[1].read(calls.done("read"))
    cluster.settle()
    assert "read" not in calls.outcomes
    cluster.nodes[1].apply()
    assert calls.outcomes["read"] == cluster[1].core.applied == cluster[1].core.commit


def test_a_follower_reads_through_its_leader() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    cluster[1].propose(b"a", calls.done("a"))
    cluster.settle()
    cluster[3].read(calls.done("read"))
    cluster.settle()
    assert calls.outcomes["read"] == cluster[1].core.commit


def test_reads_of_one_turn_share_one_confirmation() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    asked = []
    original = cluster[1].core.read
    cluster[1].core.read = lambda **_: asked.append(1) or original()  # type: ignore[method-assign,func-returns-value]
    for n in range(50):
        cluster[1].read(calls.done(n))
    cluster.settle()
    assert len(asked) == 1 and len(calls.outcomes) == 50


def test_without_a_leader_a_read_fails() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster[1].read(calls.done("read"))
    cluster.settle()
    assert calls.kinds() == {"read": "NotLeader"}


def test_a_cut_off_leader_confirms_nothing() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    cluster.cut = {1}
    cluster[1].read(calls.done("read"))
    cluster.settle()
    assert not calls.outcomes
    cluster.pass_time(1_200_000, 1)
    assert calls.kinds() == {"read": "ReadFailed"}


def test_a_read_whose_answer_is_lost_ends_in_time() -> None:
    cluster, calls = Cluster(3, ReplicaLimits(undecided_wait_us=50_000)), Calls()
    cluster.elect(1)
    cluster.drops = lambda message: isinstance(message, ReadReply)
    cluster[2].read(calls.done("read"))
    cluster.settle()
    assert cluster[2].deadline() <= cluster.now + 50_000
    cluster.pass_time(50_000, 2)
    assert calls.kinds() == {"read": "ReadFailed"}
    assert cluster[2].status().pending_reads == 0


def test_waiting_reads_are_bounded() -> None:
    cluster, calls = Cluster(3, ReplicaLimits(reads_max=2)), Calls()
    cluster.elect(1)
    cluster[1].read(calls.done(1))
    cluster[1].read(calls.done(2))
    with pytest.raises(Busy):
        cluster[1].read(calls.done(3))
    cluster.settle()
    cluster[1].read(calls.done(3))
    cluster.settle()
    assert len(calls.outcomes) == 3
