"""Partitions of three peers, each a function; ``python -m tests.process.fault_partitions NAME DIRECTORY``.

To be run inside a fresh network namespace: see `tests.process.fault_network`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import grpc
from grpc import StatusCode

from tests.process.fault_ledger import Ledger, Writer, task_of
from tests.process.fault_network import NetworkCluster
from tests.process.fault_peers import FaultyPeer, info_of, wait_for

RESUME_S = 3.0
REFUSAL_S = 2.0
REFUSALS = {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED}


def term_of(peer: FaultyPeer) -> int:
    return wait_for(lambda: info_of(peer), 5, f"an answer of {peer.name}").term


def symmetric(cluster: NetworkCluster, ledger: Ledger) -> None:
    """The leader is alone: the others elect and go on; it refuses in time, and follows when it is back."""
    old = cluster.leader()
    majority = cluster.others(old)
    with Writer(ledger, cluster.members, timeout_s=0.5) as writer:
        writer.wait_acknowledged(20)
        cluster.part(old, majority)
    with Writer(ledger, majority, timeout_s=0.5) as writer:
        assert writer.wait_acknowledged(1, 10) < RESUME_S
        cluster.leader(majority)
        refused_in_time(old, ledger)
        writer.wait_acknowledged(20)
        cluster.heal()
        new = cluster.leader(majority)
        wait_for(lambda: (info := info_of(old)) and info.leader_id == new.name, 5, "the old leader follows")
        writer.wait_acknowledged(20)


def follower_apart(cluster: NetworkCluster, ledger: Ledger) -> None:
    """A follower is alone: nobody is elected, neither then nor when it is back."""
    leader = cluster.leader()
    apart = cluster.others(leader)[0]
    before = term_of(leader)
    with Writer(ledger, cluster.others(apart), timeout_s=0.5) as writer:
        cluster.part(apart, cluster.others(apart))
        writer.wait_acknowledged(20)
        refused_in_time(apart, ledger)
        cluster.heal()
        writer.wait_acknowledged(20)
        wait_for(lambda: (info := info_of(apart)) and info.leader_id == leader.name, 5, "it follows again")
    assert term_of(leader) == before


def one_way(cluster: NetworkCluster, ledger: Ledger) -> None:
    """The leader hears nobody, then nobody hears the leader: writes resume, terms stay few."""
    before = term_of(cluster.leader())
    with Writer(ledger, cluster.members, timeout_s=0.5) as writer:
        writer.wait_acknowledged(20)
        for deaf in (True, False):
            leader = cluster.leader()
            others = cluster.others(leader)
            if deaf:
                cluster.cut(*((other, leader) for other in others))
            else:
                cluster.cut(*((leader, other) for other in others))
            cluster.leader(others)
            writer.wait_acknowledged(10, 10)
            cluster.heal()
            cluster.leader()
            writer.wait_acknowledged(10, 10)
    assert term_of(cluster.leader()) <= before + 6


def bridge(cluster: NetworkCluster, ledger: Ledger) -> None:
    """The leader and one follower cannot see each other; the third sees both: one leader, writes go on."""
    leader = cluster.leader()
    third, other = cluster.others(leader)
    before = term_of(leader)
    with Writer(ledger, [third], timeout_s=0.5) as writer:
        writer.wait_acknowledged(20)
        cluster.cut((leader, other), (other, leader))
        for _ in range(4):
            writer.wait_acknowledged(10, 10)
            time.sleep(0.5)
        assert term_of(third) <= before + 2, f"terms went from {before} to {term_of(third)}"
        cluster.heal()
        writer.wait_acknowledged(20)


def refused_in_time(peer: FaultyPeer, ledger: Ledger) -> None:
    """A write at a peer without a majority ends within its deadline, and not with success."""
    request_id = ledger.new_request()
    started = time.monotonic()
    # Not by the client, which would go to the leader that the peer names.
    with grpc.insecure_channel(peer.service_address) as channel:
        try:
            data = task_of(request_id).to_request().SerializeToString()
            channel.unary_unary("/z4.Collection/CreateTask")(data, timeout=REFUSAL_S)
        except grpc.RpcError as error:
            assert error.code() in REFUSALS, error
        else:
            raise AssertionError(f"{peer.name} acknowledged a write without a majority")
    took_s = time.monotonic() - started
    assert took_s < REFUSAL_S + 1.0, f"refused after {took_s:.1f} s"


SCENARIOS = {one.__name__: one for one in (symmetric, follower_apart, one_way, bridge)}


def main(names: list[str], directory: Path) -> None:
    ledger = Ledger()
    with NetworkCluster(directory) as cluster:
        cluster.heal()
        cluster.form()
        for name in names:
            print(f"{time.strftime('%T')} {name}", flush=True)
            SCENARIOS[name](cluster, ledger)
            ledger.verify_cluster(cluster.members)


if __name__ == "__main__":
    main(sys.argv[1].split(","), Path(sys.argv[2]))
