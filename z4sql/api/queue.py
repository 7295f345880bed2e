"""The Queue service: consuming with leases, and the names of the later generation."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.changing import Changing
from z4sql.api.collection import Collection
from z4sql.api.consuming import ConsumeStream
from z4sql.api.handing import HandingStream
from z4sql.api.methods import Context, Methods
from z4sql.api.parsing import parse, subscription_of
from z4sql.api.passing import Passing
from z4sql.api.status import CallError, invalid
from z4sql.delivery.dispatcher import Dispatcher
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.life import id_place

_KEYS = ("queue", "namespace")


class Queue:
    """Handlers of /z4.Queue, and of /z4.Collection/GetTaskStream."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        passing: Passing,
        collection: Collection,
        changing: Changing,
        on_streamed: Callable[[str, str, int], None],
    ) -> None:
        """``on_streamed`` is told method, namespace and count of what streams of tasks sent from here."""
        self._dispatcher = dispatcher
        self._passing = passing
        self._collection = collection
        self._changing = changing
        self._on_streamed = on_streamed

    def register(self, methods: Methods) -> None:
        methods.stream("/z4.Queue/Consume", self.consume)
        methods.stream("/z4.Collection/GetTaskStream", self.get_task_stream)
        methods.stream("/z4.Queue/Pull", self.pull)
        methods.unary("/z4.Queue/Push", self.push)
        methods.stream("/z4.Queue/PushStream", self.push_stream)
        methods.unary("/z4.Queue/Get", self.get)
        methods.unary("/z4.Queue/Delete", self.delete)

    async def consume(self, context: Context) -> None:
        if not await self._passing.stream("/z4.Queue/Consume", context):
            await ConsumeStream(
                self._dispatcher,
                self._passing.own_address,
                context,
                lambda namespace, count: self._on_streamed("Consume", namespace, count),
            ).run()

    async def get_task_stream(self, context: Context) -> None:
        """The first message tells the form."""
        if await self._passing.stream("/z4.Collection/GetTaskStream", context):
            return
        data = await context.read()
        if not isinstance(data, bytes):
            return
        namespace, acknowledging = subscription_of(data)

        async def next_ack() -> tuple[str, str] | None:
            while isinstance(message := await context.read(), bytes):
                request = parse(pb.PullRequest, message)
                if request.WhichOneof("kind") == "ack":
                    return request.ack.namespace, request.ack.task_id
            return None

        await HandingStream(
            self._dispatcher,
            namespace,
            context,
            next_ack=next_ack if acknowledging else None,
            on_sent=lambda count: self._on_streamed("GetTaskStream", namespace, count),
        ).run()

    async def pull(self, context: Context) -> None:
        namespace = queue_of(context)
        if namespace is None:
            raise CallError(StatusCode.INVALID_ARGUMENT, "missing metadata", field="queue")
        if await self._passing.stream("/z4.Queue/Pull", context):
            return

        async def next_ack() -> tuple[str, str] | None:
            message = await context.read()
            if not isinstance(message, bytes):
                return None
            reference = parse(pb.PullAck, message).reference
            return reference.queue, reference.task_id

        await HandingStream(
            self._dispatcher,
            namespace,
            context,
            next_ack=next_ack,
            on_sent=lambda count: self._on_streamed("Pull", namespace, count),
        ).run()

    async def push(self, data: bytes, context: Context) -> bytes:
        request = created_request(parse(pb.PushTaskRequest, data), queue_of(context))
        # Both answers have the task in field 1 and forwarded_to in field 2.
        return await self._collection.create_one(request.SerializeToString(), context, "Push")

    async def push_stream(self, context: Context) -> None:
        namespace = queue_of(context)

        def converted(data: bytes) -> bytes:
            return created_request(parse(pb.PushTaskRequest, data), namespace).SerializeToString()

        await self._collection.create_stream(context, "PushStream", converted)

    async def get(self, data: bytes, context: Context) -> bytes:
        reference = self._reference(parse(pb.TaskLookup, data).reference, context)
        request = pb.GetTaskRequest(namespace=reference.queue, task_id=reference.task_id, linearizable=True)
        return await self._collection.get_task(request.SerializeToString(), context)

    async def delete(self, data: bytes, context: Context) -> bytes:
        """Forget a task; one that is not there is as good as deleted."""
        asked = parse(pb.TaskDeletion, data)
        reference = self._reference(asked.reference, context)
        change = pb.ChangeTaskRequest(
            request_id=asked.request_id,
            namespace=reference.queue,
            task_id=reference.task_id,
            remove=Empty(),
        )
        try:
            answer = await self._changing.change_task(change.SerializeToString(), context)
        except CallError as error:
            if error.code is not StatusCode.NOT_FOUND:
                raise
            return b""
        return pb.TaskDeleted(
            forwarded_to=pb.ChangeTaskResponse.FromString(answer).forwarded_to
        ).SerializeToString()

    def _reference(self, reference: pb.TaskReference, context: Context) -> pb.TaskReference:
        namespace = reference.queue or queue_of(context) or ""
        try:
            id_place(namespace, reference.task_id)
        except InvalidTask as problem:
            if problem.field != "task_id":
                raise invalid("queue", problem.problem) from None
            raise CallError(
                StatusCode.INVALID_ARGUMENT,
                f"invalid task id: {problem.problem}",
                reason="INVALID_FIELD",
                field="task_id",
            ) from None
        return pb.TaskReference(queue=namespace, task_id=reference.task_id)


def queue_of(context: Context) -> str | None:
    """The namespace that the call's metadata name; None when they name none.

    :raises CallError: when they name several.
    """
    found = [value for key, value in context.invocation_metadata() or () if key in _KEYS]
    if not found:
        return None
    if len(found) > 1:
        raise CallError(StatusCode.INVALID_ARGUMENT, "expected one queue in metadata", field="queue")
    value = found[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def created_request(request: pb.PushTaskRequest, namespace: str | None) -> pb.CreateTaskRequest:
    """A push as a create; ``namespace`` is that of the metadata, for requests that name none."""
    created = pb.CreateTaskRequest(
        request_id=request.request_id,
        namespace=request.queue or namespace or "",
        metadata=request.metadata,
        payload=request.payload,
        tts_seconds=request.tts_seconds,
    )
    if request.HasField("schedule_time"):
        created.deliver_at.CopyFrom(request.schedule_time)
    return created
