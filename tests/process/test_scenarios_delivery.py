"""Scenarios of delivery on one peer that restarts: edge times, old backlogs, done just before the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import grpc
import pymysql
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.streams import ConsumeCall, wait_for
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, PeerProcess, free_ports

_names = count()
EDGES = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2013, 11, 3, 1, 30, 0, 500_000, tzinfo=UTC),
    datetime(2262, 4, 11, 23, 47, 16, 854_775, tzinfo=UTC),
    datetime(2262, 4, 12, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]
"""Among them both sides of what fits into 64 bits of nanoseconds."""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    with LocalCluster(tmp_path_factory.mktemp("scenarios"), free_ports(1)) as cluster:
        cluster.form()
        (only,) = cluster.peers
        yield only
        log = only.log.read_text()
        assert "call_failed" not in log and "delivery_failed" not in log, only.log


@pytest.fixture
def namespace() -> str:
    return f"scenario{next(_names)}"


def call(channel: grpc.Channel, method: str, request: object) -> bytes:
    answer: bytes = channel.unary_unary(f"/z4.{method}")(
        request.SerializeToString(),  # type: ignore[attr-defined]
        timeout=10,
        wait_for_ready=True,
    )
    return answer


def create_many(channel: grpc.Channel, requests: list[pb.CreateTaskRequest]) -> list[str]:
    answer = call(channel, "Collection/CreateTasks", pb.CreateTasksRequest(tasks=requests))
    results = pb.CreateTasksResponse.FromString(answer).results
    assert not any(result.status for result in results), results
    return [result.task_id for result in results]


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at.replace(tzinfo=None))
    return made


def test_f11_edge_times_are_the_same_in_the_api_and_in_sql(peer: PeerProcess, namespace: str) -> None:
    with grpc.insecure_channel(peer.service_address) as channel:
        ids = create_many(
            channel, [pb.CreateTaskRequest(namespace=namespace, deliver_at=stamp(at)) for at in EDGES]
        )
        page = pb.ListTasksResponse.FromString(
            call(channel, "Collection/ListTasks", pb.ListTasksRequest(namespace=namespace))
        )
    assert [task.id for task in page.tasks] == ids == sorted(ids)
    assert [task.deliver_at for task in page.tasks] == [stamp(at) for at in EDGES]
    connection = pymysql.connect(host="127.0.0.1", port=peer.ports.sql, user="root", database="z4")
    with connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION z4_consistency = 'linearizable', time_zone = '+00:00'")
        cursor.execute(
            "SELECT id, deliver_at FROM tasks WHERE namespace = %s"
            " AND deliver_at BETWEEN '1970-01-01' AND '9999-12-31 23:59:59.999999' ORDER BY deliver_at",
            (namespace,),
        )
        assert list(cursor.fetchall()) == [
            (task_id, at.replace(tzinfo=None)) for task_id, at in zip(ids, EDGES, strict=True)
        ]


def test_f14_a_backlog_older_than_the_deadline_comes_once(peer: PeerProcess, namespace: str) -> None:
    with grpc.insecure_channel(peer.service_address) as channel:
        settings = pb.UpdateNamespaceRequest(namespace=namespace, ack_deadline_seconds=1)
        call(channel, "Admin/UpdateNamespace", settings)
        ids = create_many(channel, [pb.CreateTaskRequest(namespace=namespace) for _ in range(50)])
        time.sleep(1.2)
        with ConsumeCall(channel, namespace, credit=100, auto_ack=True) as consumer:
            consumer.wait(50)
            time.sleep(1.2)
            assert [one.task.id for one in consumer.deliveries] == ids
            assert {one.task.attempts for one in consumer.deliveries} == {1}


def test_f16_what_was_acknowledged_just_before_a_clean_stop_stays_done(
    peer: PeerProcess, namespace: str
) -> None:
    with grpc.insecure_channel(peer.service_address) as channel:
        create_many(channel, [pb.CreateTaskRequest(namespace=namespace) for _ in range(20)])
        consumer = ConsumeCall(channel, namespace, credit=20, lease_ms=60_000)
        consumer.wait(20)
        acked = consumer.deliveries[:15]
        assert {one.status for one in consumer.ack(*(one.lease_token for one in acked))} == {0}
        assert peer.stop() == 0
        consumer.cancel()
    peer.start()
    with grpc.insecure_channel(peer.service_address) as channel:

        def done() -> int:
            request = pb.ListTasksRequest(namespace=namespace, states=["done"], page_size=1000)
            page = pb.ListTasksResponse.FromString(call(channel, "Collection/ListTasks", request))
            return len(page.tasks)

        wait_for(lambda: healthy(channel), 20, "a leader after the restart")
        assert done() == 15
        with ConsumeCall(channel, namespace, credit=20) as consumer:
            # The leases of the others last: they belong to their consumer, wherever it is now.
            time.sleep(0.5)
            assert not {one.task.id for one in consumer.deliveries} & {one.task.id for one in acked}


def healthy(channel: grpc.Channel) -> bool:
    try:
        channel.unary_unary("/z4.Admin/CheckHealth")(b"", timeout=1.0, wait_for_ready=True)
    except grpc.RpcError:
        return False
    return True
