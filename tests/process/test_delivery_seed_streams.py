"""The streams of bare tasks, as clients of the first generations know them, on a real peer.

Names of tests carry the number of the scenario that the first generation's feature tests told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count

import grpc
import pytest

from tests.plain_calls import call, create
from tests.streams import ConsumeCall, TaskStream, wait_for
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, free_ports

_names = count()
GET_STREAM = "/z4.Collection/GetTaskStream"
PULL = "/z4.Queue/Pull"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    with LocalCluster(tmp_path_factory.mktemp("streams"), free_ports(1)) as cluster:
        cluster.form()
        with grpc.insecure_channel(cluster.peers[0].service_address) as opened:
            yield opened
        log = cluster.peers[0].log.read_text()
        assert "call_failed" not in log and "delivery_failed" not in log


@pytest.fixture
def namespace() -> str:
    return f"stream{next(_names)}"


def state_of(channel: grpc.Channel, task: pb.Task) -> str:
    request = pb.GetTaskRequest(namespace=task.namespace, task_id=task.id)
    return pb.Task.FromString(call(channel, "Collection/GetTask", request)).state


def subscribe(channel: grpc.Channel, namespace: str) -> TaskStream:
    """As the first generation did: one message by hand, field 2 is the namespace."""
    stream = TaskStream(channel, GET_STREAM)
    name = namespace.encode()
    stream.send(b"\x0a\x03req" + bytes([2 << 3 | 2, len(name)]) + name)
    return stream


def first_generation(task: pb.Task) -> bytes:
    """The bytes of a task's fields that the first generation knows: 1 to 5."""
    known = pb.Task()
    for field, value in task.ListFields():
        if field.number <= 5:
            if field.name == "metadata":
                known.metadata.update(value)
            elif field.name == "deliver_at":
                known.deliver_at.CopyFrom(value)
            else:
                setattr(known, field.name, value)
    return known.SerializeToString(deterministic=True)


def pull(channel: grpc.Channel, namespace: str) -> TaskStream:
    return TaskStream(channel, PULL, metadata=(("queue", namespace),))


def test_f01_nothing_comes_of_an_empty_namespace(channel: grpc.Channel, namespace: str) -> None:
    with subscribe(channel, namespace) as stream:
        assert not stream.ended.wait(1)
        assert not stream.tasks()


def test_f02_f03_f06_a_task_comes_in_time_once_and_only_to_its_namespace(
    channel: grpc.Channel, namespace: str
) -> None:
    with (
        subscribe(channel, namespace) as stream,
        subscribe(channel, namespace + "#x") as longer,
        subscribe(channel, namespace[:-1] or "other") as shorter,
    ):
        made = create(channel, namespace, tts_seconds=1, payload=b"bytes", metadata={"k": "v"})
        got = stream.wait(1, timeout_s=2)[0]
        assert first_generation(got) == first_generation(made)
        assert dict(got.metadata) == {"k": "v"}
        wait_for(lambda: state_of(channel, made) == "done", 3, "done once it was sent")
        time.sleep(1)
        assert len(stream.tasks()) == 1
        assert not longer.tasks() and not shorter.tasks()


def test_f04_nothing_comes_before_its_time(channel: grpc.Channel, namespace: str) -> None:
    with subscribe(channel, namespace) as stream:
        create(channel, namespace, tts_seconds=5)
        time.sleep(2)
        assert not stream.tasks()


def test_f05_a_late_subscriber_gets_what_is_overdue(channel: grpc.Channel, namespace: str) -> None:
    made = create(channel, namespace)
    time.sleep(1)
    with subscribe(channel, namespace) as stream:
        assert stream.wait(1, timeout_s=1)[0].id == made.id


def test_f12_sixteen_writers_lose_nothing_and_keep_their_order(channel: grpc.Channel, namespace: str) -> None:
    def write(writer: int) -> None:
        for at in range(200):
            create(channel, namespace, payload=f"{writer}:{at}".encode())

    with subscribe(channel, namespace) as stream:
        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(16)]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        got = [task.payload.decode().split(":") for task in stream.wait(3_200, timeout_s=60)]
    assert len({tuple(one) for one in got}) == len(got) == 3_200
    for writer in range(16):
        mine = [int(at) for one, at in got if int(one) == writer]
        assert mine == sorted(mine)


def test_a_server_stream_client_half_closes_and_still_gets_tasks(
    channel: grpc.Channel, namespace: str
) -> None:
    answers = channel.unary_stream(GET_STREAM)(
        pb.StreamTasksRequest(namespace=namespace).SerializeToString(), timeout=10
    )
    made = create(channel, namespace)
    assert pb.Task.FromString(next(answers)).id == made.id
    answers.cancel()


