"""The apply cursor: in order, without gap or repetition, within its bound, from memory or from the log."""

from __future__ import annotations

import pytest
from replica_driver import Calls, Cluster

from raftcore.core.config import CoreConfig
from raftcore.core.errors import InvariantViolation
from raftcore.core.types import Index
from raftcore.replica.replica import ReplicaLimits


def commands(cluster: Cluster, calls: Calls, count: int) -> list[bytes]:
    made = [b"command %03d" % n for n in range(count)]
    for command in made:
        cluster[1].propose(command, calls.done(command))
        cluster.settle()
    return made


def test_every_replica_applies_everything_in_order() -> None:
    cluster, calls = Cluster(3), Calls()
    cluster.elect(1)
    made = commands(cluster, calls, 30)
    cluster.pass_time(200_000, 1)
    for driven in cluster.nodes.values():
        assert driven.applied_commands == made


def test_no_more_than_the_bound_is_with_the_machine() -> None:
    cluster, calls = Cluster(1, ReplicaLimits(apply_bytes_max=40)), Calls()
    cluster.elect(1)
    cluster.nodes[1].applies = False
    made = commands(cluster, calls, 20)
    with_machine = [entry for entry in cluster.nodes[1].to_apply if entry.data]
    assert 1 <= len(with_machine) <= 3
    cluster.nodes[1].applies = True
    cluster.settle()
    assert cluster.nodes[1].applied_commands == made
    assert len(calls.outcomes) == 20


def test_slices_may_come_back_one_by_one() -> None:
    cluster, calls = Cluster(1), Calls()
    cluster.elect(1)
    cluster.nodes[1].applies = False
    commands(cluster, calls, 5)
    for entry in cluster.nodes[1].to_apply:
        results = [(entry.index, [b"done"])] if entry.kind == 1 else []
        cluster[1].applied(entry.index, results)
    assert list(calls.outcomes.values()) == [b"done"] * 5


def test_entries_that_left_memory_are_loaded() -> None:
    cluster, calls = Cluster(3, config=CoreConfig(tail_bytes_max=1)), Calls()
    cluster.elect(1)
    for driven in cluster.nodes.values():
        driven.applies = False
    made = commands(cluster, calls, 10)
    cluster.pass_time(200_000, 1)
    for driven in cluster.nodes.values():
        driven.applies = True
    cluster.settle()
    cluster.pass_time(200_000, 1)
    for driven in cluster.nodes.values():
        assert driven.applied_commands == made


def test_results_must_match_the_commands() -> None:
    cluster, calls = Cluster(1), Calls()
    cluster.elect(1)
    cluster.nodes[1].applies = False
    commands(cluster, calls, 1)
    last = cluster.nodes[1].to_apply[-1].index
    with pytest.raises(InvariantViolation, match="one result per command"):
        cluster[1].applied(last, [(last, [b"one", b"two"])])


def test_what_was_not_handed_out_cannot_come_back() -> None:
    cluster, calls = Cluster(1), Calls()
    cluster.elect(1)
    cluster.nodes[1].applies = False
    commands(cluster, calls, 1)
    with pytest.raises(InvariantViolation, match="only what was handed out"):
        cluster[1].applied(Index(99), [])
