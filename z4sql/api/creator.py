"""Creating tasks: on this peer when it leads, at the leader otherwise, with one outcome for each task."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.unknown_fields import UnknownFieldSet
from grpc import StatusCode

from raftcore.core.errors import NotAccepted, NotLeader, OutcomeUnknown, RaftError
from raftcore.host.host import Host
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.forward import Forwarded, Forwarder
from z4sql.api.gathering import Group
from z4sql.api.leadership import Leadership
from z4sql.api.messages import instant_us, set_instant
from z4sql.api.methods import parse
from z4sql.api.status import CallError, from_raft, no_leader
from z4sql.api.varint import varint
from z4sql.tasks.commands import CommandBuilder, Conflict, CreateCommand, digest
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.ids import parse_id
from z4sql.tasks.model import NewTask

BATCH_TASKS_MAX = 10_000
COMMAND_TASKS_MAX = 1_000


@dataclass(slots=True, frozen=True)
class Made:
    """A created task's id, and the leader's address when it was made there."""

    task_id: str
    forwarded_to: str = ""


Done = Callable[[Made | CallError], None]


@dataclass(slots=True)
class _Single:
    """One task that waits for its place in a command."""

    data: bytes
    request: pb.CreateTaskRequest
    done: Done


class Creator:
    """Every call ends exactly once, across changes of leadership."""

    def __init__(self, host: Host, leadership: Leadership, builder: CommandBuilder) -> None:
        self._host = host
        self._leadership = leadership
        self._builder = builder
        self._forwarder = Forwarder(leadership, self._lead)
        self._arrived: list[_Single] = []
        self._group = Group(self._propose_arrived)

    async def close(self) -> None:
        await self._forwarder.close()

    def create(
        self, data: bytes, request: pb.CreateTaskRequest, done: Done, *, pipelined: bool = False
    ) -> None:
        """Create one task; ``data`` is the encoded ``request``. ``done`` is called once, not from here.

        What arrives within one turn of the loop, or while a busy loop lets tasks gather, is one command: a
        command costs far more than a task. ``pipelined``: its sender does not wait for the answer.

        :raises CallError: when it is refused at once; ``done`` is not called then.
        """
        if not self._leadership.leads:
            self._forward(data, done)
            return
        if not self._arrived:
            self._group.begin(pipelined=pipelined)
        elif not pipelined:
            self._group.hasten()
        self._arrived.append(_Single(data, request, done))

    def _propose_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        for at in range(0, len(arrived), COMMAND_TASKS_MAX):
            self._propose(arrived[at : at + COMMAND_TASKS_MAX])

    def _propose(self, singles: list[_Single]) -> None:
        command = self._builder.create_tasks([new_task(single.request) for single in singles])

        def ended(result: bytes | RaftError) -> None:
            if isinstance(result, bytes):
                _tell(singles, command, result)
                return
            for single in singles:
                self._retry_or_fail(single, result)

        if command.data is None:
            _tell(singles, command, None)
            return
        try:
            self._host.propose(command.data, ended)
        except NotAccepted as error:
            ended(error)

    def _retry_or_fail(self, single: _Single, error: RaftError) -> None:
        """In no log, or safe to repeat under its request id: whoever leads now carries it out."""
        again = isinstance(error, NotLeader) or (
            isinstance(error, OutcomeUnknown) and single.request.request_id != ""
        )
        try:
            if again:
                self._forward(single.data, single.done)
            else:
                single.done(from_raft(error))
        except CallError as problem:
            single.done(problem)

    async def create_batch(self, data: bytes, timeout_s: float) -> bytes:
        """Carry out an encoded CreateTasksRequest; returns the encoded response.

        :raises CallError: when the batch as a whole was refused or not carried out.
        """
        if self._leadership.leads:
            try:
                return await self._lead(data)
            except CallError as error:
                if error.code is not StatusCode.UNAVAILABLE and not (
                    error.reason == "OUTCOME_UNKNOWN" and parse(pb.CreateTasksRequest, data).request_id
                ):
                    raise
        request = parse(pb.CreateTasksRequest, data)
        if not request.request_id:
            # So that it can be sent to the leader twice. Equal batches are different ones all the same.
            request.request_id = uuid.uuid4().hex
            data = request.SerializeToString()
        response, address = await self._forwarder.send(data, timeout_s)
        return response + pb.CreateTasksResponse(forwarded_to=address).SerializeToString()

    async def lead_batch(self, data: bytes) -> bytes:
        """As `create_batch`, for a call that another peer passed on: never passed on again."""
        if not self._leadership.leads:
            raise no_leader()
        return await self._lead(data)

    def _forward(self, data: bytes, done: Done) -> None:
        def ended(outcome: Forwarded | CallError) -> None:
            if isinstance(outcome, CallError):
                done(outcome)
            elif outcome.result.status:
                done(CallError(_CODES[outcome.result.status], outcome.result.message))
            else:
                done(Made(outcome.result.task_id, outcome.forwarded_to))

        self._forwarder.add(data, ended)

    def _lead(self, data: bytes) -> asyncio.Future[bytes]:
        """Propose an encoded CreateTasksRequest on this peer; the future is of the encoded response."""
        request = parse(pb.CreateTasksRequest, data)
        if not request.tasks:
            raise CallError(
                StatusCode.INVALID_ARGUMENT, "tasks: is empty", reason="INVALID_FIELD", field="tasks"
            )
        if len(request.tasks) > BATCH_TASKS_MAX:
            raise CallError(
                StatusCode.INVALID_ARGUMENT,
                f"tasks: has {len(request.tasks)} items; the limit of a batch is {BATCH_TASKS_MAX}",
                reason="INVALID_FIELD",
                field="tasks",
            )
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        fingerprint = digest(data) if request.request_id else b""
        command = self._builder.create_tasks(
            [new_task(task) for task in request.tasks], request.request_id, fingerprint
        )

        def ended(result: bytes | RaftError) -> None:
            if future.done():
                return
            if isinstance(result, bytes):
                future.set_result(_response(command, result))
            else:
                future.set_exception(from_raft(result))

        if command.data is None:
            future.set_result(_response(command, None))
            return future
        try:
            self._host.propose(command.data, ended)
        except NotAccepted as error:
            raise from_raft(error) from None
        return future


def _tell(singles: list[_Single], command: CreateCommand, result: bytes | None) -> None:
    """Give everybody the outcome of the command that held their tasks."""
    created = command.outcome(result)
    for position, single in enumerate(singles):
        problem = created.problems.get(position)
        single.done(_problem(problem) if problem else Made(created.ids[position]))


def new_task(request: pb.CreateTaskRequest) -> NewTask:
    """The task that a request asks for; what is wrong with it is found when the command is built."""
    return NewTask(
        request.namespace,
        request.metadata,
        request.payload,
        instant_us(request.deliver_at) if request.HasField("deliver_at") else None,
        request.tts_seconds,
        request.request_id,
        instant_us(request.expire_at) if request.HasField("expire_at") else None,
    )


def created_task(data: bytes, request: pb.CreateTaskRequest, task_id: str) -> bytes:
    """The encoded Task that the first generation's calls answer; ``data`` is the encoded ``request``.

    Namespace, metadata, payload and deliver_at have the same numbers and types in both messages: where a
    request holds nothing else, its bytes are the task's, and most of the cost of an answer is saved.
    """
    if (
        request.HasField("deliver_at")
        and not request.deliver_at.nanos
        and not (request.request_id or request.tts_seconds or request.HasField("expire_at"))
        and not UnknownFieldSet(request)
    ):
        return b"".join((_TASK_ID_HEAD, task_id.encode(), data, _TASK_SCHEDULED))
    task = pb.Task(
        id=task_id,
        namespace=request.namespace,
        metadata=request.metadata,
        payload=request.payload,
        state="scheduled",
        request_id=request.request_id,
    )
    set_instant(task.deliver_at, parse_id(task_id)[0])
    if request.HasField("expire_at"):
        set_instant(task.expire_at, instant_us(request.expire_at))
    return task.SerializeToString()


def task_field(task: bytes) -> bytes:
    """An encoded task as field 1 of its answer, unary or streamed."""
    return b"".join((_TASK_FIELD, varint(len(task)), task))


_CODES = {code.value[0]: code for code in StatusCode}


def _problem(problem: InvalidTask | Conflict) -> CallError:
    if isinstance(problem, InvalidTask):
        return CallError(
            StatusCode.INVALID_ARGUMENT, str(problem), reason="INVALID_FIELD", field=problem.field
        )
    made = f" made task {problem.task_id}" if problem.task_id else " was used for another batch"
    return CallError(
        StatusCode.ALREADY_EXISTS,
        f"request_id: an earlier request with other content{made}",
        reason="REQUEST_ID_REUSED",
        field="request_id",
    )


_RESULT_HEAD = bytes([pb.CreateTasksResponse.DESCRIPTOR.fields_by_name["results"].number << 3 | 2, 28])
_TASK_FIELD = bytes([pb.CreateTaskResponse.DESCRIPTOR.fields_by_name["task"].number << 3 | 2])
_TASK_ID_HEAD = bytes([pb.Task.DESCRIPTOR.fields_by_name["id"].number << 3 | 2, 26])
_TASK_SCHEDULED = pb.Task(state="scheduled").SerializeToString()
_ID_HEAD = bytes([pb.CreateTaskResult.DESCRIPTOR.fields_by_name["task_id"].number << 3 | 2, 26])


def _response(command: CreateCommand, result: bytes | None) -> bytes:
    """The encoded response. All well: every result is the same 28 bytes around an id."""
    created = command.outcome(result)
    if not created.problems:
        head = _RESULT_HEAD + _ID_HEAD
        return b"".join([head + task_id.encode() for task_id in created.ids])
    response = pb.CreateTasksResponse()
    for position, task_id in enumerate(created.ids):
        problem = created.problems.get(position)
        if problem is None:
            response.results.add(task_id=task_id)
        else:
            error = _problem(problem)
            response.results.add(task_id="", status=error.code.value[0], message=error.message)
    return response.SerializeToString()
