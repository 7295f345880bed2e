"""A worker: handlers of namespaces, run as their tasks become due.

A handler that returns acknowledges its task; one that raises gives it back with the error's text, `Retry` and
`Dead` say how. Leases are extended while a handler runs. On SIGTERM a worker takes no more, finishes what
runs within its grace period, and gives the rest back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from z4sql.client.access import Tls
from z4sql.client.async_client import AsyncClient
from z4sql.client.consumer import CREDIT_MAX, Consumer, Delivery, Outcome
from z4sql.client.errors import Dead, NotFound, Retry, Z4Error, error_text
from z4sql.client.keeping import Keeping
from z4sql.client.model import Task
from z4sql.client.threads import Threads

AsyncHandler = Callable[[Task], Awaitable[object]]
Handler = TypeVar("Handler", bound=Callable[[Task], object])

_LATE_S: Final = 0.1
_STOPPED: Final = "given back: the worker stopped before it was done"
_CANCELLED: Final = "the handler was cancelled"

_log = logging.getLogger("z4.worker")


@dataclass(slots=True, frozen=True)
class _Registration:
    namespace: str
    function: Callable[[Task], object]
    concurrency: int
    lease: timedelta | None


class Worker:
    """Runs handlers until it is stopped.

    ::

        worker = Worker("127.0.0.1:6355")

        @worker.handler("welcome_emails", concurrency=10)
        async def send(task: Task) -> None: ...

        worker.run()

    Delivery is at least once: a handler may meet a task again whose lease it lost.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str] = "127.0.0.1:6355",
        *,
        name: str = "",
        grace_s: float = 30.0,
        timeout_s: float = 10.0,
        token: str = "",
        tls: Tls | None = None,
    ) -> None:
        """``name`` is shown as lease owner. ``grace_s``: what runs when the worker stops may take so long."""
        self._endpoints = endpoints
        self._name = name
        self._grace_s = grace_s
        self._timeout_s = timeout_s
        self._token = token
        self._tls = tls
        self._registrations: list[_Registration] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._stop_first = False
        """It was stopped before it ran."""

    def handler(
        self, namespace: str, *, concurrency: int = 10, lease: timedelta | None = None
    ) -> Callable[[Handler], Handler]:
        """Register a function of one task, async or plain (then run in a thread), for a namespace.

        ``concurrency``: how many run at once. ``lease``: how long the cluster waits for a sign of life;
        None: the namespace's ack deadline.
        """
        if not isinstance(namespace, str):
            raise TypeError('name the namespace: @worker.handler("NAMESPACE")')
        if not 1 <= concurrency <= CREDIT_MAX:
            raise ValueError(f"concurrency must lie between 1 and {CREDIT_MAX}")

        def register(function: Handler) -> Handler:
            if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
                raise TypeError("a handler must not yield: its task would be done before it began")
            self._registrations.append(_Registration(namespace, function, concurrency, lease))
            return function

        return register

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or `stop`. A second signal ends what runs at once.

        :raises Z4Error: when the cluster is not reached at the start, or refuses for good.
        """
        asyncio.run(self.run_async(signals=threading.current_thread() is threading.main_thread()))

    def stop(self) -> None:
        """Begin to drain; from any thread. A worker that does not run yet ends as soon as it does."""
        with self._lock:
            if self._loop is None or self._stopping is None:
                self._stop_first = True
            else:
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def run_async(self, *, signals: bool = False) -> None:
        """As `run`, on the caller's loop. ``signals``: take SIGTERM and SIGINT as `stop`."""
        if not self._registrations:
            raise ValueError("the worker has no handlers: register some with @worker.handler(NAMESPACE)")
        loop, stopping, at_once = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        with self._lock:
            if self._loop is not None:
                raise RuntimeError("the worker runs already")
            self._loop, self._stopping = loop, stopping
            if self._stop_first:
                stopping.set()

        def on_signal() -> None:
            if stopping.is_set():
                at_once.set()
            stopping.set()

        handled = (signal.SIGTERM, signal.SIGINT) if signals else ()
        for number in handled:
            loop.add_signal_handler(number, on_signal)
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(
                    AsyncClient(self._endpoints, timeout_s=self._timeout_s, token=self._token, tls=self._tls)
                )
                crews = []
                for registration in self._registrations:
                    consumer = await stack.enter_async_context(
                        client.consume(
                            registration.namespace,
                            credit=registration.concurrency,
                            lease=registration.lease,
                            name=self._name,
                        )
                    )
                    crews.append(_Crew(registration, consumer))
                    await _warn_of_unknown(client, registration.namespace)
                _log.info("worker_started handlers=%d", len(crews))
                await self._work(crews, stopping, at_once)
                _log.info("worker_stopped")
        finally:
            for number in handled:
                loop.remove_signal_handler(number)
            with self._lock:
                self._loop = self._stopping = None
                self._stop_first = False

    async def _work(self, crews: list[_Crew], stopping: asyncio.Event, at_once: asyncio.Event) -> None:
        taking = [asyncio.create_task(crew.take()) for crew in crews]
        stopped = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([*taking, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            await asyncio.gather(*(crew.finish(self._grace_s, at_once) for crew in crews))
            results = await asyncio.gather(*taking, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result


class _Crew:
    """One handler's consumer and what runs of it."""

    def __init__(self, registration: _Registration, consumer: Consumer) -> None:
        self._consumer = consumer
        self._running: set[asyncio.Task[None]] = set()
        function = registration.function
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - asks for what kind it is, not whether
        ):
            self._handle: AsyncHandler = function  # type: ignore[assignment]  # a coroutine function, as found
        else:
            threads = Threads(f"z4 {registration.namespace}", registration.concurrency)
            self._handle = partial(_run_in, threads, function)

    async def take(self) -> None:
        """Start a handler for every delivery. The credit bounds how many run.

        Once the consumer drains, this returns when nothing more has arrived; it may be called again.
        """
        async for delivery in self._consumer:
            running = asyncio.create_task(self._run(delivery))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def finish(self, grace_s: float, at_once: asyncio.Event) -> None:
        """Take no more, wait for what runs, give back what is left."""
        await self._consumer.drain()
        hurry = asyncio.create_task(at_once.wait())
        deadline = asyncio.get_running_loop().time() + grace_s
        while self._running and not at_once.is_set():
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                break
            await asyncio.wait(
                [*self._running, hurry],
                timeout=min(left_s, _LATE_S),
                return_when=asyncio.FIRST_COMPLETED,
            )
            with suppress(Z4Error):
                # What was on its way when the consumer began to drain.
                await self.take()
        hurry.cancel()
        for running in self._running:
            running.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _run(self, delivery: Delivery) -> None:
        handling = asyncio.ensure_future(self._handle(delivery.task))
        keeping = Keeping(delivery, handling.cancel)
        try:
            await asyncio.wait([handling])
            keeping.stop()
            await _settle(delivery, handling)
        except Z4Error:
            _log.exception("settling_failed task=%s", delivery.task.id)
        except asyncio.CancelledError:
            keeping.stop()
            handling.cancel()
            await asyncio.wait([handling])
            if delivery.ended:
                return
            if handling.cancelled():
                await delivery.nack(_STOPPED, delay=timedelta(0))
            else:
                await _settle(delivery, handling)


async def _run_in(threads: Threads, function: Callable[[Task], object], task: Task) -> object:
    """What a plain function returns or raises; what it returns is waited for, if it can be."""
    result = await threads.run(function, task)
    return await result if inspect.isawaitable(result) else result


async def _warn_of_unknown(client: AsyncClient, namespace: str) -> None:
    """Tasks may come later; but a name that was mistyped would be waited for in silence."""
    try:
        await client.namespaces.get(namespace)
    except NotFound:
        _log.warning("namespace_unknown namespace=%s: nothing was created in it yet", namespace)
    except Z4Error:
        # Whoever may consume need not be allowed to read.
        return


async def _settle(delivery: Delivery, handling: asyncio.Future[object]) -> None:
    """Say how the handler ended."""
    if handling.cancelled():
        # Because the lease was lost, then this changes nothing; or by itself: it failed.
        await delivery.nack(_CANCELLED)
        return
    error = handling.exception()
    if error is None:
        outcome = await delivery.ack()
        if outcome is not Outcome.DONE:
            _log.warning("ack_%s task=%s", outcome.value, delivery.task.id)
        return
    match error:
        case Dead():
            await delivery.dead(error_text(error))
        case Retry():
            delay = None if error.after_s is None else timedelta(seconds=error.after_s)
            await delivery.nack(error_text(error), delay=delay)
        case _:
            _log.warning("handler_failed task=%s", delivery.task.id, exc_info=error)
            await delivery.nack(f"{type(error).__name__}: {error_text(error)}")
