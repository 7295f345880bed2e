"""The walk-through of the README with real processes: form, write, lose the leader, come back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import grpc
import pymysql
import pytest

from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, PeerProcess, free_ports
from z4sql.client import Client, OutcomeUnknown, Unavailable

COUNT = "SELECT COUNT(*) FROM tasks WHERE namespace = %s AND deliver_at >= '1970-01-01'"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("cluster"), free_ports(3)) as formed:
        formed.form()
        yield formed


def z4t(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "z4sql.cli.z4t", *arguments], capture_output=True, text=True, timeout=60
    )


def info(peer: PeerProcess) -> dict[str, object]:
    done = z4t("-t", peer.service_address, "info")
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def leader_of(cluster: LocalCluster, among: list[PeerProcess], timeout_s: float = 10.0) -> PeerProcess:
    """The peer that all of ``among`` take for leader, and that is one of them."""
    deadline = time.monotonic() + timeout_s
    while True:
        named = {str(info(peer).get("leader_address")) for peer in among}
        for peer in among:
            if named == {peer.peer_address}:
                return peer
        assert time.monotonic() < deadline, f"no leader among {[p.name for p in among]}: {named}"
        time.sleep(0.05)


def count(peer: PeerProcess, namespace: str) -> int:
    connection = pymysql.connect(host="127.0.0.1", port=peer.ports.sql, user="root", database="z4")
    with connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION z4_consistency = 'linearizable'")
        cursor.execute(COUNT, (namespace,))
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def members(peer: PeerProcess) -> list[dict[str, object]]:
    connection = pymysql.connect(
        host="127.0.0.1",
        port=peer.ports.sql,
        user="root",
        database="z4",
        cursorclass=pymysql.cursors.DictCursor,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, role, lag_entries, applied_index FROM members ORDER BY id")
        return list(cursor.fetchall())


def test_info_prints_the_members_in_order(cluster: LocalCluster) -> None:
    done = z4t("-t", cluster.peers[1].service_address, "info")
    leader = leader_of(cluster, cluster.peers)
    expected = {
        "server_id": "peer2",
        "leader_address": leader.peer_address,
        "members": [{"id": peer.name, "address": peer.peer_address} for peer in cluster.peers],
    }
    assert done.stdout == json.dumps(expected, indent=2) + "\n"


def test_a_leader_tells_how_busy_it_is_and_how_far_members_are_behind(cluster: LocalCluster) -> None:
    leader = leader_of(cluster, cluster.peers)
    others = {peer.name for peer in cluster.peers} - {leader.name}
    with Client(leader.service_address) as client:
        for _ in range(20):
            client.create("status", payload=b"x")
    deadline = time.monotonic() + 10
    with grpc.insecure_channel(leader.service_address) as channel:
        while True:
            answer = channel.unary_unary("/z4.Admin/GetClusterInfo")(b"", timeout=5)
            told = pb.ClusterInfo.FromString(answer)
            if told.host.log_last_index >= 20:
                break
            assert time.monotonic() < deadline, told
            time.sleep(0.05)
    host = told.host
    assert 0 <= host.turns_ratio + host.applying_ratio <= 1.1 and 0 <= host.flushing_ratio <= 1.1
    assert host.queued_commands == 0 and host.queued_commands_max > 1000 and not host.state_stalled
    assert 1 <= host.log_first_index <= host.log_last_index and host.log_bytes > 0
    for member in told.members:
        assert member.lag_entries <= host.log_last_index and not member.needs_snapshot
        assert member.silent_ms < 5000
    with urllib.request.urlopen(f"http://127.0.0.1:{leader.ports.metrics}", timeout=5) as answered:
        page = answered.read().decode()
    for worker in ("turns", "applying", "flushing"):
        assert f'z4_host_busy_ratio{{worker="{worker}"}}' in page
    behind = {
        line.split('"')[1] for line in page.splitlines() if line.startswith("z4_raft_member_lag_entries{")
    }
    assert behind == others


def test_every_peer_tells_who_leads_and_what_each_member_has_applied(cluster: LocalCluster) -> None:
    leader = leader_of(cluster, cluster.peers)
    deadline = time.monotonic() + 10
    for peer in cluster.peers:
        while True:
            rows = members(peer)
            applied = {row["applied_index"] for row in rows}
            if len(applied) == 1 and None not in applied:
                break
            assert time.monotonic() < deadline, rows
            time.sleep(0.05)
        assert [row["id"] for row in rows] == ["peer1", "peer2", "peer3"]
        assert [row["id"] for row in rows if row["role"] == "leader"] == [leader.name]
        assert {row["lag_entries"] for row in rows} == {0}


def test_adding_a_member_again_is_refused(cluster: LocalCluster) -> None:
    done = z4t(
        *("-t", cluster.peers[0].service_address, "-p", cluster.peers[1].peer_address, "-id", "peer2"),
        "add-peer",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("z4t: ") and "peer2" in done.stderr and done.stderr.count("\n") == 1


def test_adding_an_unreachable_peer_leaves_the_cluster_as_it_was(cluster: LocalCluster) -> None:
    before = info(cluster.peers[0])
    nowhere = f"127.0.0.1:{free_ports(1)[0].peer}"
    done = z4t("-t", cluster.peers[0].service_address, "-p", nowhere, "-id", "peer9", "add-peer")
    assert done.returncode in (1, 4) and nowhere in done.stderr, done
    assert info(cluster.peers[0])["members"] == before["members"]
    with Client(cluster.peers[0].service_address) as client:
        assert client.create("unreachable")


def test_every_peer_takes_writes_and_all_hold_the_same_tasks(cluster: LocalCluster) -> None:
    for peer in cluster.peers:
        with Client(peer.service_address) as client:
            task_id = client.create("everywhere", metadata={"via": peer.name}, payload=b"p")
            assert client.get("everywhere", task_id, linearizable=True).metadata == {"via": peer.name}
    assert [count(peer, "everywhere") for peer in cluster.peers] == [3, 3, 3]


def test_survivors_take_writes_within_two_seconds_and_the_old_leader_follows(cluster: LocalCluster) -> None:
    with Client([peer.service_address for peer in cluster.peers]) as client:
        ids = [client.create("failover", payload=b"%d" % n) for n in range(20)]
    leader = leader_of(cluster, cluster.peers)
    survivors = [peer for peer in cluster.peers if peer is not leader]
    killed_at = time.monotonic()
    leader.kill()
    for peer in survivors:
        with Client(peer.service_address, timeout_s=5) as client:
            ids.append(client.create("failover"))
    assert time.monotonic() - killed_at < 2.0
    new_leader = leader_of(cluster, survivors)
    leader.start()
    cluster.wait_healthy(leader)
    cluster.wait_sql(leader)
    assert leader_of(cluster, cluster.peers) is new_leader
    assert len(set(ids)) == len(ids) == 22
    assert [count(peer, "failover") for peer in cluster.peers] == [22, 22, 22]


def test_without_a_majority_writes_end_unavailable_and_resume_by_themselves(cluster: LocalCluster) -> None:
    leader = leader_of(cluster, cluster.peers)
    others = [peer for peer in cluster.peers if peer is not leader]
    for peer in others:
        peer.kill()
    started = time.monotonic()
    with Client(leader.service_address, timeout_s=3) as client, pytest.raises(Exception) as ended:
        client.create("minority", request_id="first")
    assert time.monotonic() - started < 8
    assert isinstance(ended.value, Unavailable | OutcomeUnknown), ended.value
    for peer in others:
        peer.start()
    for peer in others:
        cluster.wait_healthy(peer)
    with Client([peer.service_address for peer in cluster.peers], timeout_s=10) as client:
        client.create("minority", request_id="first")
        client.create("minority", request_id="second")
    assert count(leader, "minority") == 2


def test_a_removed_peer_leaves_and_can_come_back_under_its_name(cluster: LocalCluster) -> None:
    leader = leader_of(cluster, cluster.peers)
    peer = next(one for one in cluster.peers if one is not leader)
    removed = z4t("-t", leader.service_address, "-id", peer.name, "remove-peer")
    assert (removed.returncode, removed.stdout) == (0, "peer removed\n"), removed
    assert [member["id"] for member in info(leader)["members"]] == [  # type: ignore[attr-defined]
        one.name for one in cluster.peers if one is not peer
    ]
    added = z4t("-t", leader.service_address, "-p", peer.peer_address, "-id", peer.name, "add-peer")
    assert (added.returncode, added.stdout) == (0, "peer added\n"), added
    cluster.wait_healthy(peer)
    assert len(info(peer)["members"]) == 3  # type: ignore[arg-type]
