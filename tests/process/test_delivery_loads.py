"""Delivery under load on real peers: floods, slow consumers, and what the metrics say of it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
import pymysql
import pytest

from raftcore.core.config import CoreConfig
from tests.streams import ConsumeCall, StuckConsumer, wait_for
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, PeerProcess, free_ports
from z4sql.client import Client, NewTask

ELECTION_TIMEOUT_S = CoreConfig().election_timeout_us / 1e6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("loads"), free_ports(3)) as formed:
        formed.form()
        yield formed


def create_many(channel: grpc.Channel, items: list[pb.CreateTaskRequest]) -> None:
    method = channel.unary_unary("/z4.Collection/CreateTasks")
    step = 25 if len(items[0].payload) > 10_000 else 1_000
    for at in range(0, len(items), step):
        method(pb.CreateTasksRequest(tasks=items[at : at + step]).SerializeToString(), timeout=30)


def metrics(peer: PeerProcess) -> dict[str, float]:
    """Samples by name and labels, as Prometheus reads them."""
    address = f"http://127.0.0.1:{peer.ports.metrics}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def elections(cluster: LocalCluster) -> int:
    return sum(peer.log.read_text().count("role_changed") for peer in cluster.peers)


class IdleProcess:
    """Does nothing but sleep: how late it wakes is what the machine keeps any process waiting."""

    _PROGRAM = """
import select, sys, time
latest_s = 0.0
while True:
    begun_s = time.monotonic()
    if select.select([sys.stdin], [], [], 0.01)[0]:
        break
    latest_s = max(latest_s, time.monotonic() - begun_s - 0.01)
print(latest_s)
"""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def latest_s(self) -> float:
        """Ends it; the latest that it woke."""
        return float(self._process.communicate()[0])


class Heartbeats:
    """How regularly the followers heard their leader from now on, by their own account."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._missed_before = self._missed()

    def missed(self) -> float:
        """How often a follower heard nothing for two heartbeats since then."""
        return self._missed() - self._missed_before

    def longest_silence_s(self) -> float:
        """Of the last minute, on any peer; waits until all have read their watches again."""
        return max(self._fresh(peer)["z4_raft_leader_silence_seconds_max"] for peer in self._cluster.peers)

    def _missed(self) -> float:
        return sum(metrics(peer)["z4_raft_missed_heartbeats_total"] for peer in self._cluster.peers)

    def _fresh(self, peer: PeerProcess) -> dict[str, float]:
        read = 'z4_host_busy_ratio{worker="turns"}'
        former = metrics(peer)[read]
        return wait_for(lambda: (now := metrics(peer))[read] != former and now, 10, "a reading")


@pytest.mark.parametrize("number", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_tasks_that_are_due_at_once_are_delivered_without_an_election(
    cluster: LocalCluster, number: int
) -> None:
    """Nor is the leader silent for long: what its followers missed, if anything, is far from an election."""
    namespace = f"flood-{number}"
    before = elections(cluster)
    heartbeats, idle = Heartbeats(cluster), IdleProcess()
    with grpc.insecure_channel(cluster.peers[0].service_address) as channel:
        request = pb.CreateTaskRequest(namespace=namespace, payload=b"x" * 100)
        due_ns = time.time_ns() + 1_000_000_000 + number * 100_000
        request.deliver_at.FromNanoseconds(due_ns)
        create_many(channel, [request] * number)
        consumers = [ConsumeCall(channel, namespace, credit=1_000, auto_ack=True) for _ in range(2)]
        wait_for(
            lambda: sum(len(one.deliveries) for one in consumers) >= number, 20 + number / 500, "all came"
        )
        got = [one.task.id for consumer in consumers for one in consumer.deliveries]
        assert len(set(got)) == len(got) == number
        assert min(arrival for consumer in consumers for arrival in consumer.arrivals_s) >= due_ns / 1e9
        for consumer in consumers:
            consumer.cancel()
    silence_s, missed = heartbeats.longest_silence_s(), heartbeats.missed()
    # A heartbeat passes three processes' hands; one that the machine keeps waiting is late by as much.
    late_s = 3 * idle.latest_s()
    told = f"{missed} silences, the longest {silence_s} s; late by the machine's own fault: {late_s} s"
    # The longest of a minute, in which the cluster may have begun: no election came near.
    assert 0 < silence_s < ELECTION_TIMEOUT_S + late_s, told
    assert missed <= 1 or late_s > 0.05, told
    assert elections(cluster) == before


def test_equal_batches_through_a_follower_are_each_created(cluster: LocalCluster) -> None:
    request = pb.CreateTaskRequest(namespace="equal")
    request.deliver_at.FromSeconds(4_000_000_000)
    batch = pb.CreateTasksRequest(tasks=[request] * 10).SerializeToString()
    with contextlib.ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(peer.service_address)) for peer in cluster.peers
        ]
        methods = [channel.unary_unary("/z4.Collection/CreateTasks") for channel in channels]
        calls = [methods[number % 3].future(batch, timeout=30) for number in range(150)]
        results = [one for call in calls for one in pb.CreateTasksResponse.FromString(call.result()).results]
    assert not any(one.status for one in results)
    assert len({one.task_id for one in results}) == len(results) == 1_500


