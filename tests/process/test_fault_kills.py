"""kill -9 at every fsync, kill -9 at random, and a leader that is stopped: no acknowledged write is lost."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.fault_ledger import Ledger, Writer
from tests.process.fault_peers import SYNCS, FaultyCluster, FaultyPeer, info_of, needs_root, strace, wait_for
from z4sql.cli.local_cluster import ClusterFailed
from z4sql.client import Client, Z4Error

SCRIPT_WRITES = 12
SYNCS_MAX = 200


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyCluster]:
    with FaultyCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.form()
        yield cluster


@pytest.fixture
def cluster(formed: FaultyCluster) -> FaultyCluster:
    """Three peers, all up whatever the test before did to them."""
    formed.revive()
    return formed


def scripted_run(cluster: FaultyCluster, victim: FaultyPeer, ledger: Ledger) -> None:
    """Start the victim, write, stop it cleanly; ends early when it dies."""
    victim.start()
    cluster.wait_healthy(victim)
    asked = [peer.service_address for peer in cluster.members]
    with Client(asked, timeout_s=2) as client:
        for _ in range(SCRIPT_WRITES):
            if not victim.running():
                return
            try:
                ledger.write(client, 1)
            except Z4Error:
                continue
    victim.send_signal(signal.SIGTERM)
    victim.wait_ended(20)


def killed_at_sync(cluster: FaultyCluster, victim: FaultyPeer, number: int, ledger: Ledger) -> bool:
    """One run in which the victim dies at its ``number``-th fsync; False when there were fewer."""
    victim.prefix = strace(f"{SYNCS}:signal=KILL:when={number}")
    with contextlib.suppress(ClusterFailed):
        scripted_run(cluster, victim, ledger)
    code = victim.wait_ended(10) if victim.pid else victim.last_code
    victim.prefix = []
    return code != 0


def single_peer_run(directory: Path, number: int) -> bool:
    """A fresh peer dies at one sync of its first life, starts again, and holds what it acknowledged."""
    ledger = Ledger()
    with FaultyCluster(directory / f"sync{number}", 1) as cluster:
        victim = cluster.members[0]
        killed = killed_at_sync(cluster, victim, number, ledger)
        victim.start()
        cluster.wait_healthy(victim)
        with Client(victim.service_address) as client:
            ledger.write(client, 1)
        ledger.verify_cluster(cluster.members)
    return killed


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("number", [9])
def test_a_peer_killed_at_a_sync_keeps_what_it_acknowledged(tmp_path: Path, number: int) -> None:
    assert single_peer_run(tmp_path, number), f"the script has fewer than {number} syncs"


@needs_root
@pytest.mark.root
@pytest.mark.long
def test_a_peer_killed_at_each_sync_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    for number in range(1, SYNCS_MAX):
        if not single_peer_run(tmp_path, number):
            break
    assert 14 < number < SYNCS_MAX


def three_peers_run(cluster: FaultyCluster, number: int, ledger: Ledger, *, leader: bool) -> bool:
    """One of three is started again under the tracer and dies at one sync of that life."""
    victim = cluster.leader()
    if not leader:
        victim = cluster.others(victim)[0]
    victim.kill()
    cluster.leader(cluster.others(victim))
    killed = killed_at_sync(cluster, victim, number, ledger)
    victim.start()
    cluster.wait_healthy(victim)
    ledger.verify_cluster(cluster.members)
    return killed


@needs_root
@pytest.mark.root
def test_one_of_three_killed_at_a_sync_loses_nothing(cluster: FaultyCluster) -> None:
    ledger = cluster.ledger
    assert three_peers_run(cluster, 3, ledger, leader=True)


@needs_root
@pytest.mark.root
@pytest.mark.long
def test_one_of_three_killed_at_each_sync_loses_nothing(cluster: FaultyCluster) -> None:
    ledger = cluster.ledger
    for number in range(1, SYNCS_MAX):
        if not three_peers_run(cluster, number, ledger, leader=bool(number % 2)):
            break
    assert 5 < number < SYNCS_MAX


def random_kills(cluster: FaultyCluster, rounds: int, seed: int) -> None:
    """Kill one, two or all peers at random moments under load, start them again; a round ends healthy."""
    generator = random.Random(seed)
    ledger = cluster.ledger
    with Writer(ledger, cluster.members) as writer:
        for _ in range(rounds):
            victims = generator.sample(cluster.members, generator.choice((1, 1, 1, 2, 3)))
            for victim in victims:
                time.sleep(generator.uniform(0, 0.15))
                victim.kill()
            for victim in generator.sample(victims, len(victims)):
                time.sleep(generator.uniform(0, 0.1))
                victim.start()
            for peer in cluster.members:
                cluster.wait_healthy(peer)
            writer.wait_acknowledged(5, 20)
    ledger.verify_cluster(cluster.members)


def test_three_rounds_of_random_kills_lose_nothing(cluster: FaultyCluster) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}; replay: random_kills(cluster, 3, {seed})")
    random_kills(cluster, 3, seed)


@pytest.mark.long
def test_a_hundred_rounds_of_random_kills_lose_nothing(cluster: FaultyCluster) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}; replay: random_kills(cluster, 100, {seed})")
    random_kills(cluster, 100, seed)


def stopped_leader(cluster: FaultyCluster, stopped_s: float) -> None:
    ledger = cluster.ledger
    old = cluster.leader()
    survivors = cluster.others(old)
    with Writer(ledger, survivors, timeout_s=0.5) as writer:
        writer.wait_acknowledged(20)
        old.send_signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        new = cluster.leader(survivors)
        writer.wait_acknowledged(5)
        resumed_s = longest_pause(ledger.acknowledged_at, stopped_at)
        assert resumed_s < 2.0, f"writes went on after {resumed_s:.2f} s"
        time.sleep(max(0.0, stopped_at + stopped_s - time.monotonic()))
        old.send_signal(signal.SIGCONT)
        wait_for(lambda: knows_leader(old, new), 5, "the old leader follows")
        writer.wait_acknowledged(20)
    ledger.verify_cluster(cluster.members)


def knows_leader(peer: FaultyPeer, leader: FaultyPeer) -> bool:
    info = info_of(peer)
    return info is not None and info.leader_id == leader.name


def longest_pause(moments: list[float], since: float) -> float:
    """The longest time between two acknowledgements from ``since`` on, in seconds."""
    after = [since, *(at for at in moments if at > since)]
    return max(later - earlier for earlier, later in zip(after, after[1:], strict=False))


def test_writes_go_on_within_two_seconds_when_the_leader_is_stopped(cluster: FaultyCluster) -> None:
    stopped_leader(cluster, 2.5)


@pytest.mark.long
def test_a_leader_stopped_for_ten_seconds_follows_when_it_wakes(cluster: FaultyCluster) -> None:
    stopped_leader(cluster, 10)


def test_check_shows_equal_states_and_a_member_that_does_not_answer(cluster: FaultyCluster) -> None:
    def check() -> subprocess.CompletedProcess[str]:
        words = ["-t", cluster.members[0].service_address, "-timeout", "3", "check"]
        return subprocess.run(
            [sys.executable, "-m", "z4sql.cli.z4t", *words], capture_output=True, text=True, timeout=30
        )

    equal = check()
    assert equal.returncode == 0 and equal.stderr == "", equal
    rows = [line.split() for line in equal.stdout.splitlines()]
    assert rows[0] == ["MEMBER", "APPLIED", "STATE"]
    assert [row[0] for row in rows[1:]] == ["peer1", "peer2", "peer3"]
    assert len({tuple(row[1:]) for row in rows[1:]}) == 1
    cluster.members[2].kill()
    missing = check()
    assert missing.returncode == 4 and "peer3" in missing.stderr, missing
