"""The blocking client: the asyncio one on a thread of its own, for code without a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.access import Tls
from z4sql.client.async_client import AsyncClient, Created
from z4sql.client.consumer import Consumer, Delivery, Outcome
from z4sql.client.errors import Closed
from z4sql.client.model import ConnectedConsumer, Namespace, NewTask, Task

T = TypeVar("T")


class _LoopThread:
    """An event loop that runs elsewhere."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._open = True
        self._thread = threading.Thread(target=self._loop.run_forever, name="z4-client", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns or raises. An interrupt cancels it. :raises Z4Error: when this is stopped."""
        with self._lock:
            if not self._open:
                work.close()
                raise Closed
            future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Closed from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        while True:
            try:
                yield self.wait(_next(items))
            except StopAsyncIteration:
                return

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Do what is ``last``, then end whatever still waits; once is enough."""
        with self._lock:
            if not self._open:
                return
            self._open = False
        try:
            asyncio.run_coroutine_threadsafe(_ended(last), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class Client:
    """`AsyncClient` for blocking code; safe to share between threads."""

    def __init__(
        self,
        endpoints: str | Sequence[str] = "127.0.0.1:6355",
        *,
        timeout_s: float = 10.0,
        token: str = "",
        tls: Tls | None = None,
    ) -> None:
        """As `AsyncClient`."""

        async def make() -> AsyncClient:
            return AsyncClient(endpoints, timeout_s=timeout_s, token=token, tls=tls)

        self._thread = _LoopThread()
        try:
            self._client = self._thread.wait(make())
        except BaseException:
            self._thread.stop()
            raise
        self.namespaces = Namespaces(self._client, self._thread)
        """Settings of namespaces."""

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
        """Send what is queued, then end; who still waits in another thread has a `Z4Error`."""
        self._thread.stop(self._client.close)

    def create(
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
        """As `AsyncClient.create`."""
        return self._thread.wait(
            self._client.create(
                namespace,
                deliver_at=deliver_at,
                delay=delay,
                metadata=metadata,
                payload=payload,
                request_id=request_id,
                expire_at=expire_at,
            )
        )

    def create_many(self, tasks: Iterable[NewTask]) -> Created:
        """As `AsyncClient.create_many`."""
        return self._thread.wait(self._client.create_many(tuple(tasks)))

    def get(self, namespace: str, task_id: str, *, linearizable: bool = False) -> Task:
        """As `AsyncClient.get`."""
        return self._thread.wait(self._client.get(namespace, task_id, linearizable=linearizable))

    def list(
        self,
        namespace: str,
        *,
        deliver_from: datetime | None = None,
        deliver_to: datetime | None = None,
        states: Sequence[str] = (),
        with_payload: bool = False,
        page_size: int = 500,
    ) -> Iterator[Task]:
        """As `AsyncClient.list`."""
        return self._thread.iterate(
            self._client.list(
                namespace,
                deliver_from=deliver_from,
                deliver_to=deliver_to,
                states=states,
                with_payload=with_payload,
                page_size=page_size,
            )
        )

    def cancel(self, namespace: str, task_id: str, *, etag: str = "", request_id: str = "") -> Task:
        """As `AsyncClient.cancel`."""
        return self._thread.wait(self._client.cancel(namespace, task_id, etag=etag, request_id=request_id))

    def reschedule(
        self, namespace: str, task_id: str, deliver_at: datetime, *, etag: str = "", request_id: str = ""
    ) -> Task:
        """As `AsyncClient.reschedule`."""
        return self._thread.wait(
            self._client.reschedule(namespace, task_id, deliver_at, etag=etag, request_id=request_id)
        )

    def run_now(self, namespace: str, task_id: str, *, etag: str = "", request_id: str = "") -> Task:
        """As `AsyncClient.run_now`."""
        return self._thread.wait(self._client.run_now(namespace, task_id, etag=etag, request_id=request_id))

    def update(
        self,
        namespace: str,
        task_id: str,
        *,
        metadata: Mapping[str, str] | None = None,
        payload: bytes | None = None,
        etag: str = "",
        request_id: str = "",
    ) -> Task:
        """As `AsyncClient.update`."""
        return self._thread.wait(
            self._client.update(
                namespace, task_id, metadata=metadata, payload=payload, etag=etag, request_id=request_id
            )
        )

    def redrive(self, namespace: str, task_id: str, *, etag: str = "", request_id: str = "") -> Task:
        """As `AsyncClient.redrive`."""
        return self._thread.wait(self._client.redrive(namespace, task_id, etag=etag, request_id=request_id))

    def remove(self, namespace: str, task_id: str, *, etag: str = "", request_id: str = "") -> None:
        """As `AsyncClient.remove`."""
        self._thread.wait(self._client.remove(namespace, task_id, etag=etag, request_id=request_id))

    def change_tasks(
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
        """As `AsyncClient.change_tasks`."""
        return self._thread.wait(
            self._client.change_tasks(
                namespace,
                change,
                deliver_from=deliver_from,
                deliver_to=deliver_to,
                states=states,
                dry_run=dry_run,
                timeout_s=timeout_s,
            )
        )

    def consume(
        self,
        namespaces: str | Sequence[str],
        *,
        credit: int = 100,
        lease: timedelta | None = None,
        limit: int | None = None,
        name: str = "",
    ) -> BlockingConsumer:
        """As `AsyncClient.consume`: ``with client.consume("emails") as tasks: for delivery in tasks: ...``"""

        async def make() -> Consumer:
            return self._client.consume(namespaces, credit=credit, lease=lease, limit=limit, name=name)

        return BlockingConsumer(self._thread.wait(make()), self._thread)

    def cluster_info(self) -> pb.ClusterInfo:
        """As `AsyncClient.cluster_info`."""
        return self._thread.wait(self._client.cluster_info())


class Namespaces:
    """`AsyncNamespaces` for blocking code."""

    def __init__(self, client: AsyncClient, thread: _LoopThread) -> None:
        self._namespaces = client.namespaces
        self._thread = thread

    def get(self, name: str) -> Namespace:
        """As `AsyncNamespaces.get`."""
        return self._thread.wait(self._namespaces.get(name))

    def consumers(self, name: str) -> Sequence[ConnectedConsumer]:
        """Those that are connected to a namespace now, by name."""
        return self._thread.wait(self._namespaces.consumers(name))

    def set(
        self,
        name: str,
        *,
        ack_deadline_seconds: int | None = None,
        attempts_max: int | None = None,
        backoff_min_ms: int | None = None,
        backoff_max_ms: int | None = None,
        backoff_multiplier: float | None = None,
        retention_seconds: int | None = None,
    ) -> Namespace:
        """As `AsyncNamespaces.set`."""
        return self._thread.wait(
            self._namespaces.set(
                name,
                ack_deadline_seconds=ack_deadline_seconds,
                attempts_max=attempts_max,
                backoff_min_ms=backoff_min_ms,
                backoff_max_ms=backoff_max_ms,
                backoff_multiplier=backoff_multiplier,
                retention_seconds=retention_seconds,
            )
        )

    def pause(self, name: str, *, until: datetime | None = None) -> Namespace:
        """As `AsyncNamespaces.pause`."""
        return self._thread.wait(self._namespaces.pause(name, until=until))

    def resume(self, name: str) -> Namespace:
        """As `AsyncNamespaces.resume`."""
        return self._thread.wait(self._namespaces.resume(name))

    def list(self) -> Iterator[Namespace]:
        """As `AsyncNamespaces.list`."""
        return self._thread.iterate(self._namespaces.list())


class BlockingDelivery:
    """`Delivery` for blocking code."""

    __slots__ = ("_delivery", "_thread", "task")

    def __init__(self, delivery: Delivery, thread: _LoopThread) -> None:
        self.task = delivery.task
        self._delivery = delivery
        self._thread = thread

    def ack(self) -> Outcome:
        """It is done."""
        return self._thread.wait(self._delivery.ack())

    def nack(self, error: str = "", *, delay: timedelta | None = None) -> Outcome:
        """It failed: try again after ``delay``, or by the namespace's backoff."""
        return self._thread.wait(self._delivery.nack(error, delay=delay))

    def dead(self, error: str) -> Outcome:
        """It failed for good."""
        return self._thread.wait(self._delivery.dead(error))

    def release(self) -> Outcome:
        """As `Delivery.release`."""
        return self._thread.wait(self._delivery.release())

    def extend(self, lease: timedelta | None = None) -> Outcome:
        """Hold it for ``lease`` from now, or for the lease's first length."""
        return self._thread.wait(self._delivery.extend(lease))


class BlockingConsumer:
    """`Consumer` for blocking code: a context manager and an iterator of deliveries."""

    def __init__(self, consumer: Consumer, thread: _LoopThread) -> None:
        self._consumer = consumer
        self._thread = thread

    def __enter__(self) -> Self:
        self._thread.wait(self._consumer.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[BlockingDelivery]:
        for delivery in self._thread.iterate(self._consumer):
            yield BlockingDelivery(delivery, self._thread)

    def drain(self) -> None:
        """Take no more; from any thread."""
        self._thread.wait(self._consumer.drain())

    def close(self) -> None:
        """Wait for the answers to what was said, then end the stream."""
        with suppress(Closed):
            self._thread.wait(self._consumer.close())


async def _ended(last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    try:
        if last is not None:
            await last()
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
