"""Commands become entries: alone at once, in groups under load, never beyond a bound."""

from __future__ import annotations

import pytest
from replica_driver import Calls, Cluster

from raftcore.core.config import CoreConfig
from raftcore.core.errors import Busy, NotLeader, PayloadTooLarge
from raftcore.replica.replica import ReplicaLimits


def test_a_lone_command_goes_in_the_turn_that_brings_it() -> None:
    cluster, calls = Cluster(1), Calls()
    cluster.elect(1)
    before = cluster[1].core.last_index
    cluster[1].propose(b"a", calls.done("a"))
    turn = cluster[1].turn()
    assert turn is not None and turn.write is not None
    assert [entry.index for entry in turn.write.entries] == [before + 1]


def test_commands_of_one_turn_share_one_entry() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    for n in range(100):
        cluster[1].propose(b"c%d" % n, calls.done(n))
    cluster.settle()
    assert cluster.nodes[1].groups == [100]
    assert calls.outcomes == {n: b"C%d" % n for n in range(100)}


def test_what_arrives_while_rounds_are_in_flight_forms_the_next_group() -> None:
    cluster, calls = Cluster(3, ReplicaLimits(rounds_in_flight_max=2)), Calls()
    cluster.elect(1)
    cluster.cut = {2, 3}
    for n in range(10):
        cluster[1].propose(b"c%d" % n, calls.done(n))
        cluster.settle()
    assert cluster[1].status().queued_commands == 8
    assert cluster[1].status().pending_commands == 2
    cluster.cut = set()
    for _ in range(3):
        cluster.pass_time(100_000, 1)
    assert cluster.nodes[1].groups == [1, 1, 8]
    assert len(calls.outcomes) == 10


def test_groups_keep_their_bounds_and_their_order() -> None:
    limits = ReplicaLimits(group_commands_max=3, group_bytes_max=10, rounds_in_flight_max=1)
    cluster, calls = Cluster(3, limits), Calls()
    cluster.elect(1)
    commands = [b"1", b"2", b"3", b"4", b"567890", b"x" * 50, b"y"]
    for command in commands:
        cluster[1].propose(command, calls.done(command))
    cluster.settle()
    assert cluster.nodes[2].groups == [3, 2, 1, 1]
    assert cluster.nodes[2].applied_commands == commands


def test_the_queue_is_bounded_by_count_and_by_bytes() -> None:
    cluster, calls = Cluster(1, ReplicaLimits(queued_commands_max=2, queued_bytes_max=100)), Calls()
    cluster.elect(1)
    cluster[1].propose(b"a", calls.done("a"))
    cluster[1].propose(b"b", calls.done("b"))
    with pytest.raises(Busy):
        cluster[1].propose(b"c", calls.done("c"))
    cluster.settle()
    cluster[1].propose(b"x" * 500, calls.done("larger than the bound, alone"))
    with pytest.raises(Busy):
        cluster[1].propose(b"d", calls.done("d"))
    cluster.settle()
    assert set(calls.outcomes) == {"a", "b", "larger than the bound, alone"}


def test_a_command_beyond_the_limit_is_refused_at_once() -> None:
    cluster, calls = Cluster(1, ReplicaLimits(command_bytes_max=10)), Calls()
    cluster.elect(1)
    with pytest.raises(PayloadTooLarge):
        cluster[1].propose(b"x" * 11, calls.done("x"))
    assert calls.outcomes == {}


def test_a_group_beyond_the_cores_limit_ends_with_an_error() -> None:
    cluster, calls = Cluster(1, config=CoreConfig(entry_bytes_max=50)), Calls()
    cluster.elect(1)
    cluster[1].propose(b"x" * 60, calls.done("large"))
    cluster.settle()
    cluster[1].propose(b"y", calls.done("small"))
    cluster.settle()
    assert calls.kinds() == {"large": "PayloadTooLarge", "small": "bytes"}


def test_the_cores_bound_on_uncommitted_bytes_holds_commands_back_without_losing_them() -> None:
    cluster, calls = Cluster(3, config=CoreConfig(uncommitted_bytes_max=100)), Calls()
    cluster.elect(1)
    cluster.cut = {2, 3}
    for n in range(4):
        cluster[1].propose(b"x" * 60, calls.done(n))
        cluster.settle()
    assert cluster[1].status().queued_commands == 3
    cluster.cut = set()
    for _ in range(3):
        cluster.pass_time(100_000, 1)
    assert set(calls.kinds().values()) == {"bytes"} and len(calls.outcomes) == 4


def test_a_slow_state_machine_holds_commands_back() -> None:
    limits = ReplicaLimits(unapplied_bytes_max=100, queued_commands_max=3)
    cluster, calls = Cluster(1, limits), Calls()
    cluster.elect(1)
    cluster.nodes[1].applies = False
    for n in range(4):
        cluster[1].propose(b"x" * 60, calls.done(n))
        cluster.settle()
    assert cluster[1].core.commit == cluster[1].core.last_index
    assert cluster[1].status().queued_commands == 2
    cluster[1].propose(b"y", calls.done(4))
    with pytest.raises(Busy):
        cluster[1].propose(b"z", calls.done(5))
    cluster.nodes[1].applies = True
    cluster.settle()
    assert len(calls.outcomes) == 5


def test_a_follower_refuses_at_once_and_names_the_leader() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    with pytest.raises(NotLeader) as refusal:
        cluster[2].propose(b"a", calls.done("a"))
    assert refusal.value.leader == 1


def test_callers_may_call_again_from_their_callback() -> None:
    cluster, calls = Cluster(1), Calls()
    cluster.elect(1)

    def again(outcome: object) -> None:
        calls.done("first")(outcome)
        cluster[1].propose(b"second", calls.done("second"))

    cluster[1].propose(b"first", again)
    cluster.settle()
    assert calls.outcomes == {"first": b"FIRST", "second": b"SECOND"}


def test_limits_are_validated() -> None:
    with pytest.raises(ValueError, match="group_bytes_max must be positive, is 0; reads_max"):
        ReplicaLimits(group_bytes_max=0, reads_max=-1)


def test_a_turn_without_work_is_none() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    assert cluster[1].turn() is None
