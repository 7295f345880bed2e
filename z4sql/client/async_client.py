"""The asyncio client: follows the leader, batches by itself, repeats what may be repeated."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.access import Access, Tls
from z4sql.client.batcher import Batcher, cut
from z4sql.client.connection import Connection
from z4sql.client.consumer import Consumer
from z4sql.client.errors import Z4Error, error_of
from z4sql.client.messages import message_of
from z4sql.client.model import NewTask, Task, set_instant
from z4sql.client.namespaces import AsyncNamespaces

Created = list[str | Z4Error]


class AsyncClient:
    """Talks to a cluster by any of its peers' service addresses.

    Writes carry a request id and are retried with it until ``timeout_s`` is over, across failover: an
    answered create happened exactly once. Use as an async context manager, or call ``close``.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str] = "127.0.0.1:6355",
        *,
        timeout_s: float = 10.0,
        token: str = "",
        tls: Tls | None = None,
    ) -> None:
        """``token`` and ``tls``: for clusters that ask who is there. A token needs TLS off this machine."""
        self._connection = Connection(
            [endpoints] if isinstance(endpoints, str) else endpoints, Access(token, tls)
        )
        self._timeout_s = timeout_s
        self._batcher = Batcher(self._send_batch)
        self.namespaces = AsyncNamespaces(self._connection, timeout_s)
        """Settings of namespaces."""

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
        expire_at: datetime | None = None,
    ) -> str:
        """Create a task and return its id once it is durable on a majority.

        Concurrent calls travel together.

        :raises Z4Error: see `z4sql.client.errors`.
        """
        task = NewTask(namespace, deliver_at, delay, metadata or {}, payload, request_id, expire_at)
        return await self._batcher.add(task.to_request())

    async def create_many(self, tasks: Iterable[NewTask]) -> Created:
        """Create a batch (some hundreds are ideal); for each task its id or its own error.

        What is too large for one command goes in several, one after the other; when one of them fails its
        tasks have its error.

        :raises Z4Error: when the batch as a whole was not carried out.
        """
        created: Created = []
        for group in cut([task.to_request() for task in tasks]):
            try:
                response = await self._send_batch(group)
            except Z4Error as error:
                if not created:
                    raise
                created += [error] * len(group)
                continue
            created += [
                error_of(result.status, result.message) if result.status else result.task_id
                for result in response.results
            ]
        return created

    async def get(self, namespace: str, task_id: str, *, linearizable: bool = False) -> Task:
        """Read one task, with the newest events of its life. :raises NotFound:"""
        request = message_of(
            pb.GetTaskRequest, namespace=namespace, task_id=task_id, linearizable=linearizable
        )
        return Task.from_message(
            await self._connection.call("/z4.Collection/GetTask", request, pb.Task, self._timeout_s)
        )

    async def list(
        self,
        namespace: str,
        *,
        deliver_from: datetime | None = None,
        deliver_to: datetime | None = None,
        states: Sequence[str] = (),
        with_payload: bool = False,
        page_size: int = 500,
    ) -> AsyncIterator[Task]:
        """Tasks with deliver_at in ``[deliver_from, deliver_to)``, in its order, page by page.

        Payloads are empty unless ``with_payload``. ``states``: any of them; none given: all.
        """
        request = message_of(
            pb.ListTasksRequest,
            namespace=namespace,
            states=states,
            with_payload=with_payload,
            page_size=page_size,
        )
        _set_range(request, deliver_from, deliver_to)
        while True:
            page = await self._connection.call(
                "/z4.Collection/ListTasks", request, pb.ListTasksResponse, self._timeout_s
            )
            for message in page.tasks:
                yield Task.from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def cancel(self, namespace: str, task_id: str, *, etag: str = "", request_id: str = "") -> Task:
        """Scheduled or leased: canceled. :raises NotFound: :raises PreconditionFailed:"""
        request = _change(namespace, task_id, etag, request_id)
        request.cancel.SetInParent()
        return await self._carry_out(request)

    async def reschedule(
        self, namespace: str, task_id: str, deliver_at: datetime, *, etag: str = "", request_id: str = ""
    ) -> Task:
        """A new time for a scheduled task; its id stays. :raises NotFound: :raises PreconditionFailed:"""
        request = _change(namespace, task_id, etag, request_id)
        set_instant(request.reschedule, deliver_at, "deliver_at")
        return await self._carry_out(request)

    async def run_now(self, namespace: str, task_id: str, *, etag: str = "", request_id: str = "") -> Task:
        """A scheduled task is due at once; attempts stay. :raises NotFound: :raises PreconditionFailed:"""
        request = _change(namespace, task_id, etag, request_id)
        request.run_now.SetInParent()
        return await self._carry_out(request)

    async def update(
        self,
        namespace: str,
        task_id: str,
        *,
        metadata: Mapping[str, str] | None = None,
        payload: bytes | None = None,
        etag: str = "",
        request_id: str = "",
    ) -> Task:
        """Replace what is given of a scheduled task; metadata as a whole.

        :raises NotFound: :raises PreconditionFailed:
        """
        request = _change(namespace, task_id, etag, request_id)
        pairs = None
        if metadata is not None:
            pairs = message_of(pb.TaskMetadata, {"pairs": "metadata"}, pairs=metadata)
        request.update.CopyFrom(message_of(pb.TaskUpdate, metadata=pairs, payload=payload))
        return await self._carry_out(request)

    async def redrive(self, namespace: str, task_id: str, *, etag: str = "", request_id: str = "") -> Task:
        """Dead, expired or canceled: due at once, with attempts from 0.

        :raises NotFound: :raises PreconditionFailed:
        """
        request = _change(namespace, task_id, etag, request_id)
        request.redrive.SetInParent()
        return await self._carry_out(request)

    async def remove(self, namespace: str, task_id: str, *, etag: str = "", request_id: str = "") -> None:
        """Forget the task. :raises NotFound: :raises PreconditionFailed:"""
        request = _change(namespace, task_id, etag, request_id)
        request.remove.SetInParent()
        await self._carry_out(request)

    async def change_tasks(
        self,
        namespace: str,
        change: str,
        *,
        deliver_from: datetime | None = None,
        deliver_to: datetime | None = None,
        states: Sequence[str] = (),
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> int:
        """Purge, cancel, run_now or redrive all tasks of a range; how many were (or would be) changed.

        ``states``: only these; none given: every state that allows the change. It is made in steps, and is
        not repeated by itself.

        :raises OutcomeUnknown: when it broke off, with the number changed by then, if known: ask again.
        """
        request = message_of(
            pb.ChangeTasksRequest, namespace=namespace, change=change, states=states, dry_run=dry_run
        )
        _set_range(request, deliver_from, deliver_to)
        response = await self._connection.call(
            "/z4.Collection/ChangeTasks",
            request,
            pb.ChangeTasksResponse,
            timeout_s or self._timeout_s,
            patient=True,
        )
        return response.changed

    def consume(
        self,
        namespaces: str | Sequence[str],
        *,
        credit: int = 100,
        lease: timedelta | None = None,
        limit: int | None = None,
        name: str = "",
    ) -> Consumer:
        """A consumer: ``async with client.consume("emails") as tasks: async for delivery in tasks: ...``

        ``credit``: how many tasks it holds at most. ``lease``: how long it may take for each before the
        cluster gives it to another; None: the namespace's ack deadline. ``limit``: iteration ends after so
        many. ``name`` is shown as lease owner.
        """
        return Consumer(
            self._connection,
            [namespaces] if isinstance(namespaces, str) else namespaces,
            name=name,
            credit=credit,
            lease=lease,
            limit=limit,
            timeout_s=self._timeout_s,
        )

    async def cluster_info(self) -> pb.ClusterInfo:
        """Members, leader and log positions, as the answering peer knows them."""
        return await self._connection.call(
            "/z4.Admin/GetClusterInfo", pb.GetClusterInfoRequest(), pb.ClusterInfo, self._timeout_s
        )

    async def _carry_out(self, request: pb.ChangeTaskRequest) -> Task:
        response = await self._connection.call(
            "/z4.Collection/ChangeTask", request, pb.ChangeTaskResponse, self._timeout_s
        )
        return Task.from_message(response.task)

    async def _send_batch(self, requests: Sequence[pb.CreateTaskRequest]) -> pb.CreateTasksResponse:
        batch = pb.CreateTasksRequest(request_id=uuid.uuid4().hex, tasks=requests)
        return await self._connection.call(
            "/z4.Collection/CreateTasks", batch, pb.CreateTasksResponse, self._timeout_s
        )


def _change(namespace: str, task_id: str, etag: str, request_id: str) -> pb.ChangeTaskRequest:
    """Repeated with its request id, a change happens once."""
    return message_of(
        pb.ChangeTaskRequest,
        request_id=request_id or uuid.uuid4().hex,
        namespace=namespace,
        task_id=task_id,
        etag=etag,
    )


def _set_range(
    request: pb.ListTasksRequest | pb.ChangeTasksRequest,
    deliver_from: datetime | None,
    deliver_to: datetime | None,
) -> None:
    if deliver_from is not None:
        # Python keeps `from` for itself.
        set_instant(getattr(request, "from"), deliver_from, "deliver_from")
    if deliver_to is not None:
        set_instant(request.to, deliver_to, "deliver_to")
