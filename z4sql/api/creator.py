"""Creating tasks: on this peer when it leads, at the leader otherwise, with one outcome for each task."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.unknown_fields import UnknownFieldSet
from grpc import StatusCode

from raftcore.core.errors import NotAccepted, NotLeader, OutcomeUnknown, PayloadTooLarge, RaftError
from raftcore.host.host import Host
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.cutting import GROUP_BYTES, cut
from z4sql.api.forward import Forwarded, Forwarder
from z4sql.api.gathering import Group
from z4sql.api.leadership import Leadership
from z4sql.api.messages import instant_us, set_instant
from z4sql.api.parsing import parse
from z4sql.api.status import OUTCOME_UNKNOWN, TOO_LARGE, CallError, from_raft, invalid, no_leader, undecided
from z4sql.api.varint import varint
from z4sql.tasks.commands import CommandBuilder, Conflict, CreateCommand
from z4sql.tasks.encoding import metadata_json
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.ids import parse_id
from z4sql.tasks.model import PAYLOAD_BYTES_MAX, NewTask, check_sizes

BATCH_TASKS_MAX = 10_000
COMMAND_TASKS_MAX = 1_000
_TASK_BYTES_MAX = PAYLOAD_BYTES_MAX + (64 << 10)
"""No valid task is larger; on its way to the leader it would have the tasks refused that go with it."""


@dataclass(slots=True, frozen=True)
class Made:
    """A created task's id, and the leader's address when it was made there."""

    task_id: str
    forwarded_to: str = ""
    etag: str = ""
    """Empty when an earlier call created it."""


Done = Callable[[Made | CallError], None]


class BatchAnswer(NamedTuple):
    """The encoded CreateTasksResponse, and how many tasks there are by their namespaces."""

    data: bytes
    counts: Mapping[str, int]


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
        self._forwarder = Forwarder(leadership, self.lead_batch)
        self._arrived: list[_Single] = []
        self._arrived_bytes = 0
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
            if len(data) > _TASK_BYTES_MAX:
                raise _too_large(request)
            self._forward(data, done)
            return
        if not self._arrived:
            self._group.begin(pipelined=pipelined)
        elif not pipelined:
            self._group.hasten()
        self._arrived.append(_Single(data, request, done))
        self._arrived_bytes += len(data)

    def _propose_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        size, self._arrived_bytes = self._arrived_bytes, 0
        if len(arrived) <= COMMAND_TASKS_MAX and size <= GROUP_BYTES:
            self._propose(arrived)
            return
        for lo, hi in cut([len(single.data) for single in arrived], COMMAND_TASKS_MAX):
            self._propose(arrived[lo:hi])

    def _propose(self, singles: list[_Single]) -> None:
        command = self._builder.create_tasks(
            [new_task(single.request) for single in singles], with_etags=True
        )

        def ended(result: bytes | RaftError) -> None:
            if isinstance(result, bytes):
                _tell(singles, command, result)
                return
            if isinstance(result, PayloadTooLarge) and len(singles) > 1:
                # Metadata may be larger in the log than on the way.
                middle = len(singles) // 2
                self._propose(singles[:middle])
                self._propose(singles[middle:])
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
        tried = isinstance(error, OutcomeUnknown)
        try:
            if isinstance(error, NotLeader) or (tried and single.request.request_id != ""):
                self._forward(single.data, _after_a_try(single.done) if tried else single.done)
            else:
                single.done(from_raft(error))
        except CallError as problem:
            single.done(undecided() if tried else problem)

    async def create_batch(self, data: bytes, timeout_s: float) -> BatchAnswer:
        """Carry out an encoded CreateTasksRequest.

        :raises CallError: when the batch as a whole was refused, or it is not known to be carried out.
        """
        tried = False
        if self._leadership.leads:
            try:
                return await self._lead(data)
            except CallError as error:
                tried = error.reason == OUTCOME_UNKNOWN
                if error.code is not StatusCode.UNAVAILABLE and not (
                    tried and parse(pb.CreateTasksRequest, data).request_id
                ):
                    raise
        request = parse(pb.CreateTasksRequest, data)
        _check_batch(request)
        if not request.request_id:
            # So that it can be sent to the leader twice. Equal batches are different ones all the same.
            request.request_id = uuid.uuid4().hex
            data = request.SerializeToString()
        response, address = await self._forwarder.send(data, timeout_s, tried=tried)
        return BatchAnswer(
            response + pb.CreateTasksResponse(forwarded_to=address).SerializeToString(),
            _counts(request, response),
        )

    async def lead_batch(self, data: bytes) -> bytes:
        """As `create_batch`, for a call that another peer passed on: never passed on again."""
        if not self._leadership.leads:
            raise no_leader()
        return (await self._lead(data)).data

    def _forward(self, data: bytes, done: Done) -> None:
        def ended(outcome: Forwarded | CallError) -> None:
            if isinstance(outcome, CallError):
                done(outcome)
            elif outcome.result.status:
                result = outcome.result
                code = _CODES[result.status]
                done(CallError(code, result.message, reason=result.reason, field=result.field))
            else:
                done(Made(outcome.result.task_id, outcome.forwarded_to, outcome.result.etag))

        self._forwarder.add(data, ended)

    def _lead(self, data: bytes) -> asyncio.Future[BatchAnswer]:
        """Propose an encoded CreateTasksRequest on this peer."""
        request = parse(pb.CreateTasksRequest, data)
        _check_batch(request)
        future: asyncio.Future[BatchAnswer] = asyncio.get_running_loop().create_future()
        command = self._builder.create_tasks(
            [new_task(task) for task in request.tasks], request.request_id, with_etags=request.with_etags
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


def _too_large(request: pb.CreateTaskRequest) -> CallError:
    """What is too large about a request."""
    try:
        check_sizes(new_task(request), metadata_json(request.metadata))
    except InvalidTask as problem:
        return _problem(problem)
    return CallError(StatusCode.INVALID_ARGUMENT, "the request is too large", reason=TOO_LARGE)


def _check_batch(request: pb.CreateTasksRequest) -> None:
    """:raises CallError: when the batch is empty or too long."""
    if not request.tasks:
        raise invalid("tasks", "is empty")
    if len(request.tasks) > BATCH_TASKS_MAX:
        raise invalid("tasks", f"has {len(request.tasks)} items; the limit of a batch is {BATCH_TASKS_MAX}")


def _after_a_try(done: Done) -> Done:
    """Nobody may say any more that nothing was done."""

    def ended(made: Made | CallError) -> None:
        nothing = isinstance(made, CallError) and made.code in _NOTHING_DONE
        done(undecided() if nothing else made)

    return ended


def _tell(singles: list[_Single], command: CreateCommand, result: bytes | None) -> None:
    """Give everybody the outcome of the command that held their tasks."""
    created = command.outcome(result)
    for position, single in enumerate(singles):
        problem = created.problems.get(position)
        single.done(
            _problem(problem) if problem else Made(created.ids[position], "", created.etags[position])
        )


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
        request.tts_ms,
    )


def created_task(data: bytes, request: pb.CreateTaskRequest, task_id: str, etag: str = "") -> bytes:
    """The encoded Task that the first generation's calls answer; ``data`` is the encoded ``request``.

    Namespace, metadata, payload and deliver_at have the same numbers and types in both messages: where a
    request holds nothing else, its bytes are the task's, and most of the cost of an answer is saved.
    """
    if (
        request.HasField("deliver_at")
        and not request.deliver_at.nanos
        and not (request.request_id or request.tts_seconds or request.tts_ms or request.HasField("expire_at"))
        and not UnknownFieldSet(request)
    ):
        tail = _TASK_ETAG_HEAD + etag.encode() if etag else b""
        return b"".join((_TASK_ID_HEAD, task_id.encode(), data, _TASK_SCHEDULED, tail))
    task = pb.Task(
        id=task_id,
        namespace=request.namespace,
        metadata=request.metadata,
        payload=request.payload,
        state="scheduled",
        etag=etag,
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
_NOTHING_DONE = frozenset({StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED})


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
_TASK_ETAG_HEAD = pb.Task(etag="e" * 16).SerializeToString()[:-16]
_TASK_SCHEDULED = pb.Task(state="scheduled").SerializeToString()
_ID_HEAD = bytes([pb.CreateTaskResult.DESCRIPTOR.fields_by_name["task_id"].number << 3 | 2, 26])


_RESULT_BYTES = 30
_TAGGED_HEAD = bytes([_RESULT_HEAD[0], 46]) + _ID_HEAD
_ETAG_HEAD = pb.CreateTaskResult(etag="e" * 16).SerializeToString()[:-16]


def _response(command: CreateCommand, result: bytes | None) -> BatchAnswer:
    """All well: every result is the same bytes around an id, and an etag if it was asked for."""
    created = command.outcome(result)
    counts = command.counts(created)
    if not created.problems and all(created.etags) and created.etags:
        pairs = zip(created.ids, created.etags, strict=True)
        parts = [b"".join((_TAGGED_HEAD, one.encode(), _ETAG_HEAD, etag.encode())) for one, etag in pairs]
        return BatchAnswer(b"".join(parts), counts)
    if not created.problems and not created.etags:
        head = _RESULT_HEAD + _ID_HEAD
        return BatchAnswer(b"".join([head + task_id.encode() for task_id in created.ids]), counts)
    response = pb.CreateTasksResponse()
    for position, task_id in enumerate(created.ids):
        problem = created.problems.get(position)
        if problem is None:
            response.results.add(task_id=task_id, etag=created.etags[position] if created.etags else "")
        else:
            response.results.append(refused_result(_problem(problem)))
    return BatchAnswer(response.SerializeToString(), counts)


def refused_result(error: CallError) -> pb.CreateTaskResult:
    """An error of one task of a batch."""
    return pb.CreateTaskResult(
        status=error.code.value[0], message=error.message, reason=error.reason, field=error.field
    )


def _counts(request: pb.CreateTasksRequest, response: bytes) -> Mapping[str, int]:
    """How many tasks of ``request`` there are, by their namespaces, as the leader's ``response`` says."""
    namespaces = [task.namespace for task in request.tasks]
    if len(response) != _RESULT_BYTES * len(namespaces):
        results = pb.CreateTasksResponse.FromString(response).results
        namespaces = [name for name, one in zip(namespaces, results, strict=True) if not one.status]
    return Counter(namespaces)
