"""The Python client: asyncio and blocking, following the leader, batching by itself."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.batcher import Batcher
from z4sql.client.connection import Connection
from z4sql.client.errors import Z4Error, error_of
from z4sql.client.model import NewTask, Task

T = TypeVar("T")


class AsyncClient:
    """Talks to a cluster by any of its peers' service addresses.

    Writes carry a request id and are retried with it until ``timeout_s`` is over, across failover: an
    answered create happened exactly once. Use as an async context manager, or call ``close``.
    """

    def __init__(self, endpoints: str | Sequence[str] = "127.0.0.1:6355", *, timeout_s: float = 10.0) -> None:
        self._connection = Connection([endpoints] if isinstance(endpoints, str) else endpoints)
        self._timeout_s = timeout_s
        self._batcher = Batcher(self._send_batch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Send what is queued, then close the channels."""
        await self._batcher.drain()
        await self._connection.close()

    async def create(
        self,
        namespace: str,
        *,
        deliver_at: datetime | None = None,
        delay: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
        payload: bytes = b"",
        request_id: str = "",
    ) -> str:
        """Create a task and return its id once it is durable on a majority.

        Concurrent calls travel together.

        :raises Z4Error: see `z4sql.client.errors`.
        """
        task = NewTask(namespace, deliver_at, delay, metadata or {}, payload, request_id)
        return await self._batcher.add(task.to_request())

    async def create_many(self, tasks: Iterable[NewTask]) -> list[str | Z4Error]:
        """Create a batch (some hundreds are ideal); for each task its id or its own error.

        :raises Z4Error: when the batch as a whole was not carried out.
        """
        response = await self._send_batch([task.to_request() for task in tasks])
        return [
            error_of(result.status, result.message) if result.status else result.task_id
            for result in response.results
        ]

    async def get(self, namespace: str, task_id: str, *, linearizable: bool = False) -> Task:
        """Read one task. :raises NotFound:"""
        request = pb.GetTaskRequest(namespace=namespace, task_id=task_id, linearizable=linearizable)
        return Task.from_message(
            await self._connection.call("/z4.Collection/GetTask", request, pb.Task, self._timeout_s)
        )

    async def cluster_info(self) -> pb.ClusterInfo:
        """Members, leader and log positions, as the answering peer knows them."""
        return await self._connection.call(
            "/z4.Admin/GetClusterInfo", pb.GetClusterInfoRequest(), pb.ClusterInfo, self._timeout_s
        )

    async def _send_batch(self, requests: list[pb.CreateTaskRequest]) -> pb.CreateTasksResponse:
        batch = pb.CreateTasksRequest(request_id=uuid.uuid4().hex, tasks=requests)
        return await self._connection.call(
            "/z4.Collection/CreateTasks", batch, pb.CreateTasksResponse, self._timeout_s
        )


class Client:
    """`AsyncClient` for blocking code; safe to share between threads."""

    def __init__(self, endpoints: str | Sequence[str] = "127.0.0.1:6355", *, timeout_s: float = 10.0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="z4-client", daemon=True)
        self._thread.start()
        self._client = self._wait(self._open(endpoints, timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._thread.is_alive():
            self._wait(self._client.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def create(
        self,
        namespace: str,
        *,
        deliver_at: datetime | None = None,
        delay: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
        payload: bytes = b"",
        request_id: str = "",
    ) -> str:
        """As `AsyncClient.create`."""
        return self._wait(
            self._client.create(
                namespace,
                deliver_at=deliver_at,
                delay=delay,
                metadata=metadata,
                payload=payload,
                request_id=request_id,
            )
        )

    def create_many(self, tasks: Iterable[NewTask]) -> list[str | Z4Error]:
        """As `AsyncClient.create_many`."""
        return self._wait(self._client.create_many(list(tasks)))

    def get(self, namespace: str, task_id: str, *, linearizable: bool = False) -> Task:
        """As `AsyncClient.get`."""
        return self._wait(self._client.get(namespace, task_id, linearizable=linearizable))

    def cluster_info(self) -> pb.ClusterInfo:
        """As `AsyncClient.cluster_info`."""
        return self._wait(self._client.cluster_info())

    async def _open(self, endpoints: str | Sequence[str], timeout_s: float) -> AsyncClient:
        return AsyncClient(endpoints, timeout_s=timeout_s)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result()
