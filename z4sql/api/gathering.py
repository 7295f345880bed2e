"""How tasks that arrive one by one gather before they go to the log together, as one command.

When and how long is `raftcore.host.gathering`'s business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from raftcore.host.gathering import DELAY_S_MIN, GATHER_S_MAX, SAMPLE_S, Gathering

__all__ = ["GATHER_S_MAX", "PIPELINED_FACTOR", "SAMPLE_S", "Gathering", "Group"]

PIPELINED_FACTOR: Final = 3
"""Who sends on without waiting for answers loses nothing by a longer wait, and rounds get fewer."""


class Group:
    """The group of tasks that gathers now: when it is full in time, ``propose`` is called."""

    def __init__(self, propose: Callable[[], None]) -> None:
        self.gathering = Gathering(time.monotonic(), time.thread_time())
        self._propose = propose
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, *, pipelined: bool) -> None:
        """The first task is there. ``pipelined``: its sender sends on before it is answered."""
        loop = asyncio.get_running_loop()
        now_s = time.monotonic()
        if self.gathering.sample_due(now_s):
            self.gathering.sample(now_s, time.thread_time())
        delay_s = self.gathering.delay_s
        if delay_s < DELAY_S_MIN:
            loop.call_soon(self._end)
        elif pipelined:
            self._timer = loop.call_later(delay_s * PIPELINED_FACTOR, self._end)
        else:
            loop.call_later(delay_s, self._end)

    def hasten(self) -> None:
        """A task came whose sender waits for it: it waits no longer than if it were the first."""
        if self._timer is None:
            return
        loop = asyncio.get_running_loop()
        at_s = loop.time() + self.gathering.delay_s
        if at_s < self._timer.when():
            self._timer.cancel()
            loop.call_at(at_s, self._end)
        self._timer = None

    def _end(self) -> None:
        self._timer = None
        self._propose()
