"""How long tasks that arrive one by one gather before they go to the log together.

A round of replication costs every peer about the same whether it carries one task or hundreds. An idle peer
should start it at once; a busy one loses nothing by waiting, because it has other calls to work on meanwhile.
How busy it is shows in the share of the time that the loop's thread spends on a processor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

GATHER_S_MAX: Final = 0.01
PIPELINED_FACTOR: Final = 3
"""Who sends on without waiting for answers loses nothing by a longer wait, and rounds get fewer."""
SAMPLE_S: Final = 0.05
_DELAY_S_MIN: Final = 0.001
IDLE_SHARE: Final = 0.3
"""Below this share of a processor nothing gathers. A lone caller in a loop stays below it."""
BUSY_SHARE: Final = 0.6
"""From this share on tasks gather for `GATHER_S_MAX`."""


class Gathering:
    """Fed with the clock and the thread's processor time; answers ``delay_s``."""

    __slots__ = ("_sampled_processor_s", "_sampled_s", "delay_s")

    def __init__(self, now_s: float, processor_s: float) -> None:
        self.delay_s = 0.0
        """How long the first task of the next group waits; 0: not at all."""
        self._sampled_s = now_s
        self._sampled_processor_s = processor_s

    def sample_due(self, now_s: float) -> bool:
        return now_s - self._sampled_s >= SAMPLE_S

    def sample(self, now_s: float, processor_s: float) -> None:
        """Reckon ``delay_s`` anew. Both instants in seconds, never running backwards."""
        share = (processor_s - self._sampled_processor_s) / (now_s - self._sampled_s)
        self._sampled_s, self._sampled_processor_s = now_s, processor_s
        wanted = (share - IDLE_SHARE) / (BUSY_SHARE - IDLE_SHARE)
        self.delay_s = GATHER_S_MAX * min(max(wanted, 0.0), 1.0)


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
        if delay_s < _DELAY_S_MIN:
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
