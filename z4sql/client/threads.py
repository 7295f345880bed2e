"""Threads for plain handlers. They are daemons: one that hangs does not keep its process from ending."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Final

from z4sql.client.model import Task

_IDLE_S: Final = 10.0

Job = tuple[Callable[[Task], object], Task, asyncio.AbstractEventLoop, "asyncio.Future[object]"]


class Threads:
    """At most ``size`` threads, started as they are needed, ended when they have nothing to do."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._open = 0
        """Jobs that wait or run."""

    async def run(self, function: Callable[[Task], object], task: Task) -> object:
        """What ``function(task)`` returns or raises. Cancelling does not stop the thread."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        with self._lock:
            self._open += 1
            if self._started < min(self._size, self._open):
                self._started += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._jobs.put((function, task, loop, answer))
        return await answer

    def _work(self) -> None:
        while True:
            try:
                function, task, loop, answer = self._jobs.get(timeout=_IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._started -= 1
                        return
                continue
            result: object = None
            error: BaseException | None = None
            try:
                result = function(task)
            except BaseException as raised:
                error = raised
            with self._lock:
                self._open -= 1
            try:
                loop.call_soon_threadsafe(_finish, answer, result, error)
            except RuntimeError:
                # The loop is closed: nobody waits.
                return


def _finish(answer: asyncio.Future[object], result: object, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    elif isinstance(error, Exception):
        answer.set_exception(error)
    else:
        answer.set_exception(RuntimeError(f"the handler raised {type(error).__name__}: {error}"))