@pytest.mark.parametrize("form", ["pull", "get_task_stream"])
def test_acknowledged_streams_are_done_with_a_task_when_told_so(
    channel: grpc.Channel, namespace: str, form: str
) -> None:
    if form == "pull":
        stream = pull(channel, namespace)
    else:
        stream = TaskStream(channel, GET_STREAM)
        stream.send(pb.PullRequest(start_req=pb.StreamTasksRequest(namespace=namespace, request_id="r")))

    def ack(task_id: str, queue: str = namespace) -> None:
        if form == "pull":
            stream.send(pb.PullAck(reference=pb.TaskReference(queue=queue, task_id=task_id)))
        else:
            stream.send(pb.PullRequest(ack=pb.AckReference(namespace=queue, task_id=task_id)))

    with stream:
        made = create(channel, namespace)
        other = create(channel, namespace)
        stream.wait(2)
        assert state_of(channel, made) == "leased"
        # f17: what makes no sense is passed over, the stream lives.
        ack("no such id")
        ack(made.id, queue="elsewhere")
        ack(made.id)
        wait_for(lambda: state_of(channel, made) == "done", 5, "done")
        assert state_of(channel, other) == "leased"
    wait_for(lambda: state_of(channel, other) == "scheduled", 5, "given back when the stream ended")


def test_f15_pulled_but_unacknowledged_tasks_reach_the_next_consumer(
    channel: grpc.Channel, namespace: str
) -> None:
    items = [pb.CreateTaskRequest(namespace=namespace) for _ in range(1000)]
    call(channel, "Collection/CreateTasks", pb.CreateTasksRequest(tasks=items))
    first = pull(channel, namespace)
    taken = [task.id for task in first.wait(15)][:15]
    for task_id in taken:
        first.send(pb.PullAck(reference=pb.TaskReference(queue=namespace, task_id=task_id)))
    request = pb.GetTaskRequest(namespace=namespace, task_id=taken[-1])
    wait_for(
        lambda: pb.Task.FromString(call(channel, "Collection/GetTask", request)).state == "done", 5, "acked"
    )
    first.cancel()
    with ConsumeCall(channel, namespace, credit=1000, auto_ack=True) as second:
        second.wait(985)
        assert not {delivery.task.id for delivery in second.deliveries} & set(taken)


def test_pull_names_exactly_one_queue(channel: grpc.Channel) -> None:
    for metadata, message in (
        ((), "missing metadata"),
        ((("queue", "a"), ("queue", "b")), "expected one queue in metadata"),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            list(channel.stream_stream(PULL)(iter(()), metadata=metadata, timeout=5))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details() == message


def test_push_get_and_delete(channel: grpc.Channel, namespace: str) -> None:
    push = pb.PushTaskRequest(queue=namespace, payload=b"p", metadata={"a": "b"}, tts_seconds=60)
    made = pb.PushTaskResponse.FromString(call(channel, "Queue/Push", push)).task
    reference = pb.TaskReference(queue=namespace, task_id=made.id)
    got = pb.Task.FromString(call(channel, "Queue/Get", pb.TaskLookup(reference=reference)))
    assert (got.id, got.payload, got.state) == (made.id, b"p", "scheduled")
    call(channel, "Queue/Delete", pb.TaskDeletion(reference=reference))
    with pytest.raises(grpc.RpcError) as missing:
        call(channel, "Queue/Get", pb.TaskLookup(reference=reference))
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    call(channel, "Queue/Delete", pb.TaskDeletion(reference=reference))
    with pytest.raises(grpc.RpcError) as malformed:
        call(
            channel,
            "Queue/Get",
            pb.TaskLookup(reference=pb.TaskReference(queue=namespace, task_id="short")),
        )
    assert malformed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert malformed.value.details().startswith("invalid task id")


def test_f18_a_task_deleted_before_its_time_is_never_delivered(channel: grpc.Channel, namespace: str) -> None:
    with subscribe(channel, namespace) as stream:
        gone = create(channel, namespace, tts_seconds=1)
        stays = create(channel, namespace, tts_seconds=1)
        reference = pb.TaskReference(queue=namespace, task_id=gone.id)
        call(channel, "Queue/Delete", pb.TaskDeletion(reference=reference))
        assert [task.id for task in stream.wait(1, timeout_s=3)] == [stays.id]
        time.sleep(0.3)
        assert len(stream.tasks()) == 1


def test_push_stream_takes_its_queue_from_the_metadata(channel: grpc.Channel, namespace: str) -> None:
    requests = [pb.PushTaskRequest(payload=str(at).encode(), tts_seconds=60) for at in range(10)]
    answers = list(
        channel.stream_stream("/z4.Queue/PushStream")(
            (request.SerializeToString() for request in requests),
            metadata=(("namespace", namespace),),
            timeout=10,
        )
    )
    tasks = [pb.PushTaskStreamResponse.FromString(answer) for answer in answers]
    assert [one.status for one in tasks] == [0] * 10
    assert [one.task.payload for one in tasks] == [request.payload for request in requests]
    assert {one.task.namespace for one in tasks} == {namespace}
