"""The Collection service: creating tasks one by one, in streams and in batches, and reading one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

import grpc
from grpc import StatusCode

from raftcore.core.errors import RaftError
from raftcore.host.host import Host
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.creator import Creator, Made, created_task, refused_result, task_field
from z4sql.api.leadership import FORWARDED
from z4sql.api.messages import task_message
from z4sql.api.methods import Context, Methods
from z4sql.api.parsing import parse
from z4sql.api.status import CallError, from_raft, undecided
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.reader import TaskReader

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 10.0
STREAM_WINDOW = 1024
"""Items of one stream that may be under way at once; then the sender is held back."""


class Collection:
    """Handlers of /z4.Collection; ``reader`` answers None while this peer holds no state."""

    def __init__(
        self,
        host: Host,
        creator: Creator,
        reader: Callable[[], TaskReader | None],
        on_created: Callable[[str, str, int], None],
    ) -> None:
        """``on_created`` is told method, namespace and count of the tasks that were created through here."""
        self._host = host
        self._creator = creator
        self._reader = reader
        self._on_created = on_created

    def register(self, methods: Methods) -> None:
        methods.unary("/z4.Collection/CreateTask", self.create_task)
        methods.unary("/z4.Collection/CreateTaskAsync", self.create_task)
        methods.stream("/z4.Collection/CreateTaskStream", self.create_task_stream)
        methods.stream("/z4.Collection/CreateTaskStreamAsync", self.create_task_stream)
        methods.unary("/z4.Collection/CreateTasks", self.create_tasks)
        methods.stream("/z4.Collection/CreateTasksStream", self.create_tasks_stream)
        methods.unary("/z4.Collection/GetTask", self.get_task)

    async def create_task(self, data: bytes, context: Context) -> bytes:
        return await self.create_one(data, context, "CreateTask")

    async def create_one(self, data: bytes, context: Context, method: str) -> bytes:
        """The encoded answer of CreateTask; counted as ``method``."""
        request = parse(pb.CreateTaskRequest, data)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Made] = loop.create_future()

        def done(made: Made | CallError) -> None:
            if future.done():
                return
            if isinstance(made, CallError):
                future.set_exception(made)
            else:
                future.set_result(made)

        self._creator.create(data, request, done)
        # A bare timer: asyncio.wait_for costs as much as creating the task.
        timer = loop.call_later(_time_left(context), _expire, future)
        try:
            made = await future
        finally:
            timer.cancel()
        self._on_created(method, request.namespace, 1)
        answer = task_field(created_task(data, request, made.task_id, made.etag))
        if made.forwarded_to:
            answer += pb.CreateTaskResponse(forwarded_to=made.forwarded_to).SerializeToString()
        return answer

    async def create_task_stream(self, context: Context) -> None:
        await self.create_stream(context, "CreateTaskStream", _as_it_is)

    async def create_stream(self, context: Context, method: str, converted: Callable[[bytes], bytes]) -> None:
        """Items are answered in order while later ones are under way; a bad item does not end the stream.

        ``converted`` makes an encoded CreateTaskRequest of an item. Counted as ``method``.
        """
        answers = _Answers()
        reading = asyncio.create_task(self._read_items(context, answers, method, converted))
        try:
            while (answer := await answers.next()) is not None:
                await context.write(answer)
            await reading
        finally:
            reading.cancel()

    async def _read_items(
        self, context: Context, answers: _Answers, method: str, converted: Callable[[bytes], bytes]
    ) -> None:
        try:
            while (data := await context.read()) is not grpc.aio.EOF:
                assert isinstance(data, bytes)
                slot = await answers.open()
                self._start_item(data, answers, slot, method, converted)
        finally:
            answers.finish()

    def _start_item(
        self,
        data: bytes,
        answers: _Answers,
        slot: _Slot,
        method: str,
        converted: Callable[[bytes], bytes],
    ) -> None:
        request = pb.CreateTaskRequest()

        def done(made: Made | CallError) -> None:
            if isinstance(made, CallError):
                answer = pb.TaskStreamResponse(
                    status=made.code.value[0],
                    message=made.message,
                    request_id=request.request_id,
                    reason=made.reason,
                    field=made.field,
                ).SerializeToString()
            else:
                self._on_created(method, request.namespace, 1)
                answer = task_field(created_task(data, request, made.task_id, made.etag))
                if made.forwarded_to or request.request_id:
                    answer += pb.TaskStreamResponse(
                        forwarded_to=made.forwarded_to, request_id=request.request_id
                    ).SerializeToString()
            answers.fill(slot, answer)

        try:
            data = converted(data)
            request = parse(pb.CreateTaskRequest, data)
            self._creator.create(data, request, done, pipelined=True)
        except CallError as error:
            done(error)

    async def create_tasks(self, data: bytes, context: Context) -> bytes:
        if _is_forwarded(context):
            return await _within(asyncio.ensure_future(self._creator.lead_batch(data)), context)
        timeout_s = _time_left(context)
        answer = await _within(asyncio.ensure_future(self._creator.create_batch(data, timeout_s)), context)
        self._count("CreateTasks", answer.counts)
        return answer.data

    async def create_tasks_stream(self, context: Context) -> None:
        """Batches, answered in order, several under way."""
        answers = _Answers(window=8)
        batches: set[asyncio.Task[None]] = set()
        reading = asyncio.create_task(self._read_batches(context, answers, batches))
        try:
            while (answer := await answers.next()) is not None:
                await context.write(answer)
            await reading
        finally:
            reading.cancel()
            for batch in batches:
                batch.cancel()

    async def _read_batches(
        self, context: Context, answers: _Answers, batches: set[asyncio.Task[None]]
    ) -> None:
        """``batches``: those under way. What ends the reading does not end them: they are answered."""

        def ended(batch: asyncio.Task[None]) -> None:
            batches.discard(batch)
            if not batch.cancelled() and (error := batch.exception()) is not None:
                answers.fail(error)

        try:
            while (data := await context.read()) is not grpc.aio.EOF:
                assert isinstance(data, bytes)
                batch = asyncio.create_task(self._run_batch(data, answers, await answers.open()))
                batches.add(batch)
                batch.add_done_callback(ended)
        finally:
            answers.finish()

    async def _run_batch(self, data: bytes, answers: _Answers, slot: _Slot) -> None:
        try:
            async with asyncio.timeout(DEFAULT_TIMEOUT_S):
                response, counts = await self._creator.create_batch(data, DEFAULT_TIMEOUT_S)
            self._count("CreateTasksStream", counts)
        except TimeoutError:
            response = _refused_batch(data, undecided())
        except CallError as error:
            response = _refused_batch(data, error)
        answers.fill(slot, response)

    def _count(self, method: str, counts: Mapping[str, int]) -> None:
        for namespace, count in counts.items():
            self._on_created(method, namespace, count)

    async def get_task(self, data: bytes, context: Context) -> bytes:
        request = parse(pb.GetTaskRequest, data)
        reader = self._reader()
        if reader is None:
            raise CallError(
                StatusCode.UNAVAILABLE, "this peer is not a member of a cluster yet", retry_ms=500
            )
        if request.linearizable:
            try:
                await self._host.barrier(_time_left(context))
            except RaftError as error:
                raise from_raft(error) from None
        try:
            task = reader.get(request.namespace, request.task_id)
        except InvalidTask as error:
            raise CallError(
                StatusCode.INVALID_ARGUMENT, str(error), reason="INVALID_FIELD", field=error.field
            ) from None
        if task is None:
            raise CallError(
                StatusCode.NOT_FOUND,
                f"task not found: {request.task_id} in namespace {request.namespace!r}",
                reason="TASK_NOT_FOUND",
            )
        return task_message(task).SerializeToString()


def _refused_batch(data: bytes, error: CallError) -> bytes:
    """The answer in which every task has the error of its batch."""
    count = 0 if error.reason == "MALFORMED" else len(pb.CreateTasksRequest.FromString(data).tasks)
    return pb.CreateTasksResponse(results=[refused_result(error)] * count).SerializeToString()


def _as_it_is(data: bytes) -> bytes:
    return data


class _Slot:
    """The place of one answer in its stream."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: bytes | None = None


