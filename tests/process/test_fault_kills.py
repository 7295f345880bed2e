"""kill -9 at every fsync, kill -9 at random, and a leader that is stopped: no acknowledged write is lost."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.process.fault_ledger import Writer
from tests.process.fault_peers import FaultyCluster, FaultyPeer, info_of, wait_for
from tests.process.fault_syncs import CountedSyncs
from z4sql.cli.local_cluster import ClusterFailed
from z4sql.client import Client, Z4Error

SCRIPT_WRITES = 12


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


@dataclass(frozen=True)
class Moment:
    """A peer dies at its ``number``-th sync since the script's ``writes``-th acknowledgement."""

    writes: int
    number: int
    after: bool = False


@dataclass(frozen=True)
class Death:
    """Of a peer; ``sync`` is the call and its file, empty when the script ended before."""

    sync: str
    acknowledged_count: int
    """Scripted writes that were acknowledged before."""


def scripted_run(
    cluster: FaultyCluster, victim: FaultyPeer, syncs: CountedSyncs, moment: Moment | None
) -> None:
    """Start the victim, write, stop it cleanly; ends early when it dies."""
    acknowledged_count = 0

    def arm() -> None:
        if moment is not None and moment.writes == acknowledged_count:
            syncs.kill_at(moment.number)

    arm()
    victim.start()
    cluster.wait_healthy(victim)
    asked = [peer.service_address for peer in cluster.members]
    with Client(asked, timeout_s=2) as client:
        while acknowledged_count < SCRIPT_WRITES:
            if not victim.running():
                return
            with contextlib.suppress(Z4Error):
                cluster.ledger.write(client, 1)
                acknowledged_count += 1
                arm()
    victim.send_signal(signal.SIGTERM)
    victim.wait_ended(20)


def unharmed_syncs(cluster: FaultyCluster, victim: FaultyPeer) -> list[str]:
    """The syncs of the script."""
    with CountedSyncs(victim) as syncs:
        scripted_run(cluster, victim, syncs, None)
        assert victim.last_code == 0, victim.log_text()[-2000:]
        return syncs.lines


def killed_at(cluster: FaultyCluster, victim: FaultyPeer, moment: Moment) -> Death:
    """One run of the script in which the victim dies at ``moment``, if it comes."""
    before = len(cluster.ledger.acknowledged)
    with CountedSyncs(victim, after=moment.after) as syncs:
        with contextlib.suppress(ClusterFailed):
            scripted_run(cluster, victim, syncs, moment)
        code = victim.wait_ended(10) if victim.pid else victim.last_code
        lines = syncs.lines
    assert code in (0, -signal.SIGKILL), (code, victim.log_text()[-2000:])
    if not moment.writes:
        assert (len(lines) < moment.number) if code == 0 else (len(lines) == moment.number)
    return Death(lines[-1] if code else "", len(cluster.ledger.acknowledged) - before)


def single_peer_run(directory: Path, moment: Moment) -> Death:
    """A fresh peer dies in its first life, starts again, and holds what it acknowledged."""
    with FaultyCluster(directory / f"{moment.writes}-{moment.number}", 1) as cluster:
        victim = cluster.members[0]
        death = killed_at(cluster, victim, moment)
        victim.start()
        cluster.wait_healthy(victim)
        with Client(victim.service_address) as client:
            cluster.ledger.write(client, 1)
        cluster.ledger.verify_cluster(cluster.members)
    print(f"{moment}: {death}")
    return death


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(Moment(4, 1), id="before a write is synced"),
        pytest.param(Moment(8, 2, after=True), id="after a write was synced"),
        pytest.param(Moment(SCRIPT_WRITES, 2), id="in a clean stop"),
    ],
)
def test_a_peer_killed_at_a_sync_after_scripted_writes_keeps_what_it_acknowledged(
    tmp_path: Path, moment: Moment
) -> None:
    death = single_peer_run(tmp_path, moment)
    assert death.sync and death.acknowledged_count >= moment.writes


def check_deaths(deaths: list[Death], unharmed: list[str]) -> None:
    """Every sync was hit, up to the end of the script, most of them after acknowledged writes."""
    after_writes = [death for death in deaths if death.acknowledged_count]
    print(f"{len(deaths)} syncs hit, {len(unharmed)} unharmed; {len(after_writes)} after acknowledged writes")
    assert 2 * len(unharmed) > len(deaths) > len(unharmed) // 2
    assert len(after_writes) > SCRIPT_WRITES // 2


@pytest.mark.long
def test_a_peer_killed_at_each_sync_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    with FaultyCluster(tmp_path / "unharmed", 1) as cluster:
        unharmed = unharmed_syncs(cluster, cluster.members[0])
    deaths: list[Death] = []
    while not deaths or deaths[-1].sync:
        number = len(deaths) + 1
        deaths.append(single_peer_run(tmp_path, Moment(0, number, after=number % 2 == 0)))
    check_deaths(deaths[:-1], unharmed)
    files = [Path(death.sync.split()[-1]) for death in deaths[:-1]]
    assert any(file.suffix == ".log" for file in files)
    assert any(file.name in ("peer", "db") or file.name.startswith("state-") for file in files), files


def set_apart(cluster: FaultyCluster, *, leader: bool) -> FaultyPeer:
    """Who leads, or another, killed while the others go on."""
    victim = cluster.leader()
    if not leader:
        victim = cluster.others(victim)[0]
    victim.kill()
    cluster.leader(cluster.others(victim))
    return victim


def three_peers_run(cluster: FaultyCluster, moment: Moment, *, leader: bool) -> Death:
    """One of three is started again, dies in that life, and joins the others again."""
    victim = set_apart(cluster, leader=leader)
    death = killed_at(cluster, victim, moment)
    victim.start()
    cluster.wait_healthy(victim)
    cluster.ledger.verify_cluster(cluster.members)
    print(f"{moment}: {death}")
    return death


@pytest.mark.parametrize(
    ("moment", "leader"),
    [
        pytest.param(Moment(4, 1), True, id="before a write is synced"),
        pytest.param(Moment(8, 1, after=True), False, id="after a write was synced"),
    ],
)
def test_one_of_three_killed_at_a_sync_after_scripted_writes_loses_nothing(
    cluster: FaultyCluster, moment: Moment, leader: bool
) -> None:
    death = three_peers_run(cluster, moment, leader=leader)
    assert death.sync and death.acknowledged_count >= moment.writes


@pytest.mark.long
def test_one_of_three_killed_at_each_sync_loses_nothing(cluster: FaultyCluster) -> None:
    unharmed = unharmed_syncs(cluster, set_apart(cluster, leader=False))
    cluster.revive()
    deaths: list[Death] = []
    while not deaths or deaths[-1].sync:
        number = len(deaths) + 1
        moment = Moment(0, number, after=number % 4 > 1)
        deaths.append(three_peers_run(cluster, moment, leader=bool(number % 2)))
    check_deaths(deaths[:-1], unharmed)


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
