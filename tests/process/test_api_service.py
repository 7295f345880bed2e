"""The gRPC services of a real peer: promises to clients of both generations, and clear refusals."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from tests.plain_calls import call
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, free_ports

Request = pb.CreateTaskRequest


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    with LocalCluster(tmp_path_factory.mktemp("api"), free_ports(1)) as cluster:
        cluster.form()
        with grpc.insecure_channel(cluster.peers[0].service_address) as opened:
            yield opened


def create(channel: grpc.Channel, **fields: object) -> pb.Task:
    answer = call(channel, "Collection/CreateTask", Request(namespace="api", **fields))  # type: ignore[arg-type]
    return pb.CreateTaskResponse.FromString(answer).task


def field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def test_bytes_of_the_first_generation_create_and_read_a_task(channel: grpc.Channel) -> None:
    """Field numbers by hand: request_id 1, namespace 2, metadata 3, payload 4, deliver_at 5."""
    stamp = bytes([1 << 3]) + b"\x80\xa0\xa5\xe1\x0c" + bytes([2 << 3]) + b"\xc0\x84\x3d"
    request = (
        field(1, b"first-generation")
        + field(2, b"old")
        + field(3, field(1, b"k") + field(2, b"v"))
        + field(4, b"bytes")
        + field(5, stamp)
    )
    response = call(channel, "Collection/CreateTask", request)
    task = pb.CreateTaskResponse.FromString(response).task
    assert response[0] == 1 << 3 | 2, "the task is field 1"
    got = pb.Task.FromString(
        call(channel, "Collection/GetTask", field(2, b"old") + field(3, task.id.encode()))
    )
    assert (got.id, got.namespace, dict(got.metadata), got.payload) == (task.id, "old", {"k": "v"}, b"bytes")
    assert got.deliver_at == task.deliver_at == pb.CreateTaskRequest.FromString(request).deliver_at


@pytest.mark.parametrize(
    ("request_fields", "named"),
    [
        ({"namespace": ""}, "namespace"),
        ({"namespace": "x" * 256}, "namespace"),
        ({"namespace": "a\0b"}, "namespace"),
        ({"payload": b"x" * ((1 << 20) + 1)}, "payload"),
        ({"metadata": {str(n): "v" for n in range(65)}}, "metadata"),
        ({"metadata": {"k": "v" * (16 << 10)}}, "metadata"),
        ({"tts_seconds": -1}, "tts_seconds"),
        ({"tts_seconds": 1 << 60}, "tts_seconds"),
        ({"request_id": "r" * 256}, "request_id"),
    ],
)
def test_what_is_wrong_with_a_task_is_named(
    channel: grpc.Channel, request_fields: dict[str, object], named: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, "Collection/CreateTask", Request(**({"namespace": "api"} | request_fields)))  # type: ignore[arg-type]
    assert refused.value.code() is StatusCode.INVALID_ARGUMENT
    assert refused.value.details().startswith(named)
    status = rpc_status.from_call(refused.value)
    violations = [detail for detail in status.details if detail.Is(BadRequest.DESCRIPTOR)]
    bad = BadRequest()
    violations[0].Unpack(bad)
    assert bad.field_violations[0].field == named


@pytest.mark.parametrize("seconds", [-1, 253_402_300_800])
def test_times_outside_the_years_1970_to_9999_are_refused(channel: grpc.Channel, seconds: int) -> None:
    request = Request(namespace="api")
    request.deliver_at.seconds = seconds
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, "Collection/CreateTask", request)
    assert refused.value.code() is StatusCode.INVALID_ARGUMENT and "deliver_at" in refused.value.details()


def test_limits_are_inclusive(channel: grpc.Channel) -> None:
    largest = Request(
        namespace="n" * 255, payload=b"x" * (1 << 20), metadata={f"{n:02d}": "v" for n in range(64)}
    )
    largest.deliver_at.seconds = 253_402_300_799
    task = pb.CreateTaskResponse.FromString(call(channel, "Collection/CreateTask", largest)).task
    request = pb.GetTaskRequest(namespace="n" * 255, task_id=task.id, linearizable=True)
    stored = pb.Task.FromString(call(channel, "Collection/GetTask", request))
    assert stored.payload == largest.payload and stored.metadata == largest.metadata


@pytest.mark.parametrize("method", ["CreateTask", "CreateTasks", "GetTask"])
def test_bytes_that_are_no_message_are_refused_without_internals(channel: grpc.Channel, method: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, f"Collection/{method}", b"\x0a\xff\xff\xff\xff\x0f")
    assert refused.value.code() is StatusCode.INVALID_ARGUMENT
    assert "Decode" not in refused.value.details() and "Traceback" not in refused.value.details()


def test_a_request_id_gives_the_same_task_and_refuses_another_content(channel: grpc.Channel) -> None:
    first = create(channel, request_id="once", payload=b"a", tts_seconds=60)
    assert create(channel, request_id="once", payload=b"a", tts_seconds=60).id == first.id
    with pytest.raises(grpc.RpcError) as refused:
        create(channel, request_id="once", payload=b"b", tts_seconds=60)
    assert refused.value.code() is StatusCode.ALREADY_EXISTS and first.id in refused.value.details()


def test_tts_wins_over_deliver_at_and_neither_means_now(channel: grpc.Channel) -> None:
    now = create(channel).deliver_at.seconds
    request = Request(namespace="api", tts_seconds=1000)
    request.deliver_at.seconds = 1
    both = pb.CreateTaskResponse.FromString(call(channel, "Collection/CreateTask", request)).task
    assert 999 <= both.deliver_at.seconds - now <= 1010


def test_a_batch_has_a_result_for_each_item_and_can_be_sent_again(channel: grpc.Channel) -> None:
    items = [Request(namespace="batch", tts_seconds=30) for _ in range(20)]
    items[7] = Request(namespace="")
    batch = pb.CreateTasksRequest(request_id="batch-1", tasks=items)
    first = pb.CreateTasksResponse.FromString(call(channel, "Collection/CreateTasks", batch))
    again = pb.CreateTasksResponse.FromString(call(channel, "Collection/CreateTasks", batch))
    assert first == again
    assert [bool(result.status) for result in first.results] == [at == 7 for at in range(20)]
    assert "namespace" in first.results[7].message
    assert len({result.task_id for result in first.results}) == 20


def test_a_stream_answers_in_order_and_outlives_bad_items(channel: grpc.Channel) -> None:
    bad = {100, 5_000, 9_999}

    def items() -> Iterator[bytes]:
        for at in range(10_000):
            if at == 5_000:
                yield b"\x0a\xff"
            else:
                namespace = "" if at in bad else "stream"
                yield Request(
                    namespace=namespace, request_id=f"s{at}", payload=struct.pack("<I", at)
                ).SerializeToString()

    answers = channel.stream_stream("/z4.Collection/CreateTaskStream")(items(), timeout=60)
    ids = []
    for at, data in enumerate(answers):
        response = pb.TaskStreamResponse.FromString(data)
        assert (response.status != 0) == (at in bad), (at, response)
        # What is no message at all has no request id.
        assert response.request_id == ("" if at == 5_000 else f"s{at}")
        if at not in bad:
            assert response.task.payload == struct.pack("<I", at)
            ids.append(response.task.id)
    assert len(ids) == len(set(ids)) == 9_997
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("task_id", "code"), [("0" * 26, StatusCode.NOT_FOUND), ("zz", StatusCode.INVALID_ARGUMENT)]
)
def test_a_task_that_is_not_there(channel: grpc.Channel, task_id: str, code: StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, "Collection/GetTask", pb.GetTaskRequest(namespace="api", task_id=task_id))
    assert refused.value.code() is code


def test_health_and_reflection_answer(channel: grpc.Channel) -> None:
    for service in ("", "z4.Collection", "z4.Admin"):
        request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        answer = channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=5)
        assert (
            health_pb2.HealthCheckResponse.FromString(answer).status == health_pb2.HealthCheckResponse.SERVING
        )
    listing = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    assert b"z4.Collection" in next(listing(iter([field(7, b"")]), timeout=5))


def test_cluster_info_has_the_first_generation_s_fields(channel: grpc.Channel) -> None:
    info = pb.ClusterInfo.FromString(call(channel, "Admin/GetClusterInfo", b""))
    assert info.server_id == info.members[0].id == "peer1"
    assert info.leader_address == info.members[0].address
    numbers = {field.name: field.number for field in pb.ClusterInfo.DESCRIPTOR.fields}
    assert (numbers["server_id"], numbers["leader_address"], numbers["members"]) == (1, 2, 3)
