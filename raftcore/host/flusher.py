"""The one thread that waits for the disk, so that the loop never does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

_TIMES_KEPT: Final = 10_000


class Flusher:
    """Runs ``sync`` in a thread, once per `request`, and reports each end to the loop in one call.

    A sync covers what was written before its request. After a failure it never syncs again: the kernel may
    have dropped the pages, and a second fsync would report success (PostgreSQL's fsync gate, 2018).
    """

    def __init__(
        self, sync: Callable[[], None], done: Callable[[BaseException | None], None], name: str
    ) -> None:
        self._sync = sync
        self._done = done
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self.took_s: deque[float] = deque(maxlen=_TIMES_KEPT)
        """How long each ``sync`` took since somebody cleared it; for saturation."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def request(self) -> None:
        """Sync once; ``done`` is called on the loop with None, or with what went wrong."""
        self._requests.put(True)

    async def stop(self) -> None:
        """Let the sync under way end, and the thread with it."""
        self._requests.put(False)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while self._requests.get():
            begun_s = time.perf_counter()
            error: BaseException | None = None
            try:
                self._sync()
            except BaseException as failure:
                error = failure
            self.took_s.append(time.perf_counter() - begun_s)
            try:
                self._loop.call_soon_threadsafe(self._done, error)
            except RuntimeError:
                return  # The loop is closed: nobody waits for this answer.
            if error is not None:
                return
