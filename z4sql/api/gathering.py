"""How tasks that arrive one by one gather before they go to the log together, as one command.

When and how long is `raftcore.host.gathering`'s business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from raftcore.host.gathering import Gathering

PIPELINED_FACTOR: Final = 3
"""Who sends on without waiting for answers loses nothing by a longer wait, and rounds get fewer."""


class Group:
    """The group of tasks that gathers now: when it is full in time, ``propose`` is called."""

    def __init__(self, propose: Callable[[], None], gathering: Gathering | None = None) -> None:
        self._propose = propose
        self._gathering = gathering or Gathering()
        self._wait_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, *, pipelined: bool) -> None:
        """The first task is there. ``pipelined``: its sender sends on before it is answered."""
        loop = asyncio.get_running_loop()
        self._wait_s = self._gathering.wait_s()
        if not self._wait_s:
            loop.call_soon(self._end)
        elif pipelined:
            self._timer = loop.call_later(self._wait_s * PIPELINED_FACTOR, self._end)
        else:
            loop.call_later(self._wait_s, self._end)

    def hasten(self) -> None:
        """A task came whose sender waits for it: it waits no longer than if it were the first."""
        if self._timer is None:
            return
        loop = asyncio.get_running_loop()
        at_s = loop.time() + self._wait_s
        if at_s < self._timer.when():
            self._timer.cancel()
            loop.call_at(at_s, self._end)
        self._timer = None

    def _end(self) -> None:
        self._timer = None
        self._propose()
