"""Listing and changing tasks, and settings of namespaces, through the gRPC services of a real peer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc import StatusCode
from grpc_status import rpc_status

from tests.plain_calls import call
from tests.streams import ConsumeCall, Stream, wait_for
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, free_ports

_names = count()


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    with LocalCluster(tmp_path_factory.mktemp("changes"), free_ports(1)) as cluster:
        cluster.form()
        with grpc.insecure_channel(cluster.peers[0].service_address) as opened:
            yield opened
        assert "call_failed" not in cluster.peers[0].log.read_text()


@pytest.fixture
def namespace() -> str:
    return f"changes{next(_names)}"


def create_many(channel: grpc.Channel, namespace: str, number: int, **fields: object) -> list[str]:
    items = [
        pb.CreateTaskRequest(namespace=namespace, **fields)  # type: ignore[arg-type]
        for _ in range(number)
    ]
    answer = call(channel, "Collection/CreateTasks", pb.CreateTasksRequest(tasks=items))
    return [result.task_id for result in pb.CreateTasksResponse.FromString(answer).results]


def get(channel: grpc.Channel, namespace: str, task_id: str) -> pb.Task:
    request = pb.GetTaskRequest(namespace=namespace, task_id=task_id)
    return pb.Task.FromString(call(channel, "Collection/GetTask", request))


def change(channel: grpc.Channel, request: pb.ChangeTaskRequest) -> pb.Task:
    return pb.ChangeTaskResponse.FromString(call(channel, "Collection/ChangeTask", request)).task


def asked(namespace: str, task_id: str, kind: str, **fields: object) -> pb.ChangeTaskRequest:
    request = pb.ChangeTaskRequest(namespace=namespace, task_id=task_id, **fields)  # type: ignore[arg-type]
    if kind in ("cancel", "run_now", "redrive", "remove"):
        getattr(request, kind).SetInParent()
    return request


def change_many(channel: grpc.Channel, namespace: str, kind: str, **fields: object) -> int:
    request = pb.ChangeTasksRequest(namespace=namespace, change=kind, **fields)  # type: ignore[arg-type]
    return pb.ChangeTasksResponse.FromString(call(channel, "Collection/ChangeTasks", request)).changed


def listed(channel: grpc.Channel, namespace: str, **fields: object) -> list[pb.Task]:
    """Every page."""
    tasks: list[pb.Task] = []
    request = pb.ListTasksRequest(namespace=namespace, **fields)  # type: ignore[arg-type]
    while True:
        page = pb.ListTasksResponse.FromString(call(channel, "Collection/ListTasks", request))
        tasks += page.tasks
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return tasks


def refused(channel: grpc.Channel, method: str, request: object) -> tuple[StatusCode, str, str, str]:
    """(code, message, reason, field)"""
    with pytest.raises(grpc.RpcError) as error:
        call(channel, method, request)
    status = rpc_status.from_call(error.value)
    info, bad = ErrorInfo(), BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    field = bad.field_violations[0].field if bad.field_violations else ""
    return error.value.code(), error.value.details(), info.reason, field


def test_pages_hold_every_task_once_in_order(channel: grpc.Channel, namespace: str) -> None:
    ids = create_many(channel, namespace, 250, tts_seconds=600)
    for page_size in (0, 1_000, 7):
        assert [task.id for task in listed(channel, namespace, page_size=page_size)] == sorted(ids)
    assert not listed(channel, namespace, states=["done"])
    assert len(listed(channel, namespace, states=["scheduled", "dead"])) == 250
    later = pb.ListTasksRequest(namespace=namespace)
    getattr(later, "from").FromSeconds(int(time.time()) + 10_000)
    assert not pb.ListTasksResponse.FromString(call(channel, "Collection/ListTasks", later)).tasks


def test_pages_of_large_payloads_stay_within_a_message(channel: grpc.Channel, namespace: str) -> None:
    payloads = [bytes([at]) * 700_000 for at in range(9)]
    ids = [create_many(channel, namespace, 1, payload=one, tts_seconds=600)[0] for one in payloads]
    tasks = listed(channel, namespace, with_payload=True)
    assert {task.id: task.payload for task in tasks} == dict(zip(ids, payloads, strict=True))
    assert not any(task.payload for task in listed(channel, namespace))


def test_a_reschedule_keeps_the_id_and_decides_when(channel: grpc.Channel, namespace: str) -> None:
    (task_id,) = create_many(channel, namespace, 1, tts_seconds=600)
    with ConsumeCall(channel, namespace, credit=1) as consumer:
        request = asked(namespace, task_id, "reschedule")
        due_ns = time.time_ns() + 500_000_000
        request.reschedule.FromNanoseconds(due_ns)
        moved = change(channel, request)
        assert moved.id == task_id and moved.deliver_at.ToNanoseconds() == -(-due_ns // 1000) * 1000
        assert get(channel, namespace, task_id).deliver_at == moved.deliver_at
        delivery = consumer.wait(1, timeout_s=3)[0]
        assert delivery.task.id == task_id and consumer.arrivals_s[0] >= due_ns / 1e9


def test_an_update_is_guarded_by_its_etag(channel: grpc.Channel, namespace: str) -> None:
    (task_id,) = create_many(channel, namespace, 1, tts_seconds=600, payload=b"old")
    before = get(channel, namespace, task_id)
    request = asked(namespace, task_id, "update", etag=before.etag)
    request.update.payload = b"new"
    request.update.metadata.pairs["k"] = "v"
    after = change(channel, request)
    assert (after.payload, dict(after.metadata)) == (b"new", {"k": "v"}) and after.etag != before.etag
    code, message, reason, _ = refused(channel, "Collection/ChangeTask", request)
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "WRONG_ETAG") and "etag" in message


def test_a_repeated_change_with_its_request_id_is_done_once(channel: grpc.Channel, namespace: str) -> None:
    (task_id,) = create_many(channel, namespace, 1, tts_seconds=600)
    first = change(channel, asked(namespace, task_id, "cancel", request_id=f"{namespace}-cancel"))
    assert first.state == "canceled"
    change(channel, asked(namespace, task_id, "redrive"))
    again = change(channel, asked(namespace, task_id, "cancel", request_id=f"{namespace}-cancel"))
    assert again.state == "scheduled", "the answer is of the first time, the task is as it is now"
    other = asked(namespace, task_id, "run_now", request_id=f"{namespace}-cancel")
    code, _, _, field = refused(channel, "Collection/ChangeTask", other)
    assert (code, field) == (StatusCode.ALREADY_EXISTS, "request_id")


def test_settings_with_a_request_id_are_set_once(channel: grpc.Channel, namespace: str) -> None:
    def update(**fields: object) -> pb.UpdateNamespaceRequest:
        return pb.UpdateNamespaceRequest(
            namespace=namespace,
            request_id=f"{namespace}-set",
            **fields,  # type: ignore[arg-type]
        )

    first = call(channel, "Admin/UpdateNamespace", update(attempts_max=5))
    call(channel, "Admin/UpdateNamespace", pb.UpdateNamespaceRequest(namespace=namespace, attempts_max=7))
    assert call(channel, "Admin/UpdateNamespace", update(attempts_max=5)) == first
    now = call(channel, "Admin/GetNamespace", pb.GetNamespaceRequest(namespace=namespace))
    assert pb.Namespace.FromString(now).attempts_max == 7, "it was not done again"
    code, _, reason, field = refused(channel, "Admin/UpdateNamespace", update(attempts_max=6))
    assert (code, reason, field) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", "request_id")


def test_the_answer_of_a_create_carries_the_etag_for_the_first_change(
    channel: grpc.Channel, namespace: str
) -> None:
    soon = int(time.time()) + 600
    requests = [
        pb.CreateTaskRequest(namespace=namespace, deliver_at=Timestamp(seconds=soon), payload=b"p" * size)
        for size in (0, 10, 4096, 4097)
    ]
    requests += [
        pb.CreateTaskRequest(namespace=namespace, tts_seconds=600, request_id="r", metadata={"k": "v"}),
        pb.CreateTaskRequest(namespace=namespace, tts_ms=600_000, expire_at=Timestamp(seconds=soon * 2)),
    ]
    made = []
    for request in requests:
        made.append(pb.CreateTaskResponse.FromString(call(channel, "Collection/CreateTask", request)).task)
    with Stream(channel, "/z4.Collection/CreateTaskStream") as stream:
        for request in requests:
            request.request_id = request.request_id and "s"
            stream.send(request)
        wait_for(lambda: len(stream.received) == len(requests), 10, "all are answered")
        made += [pb.TaskStreamResponse.FromString(data).task for _, data in stream.received]
    batch = pb.CreateTasksRequest(tasks=requests[:4], with_etags=True)
    answer = pb.CreateTasksResponse.FromString(call(channel, "Collection/CreateTasks", batch))
    made += [pb.Task(id=result.task_id, etag=result.etag) for result in answer.results]
    for task in made:
        assert task.etag and task.etag == get(channel, namespace, task.id).etag
    first = made[0]
    request = asked(namespace, first.id, "cancel", etag=first.etag)
    assert change(channel, request).state == "canceled"
    assert refused(channel, "Collection/ChangeTask", request)[2] == "WRONG_ETAG"


def test_the_answer_of_a_repeated_create_has_no_etag(channel: grpc.Channel, namespace: str) -> None:
    """The task may have gone on since the first answer: who wants to change it reads it."""
    request = pb.CreateTaskRequest(namespace=namespace, tts_seconds=600, request_id="r")
    first, again = (
        pb.CreateTaskResponse.FromString(call(channel, "Collection/CreateTask", request)).task
        for _ in range(2)
    )
    assert first.id == again.id and first.etag and not again.etag
    batch = pb.CreateTasksRequest(tasks=[request], request_id=f"{namespace}-batch", with_etags=True)
    batch.tasks[0].request_id = ""
    one, two = (
        pb.CreateTasksResponse.FromString(call(channel, "Collection/CreateTasks", batch)).results[0]
        for _ in range(2)
    )
    assert one.task_id == two.task_id and one.etag and not two.etag


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"namespace": ""}, StatusCode.INVALID_ARGUMENT, "namespace"),
        ({"task_id": "zz"}, StatusCode.INVALID_ARGUMENT, "task_id"),
        ({"task_id": "0" * 26}, StatusCode.NOT_FOUND, ""),
        ({"etag": "no etag"}, StatusCode.INVALID_ARGUMENT, "etag"),
        ({"request_id": "r" * 256}, StatusCode.INVALID_ARGUMENT, "request_id"),
        ({"change": ""}, StatusCode.INVALID_ARGUMENT, "change"),
        ({"change": "redrive"}, StatusCode.FAILED_PRECONDITION, "state"),
    ],
)
def test_what_is_wrong_with_a_change_is_named(
    channel: grpc.Channel, namespace: str, fields: dict[str, str], code: StatusCode, field: str
) -> None:
    (task_id,) = create_many(channel, namespace, 1, tts_seconds=600)
    given = {"namespace": namespace, "task_id": task_id} | fields
    kind = given.pop("change", "cancel")
    found = refused(channel, "Collection/ChangeTask", asked(kind=kind, **given))
    assert (found[0], found[3]) == (code, field), found


def test_a_dry_run_counts_and_changes_nothing(channel: grpc.Channel, namespace: str) -> None:
    create_many(channel, namespace, 2_300, tts_seconds=600)
    assert change_many(channel, namespace, "cancel", dry_run=True) == 2_300
    assert change_many(channel, namespace, "redrive", dry_run=True) == 0
    assert {task.state for task in listed(channel, namespace, page_size=1_000)} == {"scheduled"}
    assert change_many(channel, namespace, "cancel") == 2_300
    assert change_many(channel, namespace, "redrive", states=["dead"]) == 0
    assert change_many(channel, namespace, "redrive", states=["canceled"]) == 2_300
    with ConsumeCall(channel, namespace, credit=1_000, auto_ack=True) as consumer:
        consumer.wait(2_300, timeout_s=20)


def test_f19_a_purge_under_load_ends_and_new_tasks_flow(channel: grpc.Channel, namespace: str) -> None:
    stopping = threading.Event()
    made: list[str] = []

    def write() -> None:
        while not stopping.is_set():
            made.extend(create_many(channel, namespace, 50, tts_seconds=600))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_for(lambda: len(made) > 2_000, 20, "2,000 tasks")
        assert change_many(channel, namespace, "purge") >= 2_000
    finally:
        stopping.set()
        writer.join()
    change_many(channel, namespace, "purge")
    assert not listed(channel, namespace)
    with ConsumeCall(channel, namespace, credit=10) as consumer:
        (fresh,) = create_many(channel, namespace, 1)
        assert [one.task.id for one in consumer.wait(1)] == [fresh]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"change": "destroy"}, "change"),
        ({"change": "purge", "states": ["gone"]}, "states"),
        ({"change": "purge", "namespace": ""}, "namespace"),
        ({"change": "purge", "from": {"seconds": 2}, "to": {"seconds": 1}}, "to"),
        ({"change": "purge", "from": {"seconds": 1, "nanos": -1}}, "from"),
    ],
)
def test_what_is_wrong_with_a_change_of_a_range_is_named(
    channel: grpc.Channel, namespace: str, fields: dict[str, object], field: str
) -> None:
    request = pb.ChangeTasksRequest(**({"namespace": namespace} | fields))  # type: ignore[arg-type]
    found = refused(channel, "Collection/ChangeTasks", request)
    assert (found[0], found[3]) == (StatusCode.INVALID_ARGUMENT, field)


def test_f20_reading_settings_makes_no_namespace(channel: grpc.Channel, namespace: str) -> None:
    request = pb.GetNamespaceRequest(namespace=namespace)
    assert refused(channel, "Admin/GetNamespace", request)[0] is StatusCode.NOT_FOUND
    with ConsumeCall(channel, namespace, credit=1) as consumer:
        wait_for(lambda: consumer.started, 5, "started")
        assert refused(channel, "Admin/GetNamespace", request)[0] is StatusCode.NOT_FOUND
    update = pb.UpdateNamespaceRequest(namespace=namespace, ack_deadline_seconds=7)
    made = pb.Namespace.FromString(call(channel, "Admin/UpdateNamespace", update))
    assert (made.id, made.ack_deadline_seconds, made.attempts_max) == (namespace, 7, 20)
    assert pb.Namespace.FromString(call(channel, "Admin/GetNamespace", request)) == made


@pytest.mark.parametrize("name", ["a\x01b", "\n\x06legacy \x1e", "tab\t", "\x7f", "\x85"])
def test_no_namespace_with_control_characters_comes_into_being(channel: grpc.Channel, name: str) -> None:
    """A message of another shape, read as ours, may look like such a name."""
    for method, request in (
        ("Admin/UpdateNamespace", pb.UpdateNamespaceRequest(namespace=name, attempts_max=3)),
        ("Collection/CreateTask", pb.CreateTaskRequest(namespace=name)),
    ):
        code, message, reason, field = refused(channel, method, request)
        assert (code, reason, field) == (StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "namespace")
        assert "control characters" in message
    assert not listed(channel, name)


def test_a_task_that_comes_too_late_is_created_and_expires(channel: grpc.Channel, namespace: str) -> None:
    """Whether it comes too late is for no clock to judge twice: a retry has the outcome of the first try."""
    (task_id,) = create_many(channel, namespace, 1, expire_at={"seconds": 100})
    wait_for(lambda: get(channel, namespace, task_id).state == "expired", 10, "it expires")
    contradiction = pb.CreateTaskRequest(
        namespace=namespace, deliver_at={"seconds": 4_000_000_000}, expire_at={"seconds": 4_000_000_000}
    )
    code, _, _, field = refused(channel, "Collection/CreateTask", contradiction)
    assert (code, field) == (StatusCode.INVALID_ARGUMENT, "expire_at")


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_nanoseconds_out_of_range_are_named(channel: grpc.Channel, namespace: str, nanos: int) -> None:
    for name in ("deliver_at", "expire_at"):
        request = pb.CreateTaskRequest(namespace=namespace)
        getattr(request, name).nanos = nanos
        code, message, _, field = refused(channel, "Collection/CreateTask", request)
        assert (code, field) == (StatusCode.INVALID_ARGUMENT, name) and "nanos" in message
    (task_id,) = create_many(channel, namespace, 1, tts_seconds=600)
    change_request = asked(namespace, task_id, "reschedule")
    change_request.reschedule.nanos = nanos
    code, message, _, _ = refused(channel, "Collection/ChangeTask", change_request)
    assert code is StatusCode.INVALID_ARGUMENT and "nanos" in message


def test_f20_settings_out_of_their_limits_are_refused(channel: grpc.Channel, namespace: str) -> None:
    for fields in ({"ack_deadline_seconds": 0}, {"backoff_multiplier": 0.5}, {"attempts_max": 0}):
        request = pb.UpdateNamespaceRequest(namespace=namespace, **fields)  # type: ignore[arg-type]
        found = refused(channel, "Admin/UpdateNamespace", request)
        assert (found[0], found[3]) == (StatusCode.INVALID_ARGUMENT, next(iter(fields)))
    both = pb.UpdateNamespaceRequest(namespace=namespace, backoff_min_ms=10, backoff_max_ms=5)
    assert refused(channel, "Admin/UpdateNamespace", both)[0] is StatusCode.INVALID_ARGUMENT


def test_namespaces_come_in_pages(channel: grpc.Channel) -> None:
    names = [f"page-{at:03d}" for at in range(25)]
    for name in names:
        create_many(channel, name, 1, tts_seconds=600)
    found: list[str] = []
    request = pb.ListNamespacesRequest(page_size=10)
    while True:
        page = pb.ListNamespacesResponse.FromString(call(channel, "Admin/ListNamespaces", request))
        assert len(page.namespaces) <= 10
        found += [one.id for one in page.namespaces]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == sorted(found) and set(names) <= set(found)
