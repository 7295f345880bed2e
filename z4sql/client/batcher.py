"""Single creates become batches: whatever queued up while earlier batches were on their way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.errors import InvalidTask, Overloaded, error_of

_Waiting = tuple[pb.CreateTaskRequest, int, asyncio.Future[str]]
"""A request, its size in bytes, and who waits for its task's id."""
Send = Callable[[list[pb.CreateTaskRequest]], Awaitable[pb.CreateTasksResponse]]

BATCH_TASKS_MAX = 500
BATCH_BYTES = 4 << 20
"""A batch ends with the task that reaches it: the cluster takes commands of up to 8 MiB."""
BATCHES_IN_FLIGHT_MAX = 2
QUEUED_TASKS_MAX = 100_000


def cut(requests: Sequence[pb.CreateTaskRequest]) -> Iterator[Sequence[pb.CreateTaskRequest]]:
    """Groups that fit a command each, in order; one when there are none."""
    begin = size = 0
    for at, request in enumerate(requests):
        of_task = request.ByteSize()
        if at > begin and size + of_task > BATCH_BYTES:
            yield requests[begin:at]
            begin, size = at, 0
        size += of_task
    yield requests[begin:]


class Batcher:
    """A lone task goes at once; under load batches grow. Each call's future ends exactly once."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: deque[_Waiting] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()

    def add(self, request: pb.CreateTaskRequest) -> asyncio.Future[str]:
        """The future of the task's id.

        :raises Overloaded: when the queue is full. :raises InvalidTask: for a task so large that the others
            of its batch would be refused with it.
        """
        size = request.ByteSize()
        if size > BATCH_BYTES:
            field = "payload" if len(request.payload) > size // 2 else "metadata"
            raise InvalidTask(f"{field}: is too large, it makes a task of {size} bytes")
        if len(self._queue) >= QUEUED_TASKS_MAX:
            raise Overloaded(f"{QUEUED_TASKS_MAX} tasks are waiting to be sent")
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._queue.append((request, size, future))
        self._pump()
        return future

    async def drain(self) -> None:
        """Wait until nothing is queued or on its way."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def _pump(self) -> None:
        while self._queue and len(self._in_flight) < BATCHES_IN_FLIGHT_MAX:
            sending = asyncio.create_task(self._run(self._take()))
            self._in_flight.add(sending)
            sending.add_done_callback(self._sent)

    def _take(self) -> list[_Waiting]:
        """What goes next, as one batch."""
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_TASKS_MAX and size < BATCH_BYTES:
            one = self._queue.popleft()
            batch.append(one)
            size += one[1]
        return batch

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._in_flight.discard(sending)
        self._pump()

    async def _run(self, batch: list[_Waiting]) -> None:
        try:
            response = await self._send([request for request, _, _ in batch])
            for (_, _, future), result in zip(batch, response.results, strict=True):
                if future.done():
                    continue
                if result.status:
                    future.set_exception(error_of(result.status, result.message))
                else:
                    future.set_result(result.task_id)
        except (Exception, asyncio.CancelledError) as error:
            # Whatever it is: nobody may wait for ever.
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(error)
