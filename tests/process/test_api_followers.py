"""What clients are promised whichever of three peers they ask: large tasks, clear refusals, true counts."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc import StatusCode
from grpc_status import rpc_status

from tests.plain_calls import call
from tests.streams import wait_for
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, PeerProcess, free_ports
from z4sql.client import AsyncClient, InvalidTask, NewTask

T = TypeVar("T")

FAR = 4_000_000_000
LARGE = 1 << 20
_names = count()


class Peers:
    """Three peers, one of which leads, with a channel to each of two."""

    def __init__(self, cluster: LocalCluster) -> None:
        by_address = {peer.service_address: peer for peer in cluster.peers}
        with grpc.insecure_channel(cluster.peers[0].service_address) as channel:
            info = pb.ClusterInfo.FromString(call(channel, "Admin/GetClusterInfo", b""))
        self.leader = by_address.pop(info.leader_service_address)
        self.follower = next(iter(by_address.values()))
        self._channels = {
            peer.name: grpc.insecure_channel(peer.service_address) for peer in (self.leader, self.follower)
        }

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def at(self, role: str) -> PeerProcess:
        return self.leader if role == "leader" else self.follower

    def channel(self, role: str) -> grpc.Channel:
        return self._channels[self.at(role).name]

    def counted(self, role: str) -> dict[tuple[str, str], int]:
        """Tasks created through a peer, by method and namespace."""
        url = f"http://127.0.0.1:{self.at(role).ports.metrics}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own peer
            text = answer.read().decode()
        found = {}
        for line in text.splitlines():
            if line.startswith("z4_pushed_task_total{"):
                labels, value = line.removeprefix("z4_pushed_task_total{").split("} ")
                method, namespace = (label.split("=")[1].strip('"') for label in labels.split(","))
                found[method, namespace] = int(float(value))
        return found


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with LocalCluster(tmp_path_factory.mktemp("followers"), free_ports(3)) as cluster:
        cluster.form()
        peers = Peers(cluster)
        yield peers
        peers.close()
        for peer in cluster.peers:
            assert "call_failed" not in peer.log.read_text()


@pytest.fixture
def namespace() -> str:
    return f"followers{next(_names)}"


def task(namespace: str, **fields: object) -> pb.CreateTaskRequest:
    request = pb.CreateTaskRequest(namespace=namespace, **fields)  # type: ignore[arg-type]
    if not request.tts_seconds:
        request.deliver_at.seconds = FAR
    return request


def batch(channel: grpc.Channel, request: pb.CreateTasksRequest | bytes) -> pb.CreateTasksResponse:
    return pb.CreateTasksResponse.FromString(call(channel, "Collection/CreateTasks", request))


def streamed(channel: grpc.Channel, requests: list[pb.CreateTaskRequest]) -> list[pb.TaskStreamResponse]:
    stream = channel.stream_stream("/z4.Collection/CreateTaskStream")
    sent = iter([request.SerializeToString() for request in requests])
    return [pb.TaskStreamResponse.FromString(answer) for answer in stream(sent, timeout=30)]


def stored(channel: grpc.Channel, namespace: str) -> int:
    request = pb.ListTasksRequest(namespace=namespace, page_size=1000)
    return len(pb.ListTasksResponse.FromString(call(channel, "Collection/ListTasks", request)).tasks)


def all_at_once(count: int, work: Callable[[int], T]) -> list[T]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, range(count)))


def refusal(error: grpc.RpcError) -> tuple[StatusCode, str, str]:
    """Code, reason and field."""
    info, bad = ErrorInfo(), BadRequest()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        if not detail.Unpack(info):
            detail.Unpack(bad)
    return error.code(), info.reason, bad.field_violations[0].field if bad.field_violations else ""


@pytest.mark.parametrize("role", ["leader", "follower"])
@pytest.mark.parametrize("how", ["calls", "stream", "client"])
def test_tasks_of_the_largest_size_are_created_many_at_once(
    peers: Peers, namespace: str, role: str, how: str
) -> None:
    channel, number = peers.channel(role), 24
    request = task(namespace, payload=b"x" * LARGE)
    if how == "calls":
        all_at_once(number, lambda _: call(channel, "Collection/CreateTask", request))
    elif how == "stream":
        assert {(one.status, one.message) for one in streamed(channel, [request] * number)} == {(0, "")}
    else:

        async def create() -> None:
            async with AsyncClient(peers.at(role).service_address, timeout_s=30) as client:
                await asyncio.gather(
                    *(client.create(namespace, payload=request.payload) for _ in range(number))
                )

        asyncio.run(create())
    # What one peer created another one lists a moment later.
    wait_for(lambda: stored(peers.channel("leader"), namespace) == number, 10, "all are listed")


def test_a_batch_of_any_size_is_created_by_the_client(peers: Peers, namespace: str) -> None:
    async def create() -> None:
        async with AsyncClient(peers.follower.service_address, timeout_s=30) as client:
            tasks = [NewTask(namespace, payload=b"x" * LARGE)] * 20
            tasks[9] = NewTask(namespace, payload=b"x" * (LARGE + 1))
            created = await client.create_many(tasks)
            assert [isinstance(one, str) for one in created] == [at != 9 for at in range(20)]
            assert isinstance(created[9], InvalidTask)

    asyncio.run(create())


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_task_that_is_too_large_has_no_other_refused(peers: Peers, namespace: str, role: str) -> None:
    fitting = task(namespace, payload=b"x" * LARGE)
    too_large = task(namespace, payload=b"x" * (15 << 20))
    answers = streamed(peers.channel(role), [fitting, too_large, fitting, fitting])
    assert [one.status for one in answers] == [0, StatusCode.INVALID_ARGUMENT.value[0], 0, 0]
    assert (answers[1].reason, answers[1].field) == ("INVALID_FIELD", "payload")


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_metadata_that_grows_in_the_log_is_no_obstacle(peers: Peers, namespace: str, role: str) -> None:
    """A control character is six bytes of JSON: what fits on the way is too large for one command."""
    request = task(namespace, metadata={"k": "\x01" * 2700}, payload=b"x" * 6000)
    answers = streamed(peers.channel(role), [request] * 600)
    assert {(one.status, one.message) for one in answers} == {(0, "")}


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_refusals_carry_reason_and_field_by_every_way(peers: Peers, namespace: str, role: str) -> None:
    channel = peers.channel(role)
    call(channel, "Collection/CreateTask", task(namespace, request_id="once", payload=b"1"))
    for request, expected in (
        (
            task(namespace, request_id="once", payload=b"2"),
            (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", "request_id"),
        ),
        (
            task(namespace, metadata={"k": "v" * (16 << 10)}),
            (StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "metadata"),
        ),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call(channel, "Collection/CreateTask", request)
        assert refusal(refused.value) == expected
        (item,) = streamed(channel, [request])
        (result,) = batch(channel, pb.CreateTasksRequest(tasks=[request])).results
        number = expected[0].value[0]
        for one in (item, result):
            assert (one.status, one.reason, one.field) == (number, *expected[1:])
    with pytest.raises(grpc.RpcError) as refused:
        batch(channel, pb.CreateTasksRequest())
    assert refusal(refused.value) == (StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "tasks")


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_batch_that_is_encoded_anew_is_the_same_batch(peers: Peers, namespace: str, role: str) -> None:
    """Other languages write maps in any order, and another one each time."""

    def field(number: int, data: bytes) -> bytes:
        assert len(data) < 128
        return bytes([number << 3 | 2, len(data)]) + data

    def encoded(order: str) -> bytes:
        pairs = b"".join(field(3, field(1, key.encode()) + field(2, b"1")) for key in order)
        one = field(2, namespace.encode()) + pairs + b"\x30\x3c"
        return field(1, f"{namespace}{role}".encode()) + field(2, one)

    channel = peers.channel(role)
    first = batch(channel, encoded("xy")).results
    assert [result.status for result in first] == [0]
    assert batch(channel, encoded("yx")).results == first


def test_a_batch_sent_again_when_a_task_expired_has_the_first_ids(peers: Peers, namespace: str) -> None:
    soon = task(namespace, tts_seconds=1)
    soon.ClearField("tts_seconds")
    soon.ClearField("deliver_at")
    expires_ns = time.time_ns() + 1_000_000_000
    soon.expire_at.seconds, soon.expire_at.nanos = divmod(expires_ns, 1_000_000_000)
    request = pb.CreateTasksRequest(request_id=f"{namespace}-b", tasks=[soon, task(namespace)])
    first = batch(peers.channel("leader"), request).results
    single = pb.CreateTaskRequest()
    single.CopyFrom(soon)
    single.request_id = "single"
    made = call(peers.channel("leader"), "Collection/CreateTask", single)
    while time.time_ns() < expires_ns + 50_000_000:
        time.sleep(0.05)
    for role in ("leader", "follower"):
        assert batch(peers.channel(role), request).results == first
        again = call(peers.channel(role), "Collection/CreateTask", single)
        ids = {pb.CreateTaskResponse.FromString(answer).task.id for answer in (made, again)}
        assert len(ids) == 1


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_created_task_has_the_etag_that_a_read_gives(peers: Peers, namespace: str, role: str) -> None:
    channel = peers.channel(role)
    made = [
        pb.CreateTaskResponse.FromString(call(channel, "Collection/CreateTask", one)).task
        for one in (task(namespace), task(namespace, tts_seconds=600, request_id="r", metadata={"a": "b"}))
    ]
    made += [one.task for one in streamed(channel, [task(namespace), task(namespace, payload=bytes(5000))])]
    asked = pb.CreateTasksRequest(tasks=[task(namespace), task(namespace)], with_etags=True)
    made += [pb.Task(id=one.task_id, etag=one.etag) for one in batch(channel, asked).results]
    asked.with_etags = False
    assert [one.etag for one in batch(channel, asked).results] == ["", ""]
    for one in made:
        request = pb.GetTaskRequest(namespace=namespace, task_id=one.id, linearizable=True)
        stored = pb.Task.FromString(call(channel, "Collection/GetTask", request))
        assert one.etag and one.etag == stored.etag


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_created_tasks_are_counted_one_by_one(peers: Peers, namespace: str, role: str) -> None:
    channel = peers.channel(role)
    other = f"{namespace}other"
    bad = task(namespace, metadata={"k": "v" * (16 << 10)})
    batch(channel, pb.CreateTasksRequest(tasks=[task(namespace)] * 7))
    batch(channel, pb.CreateTasksRequest(tasks=[task(namespace), bad, task(other), task(namespace)]))
    batch(channel, pb.CreateTasksRequest(tasks=[bad] * 3))
    stream = channel.stream_stream("/z4.Collection/CreateTasksStream")
    requests = [pb.CreateTasksRequest(tasks=[task(other)] * 5), pb.CreateTasksRequest()]
    assert len(list(stream(iter([one.SerializeToString() for one in requests]), timeout=10))) == 2
    counted = {labels: value for labels, value in peers.counted(role).items() if namespace in labels[1]}
    assert counted == {
        ("CreateTasks", namespace): 9,
        ("CreateTasks", other): 1,
        ("CreateTasksStream", other): 5,
    }