class _Answers:
    """Answers of a stream, given in the order of the requests, at most ``window`` open."""

    def __init__(self, window: int = STREAM_WINDOW) -> None:
        self._slots: deque[_Slot] = deque()
        self._free = window
        self._room = asyncio.Event()
        self._changed = asyncio.Event()
        self._finished = False
        self._failure: BaseException | None = None

    async def open(self) -> _Slot:
        """A place for one more answer, once there is room."""
        # Most of the time there is, and waiting for what is there costs as much as parsing the item.
        while not self._free:
            self._room.clear()
            await self._room.wait()
        self._free -= 1
        slot = _Slot()
        self._slots.append(slot)
        return slot

    def fill(self, slot: _Slot, answer: bytes) -> None:
        slot.answer = answer
        if self._slots and self._slots[0] is slot:
            self._changed.set()

    def finish(self) -> None:
        """No further requests come."""
        self._finished = True
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        """An answer will never come."""
        self._failure = error
        self._changed.set()

    async def next(self) -> bytes | None:
        """The next answer; None after the last one. Raises what `fail` was told."""
        while True:
            if self._failure is not None:
                raise self._failure
            if self._slots:
                answer = self._slots[0].answer
                if answer is not None:
                    self._slots.popleft()
                    self._free += 1
                    self._room.set()
                    return answer
            elif self._finished:
                return None
            self._changed.clear()
            await self._changed.wait()


async def _within(future: asyncio.Future[T], context: Context) -> T:
    """Wait for ``future`` until the caller's deadline, or ours when the caller has none."""
    try:
        return await asyncio.wait_for(future, _time_left(context))
    except TimeoutError:
        raise undecided() from None


def _expire(future: asyncio.Future[Made]) -> None:
    if not future.done():
        future.set_exception(undecided())


def _time_left(context: Context) -> float:
    left_s = context.time_remaining()
    return DEFAULT_TIMEOUT_S if left_s is None else min(left_s, DEFAULT_TIMEOUT_S)


def _is_forwarded(context: Context) -> bool:
    return any(key == FORWARDED for key, _ in context.invocation_metadata() or ())