def test_a_consumer_that_does_not_read_holds_up_nobody(cluster: LocalCluster) -> None:
    namespace, number = "slow", 200
    with (
        grpc.insecure_channel(cluster.peers[0].service_address) as stuck_channel,
        grpc.insecure_channel(cluster.peers[0].service_address) as channel,
    ):
        create_many(channel, [pb.CreateTaskRequest(namespace=namespace, payload=b"x" * 200_000)] * number)
        stuck = StuckConsumer(stuck_channel, namespace, credit=150, lease_ms=6_000)
        held = f'z4_tasks{{state="leased",task_namespace="{namespace}"}}'
        wait_for(lambda: metrics(cluster.peers[0]).get(held, 0) >= 150, 10, "it holds what it asked for")
        with ConsumeCall(channel, namespace, credit=20, auto_ack=True) as consumer:
            consumer.wait(50, timeout_s=10)
            fresh = time.monotonic()
            other = ConsumeCall(channel, "beside-slow", credit=1)
            create_many(channel, [pb.CreateTaskRequest(namespace="beside-slow")])
            other.wait(1, timeout_s=5)
            assert time.monotonic() - fresh < 5
            other.cancel()
            # What the stuck one was given comes back when its leases end.
            consumer.wait(number, timeout_s=25)
            assert len({one.task.id for one in consumer.deliveries}) == number
        stuck.cancel()


def test_f59_metrics_have_the_names_of_every_generation_and_count_what_happened(
    cluster: LocalCluster,
) -> None:
    peer = cluster.peers[0]
    namespace = "counted"
    before = metrics(peer)
    with (
        grpc.insecure_channel(peer.service_address) as channel,
        ConsumeCall(channel, namespace, credit=100, auto_ack=True) as consumer,
    ):
        for _ in range(10):
            channel.unary_unary("/z4.Collection/CreateTask")(
                pb.CreateTaskRequest(namespace=namespace).SerializeToString(), timeout=10
            )
        consumer.wait(10)
        wait_for(lambda: metrics(peer)["z4_credits"] == 100, 30, "what the consumer still takes")
        key = f'z4_removed_task_total{{method="ack",task_namespace="{namespace}"}}'
        after = wait_for(lambda: (found := metrics(peer)).get(key) == 10 and found, 30, "ten acknowledged")
    labels = f'{{method="CreateTask",namespace="{namespace}"}}'
    assert after["create_task_request_total" + labels] == after["z4_create_task_request_total" + labels] == 10
    assert after[f'z4_pushed_task_total{{method="CreateTask",task_namespace="{namespace}"}}'] == 10
    assert after[f'z4_pulled_task_total{{method="Consume",task_namespace="{namespace}"}}'] == 10
    assert after[f'streamed_task_total{{method="Consume",namespace="{namespace}"}}'] == 10
    count = "z4_task_lateness_seconds_count"
    assert after[count] - before[count] == 10
    assert after["z4_is_leader"] == 1
    assert after['grpc_server_handled_total{code="OK",method="/z4.Collection/CreateTask"}'] >= 10
    done = f'z4_tasks{{state="done",task_namespace="{namespace}"}}'
    wait_for(lambda: metrics(peer).get(done) == 10, 30, "the leader counts ten that are done")
    assert f'z4_oldest_due_age_seconds{{task_namespace="{namespace}"}}' in metrics(peer)
    took = "z4_ack_latency_seconds_count"
    # Earlier ones may be told only now.
    wait_for(lambda: metrics(peer)[took] - before[took] >= 10, 30, "ten acknowledgements are timed")
    handled = 'grpc_server_handling_seconds_count{method="/z4.Collection/CreateTask"}'
    assert after[handled] - before.get(handled, 0) == 10
    assert after["z4_raft_log_fsync_seconds_count"] > before["z4_raft_log_fsync_seconds_count"] > 0
    assert after["z4_raft_leader_changes_total"] >= 1
    assert min(after[name] for name in after if name.startswith("z4_disk_free_bytes")) > 0
    assert after["z4_state_background_errors"] == 0
    # Nobody needed one here.
    assert after["z4_raft_snapshot_seconds_count"] >= 0
    assert after["z4_state_bytes"] > 0 and after["last_db_gc"] == after["z4_last_db_gc"] >= 0
    for name in ("received_log_count", "applied_log_count", "last_fsm_snapshot"):
        assert after[name] == after["z4_" + name] > 0
    # The copy that SQL reads was made of one.
    assert 0 <= time.time() - after["last_fsm_snapshot"] < 3600


def test_metrics_tell_what_sql_clients_ask(cluster: LocalCluster) -> None:
    peer = cluster.peers[1]
    before = metrics(peer)
    cluster.wait_sql(peer)
    with Client([peer.service_address]) as client:
        client.create_many(NewTask("read", deliver_at=datetime(2099, 1, 1, tzinfo=UTC)) for _ in range(3))
    connection = pymysql.connect(host="127.0.0.1", port=peer.ports.sql, user="root", database="z4")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute("SELECT id FROM tasks WHERE namespace = 'read' AND deliver_at >= '2022-01-01'")
        assert len(cursor.fetchall()) == 3
        with pytest.raises(pymysql.err.OperationalError):
            cursor.execute("SELECT * FROM tasks")
        with pytest.raises(pymysql.err.OperationalError):
            cursor.execute("DELETE FROM tasks")
        wait_for(lambda: metrics(peer)["z4_sql_connections"] >= 1, 10, "the connection is counted")

        def grown(name: str) -> float:
            return metrics(peer).get(name, 0) - before.get(name, 0)

        refused = 'z4_sql_statements_total{outcome="refused",verb="select"}'
        wait_for(lambda: grown(refused) == 1, 10, "the unbounded one was refused")
        assert grown('z4_sql_statements_total{outcome="refused",verb="other"}') == 1
        assert grown('z4_sql_statements_total{outcome="ok",verb="select"}') >= 1
        assert grown("z4_sql_scanned_rows_total") == 3
        assert grown("z4_sql_rows_total") >= 4 and grown("z4_sql_statement_seconds_count") >= 3
    wait_for(lambda: metrics(peer)["z4_sql_connections"] == 0, 10, "it is gone")
