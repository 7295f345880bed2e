"""Single creates become batches: whatever queued up while earlier batches were on their way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.errors import Overloaded, Z4Error, error_of

Send = Callable[[list[pb.CreateTaskRequest]], Awaitable[pb.CreateTasksResponse]]

BATCH_TASKS_MAX = 500
BATCHES_IN_FLIGHT_MAX = 2
QUEUED_TASKS_MAX = 100_000


class Batcher:
    """A lone task goes at once; under load batches grow. Each call's future ends exactly once."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: deque[tuple[pb.CreateTaskRequest, asyncio.Future[str]]] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()

    def add(self, request: pb.CreateTaskRequest) -> asyncio.Future[str]:
        """The future of the task's id. :raises Overloaded: when the queue is full."""
        if len(self._queue) >= QUEUED_TASKS_MAX:
            raise Overloaded(f"{QUEUED_TASKS_MAX} tasks are waiting to be sent")
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._queue.append((request, future))
        self._pump()
        return future

    async def drain(self) -> None:
        """Wait until nothing is queued or on its way."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def _pump(self) -> None:
        while self._queue and len(self._in_flight) < BATCHES_IN_FLIGHT_MAX:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_TASKS_MAX))]
            sending = asyncio.create_task(self._run(batch))
            self._in_flight.add(sending)
            sending.add_done_callback(self._sent)

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._in_flight.discard(sending)
        self._pump()

    async def _run(self, batch: list[tuple[pb.CreateTaskRequest, asyncio.Future[str]]]) -> None:
        try:
            response = await self._send([request for request, _ in batch])
        except (Z4Error, asyncio.CancelledError) as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, response.results, strict=True):
            if future.done():
                continue
            if result.status:
                future.set_exception(error_of(result.status, result.message))
            else:
                future.set_result(result.task_id)
