"""How long commands that arrive one by one gather before they go to the log together.

A round of replication costs every member about the same whether it carries one command or hundreds. An idle
leader should start it at once; a busy one loses nothing by waiting, because it has other calls to work on
meanwhile. How busy it is shows in the share of the time that the loop's thread spends on a processor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from raftcore.core.errors import NotAccepted
from raftcore.core.types import ShardId
from raftcore.replica.turn import Done

GATHER_S_MAX: Final = 0.01
SAMPLE_S: Final = 0.05
IDLE_SHARE: Final = 0.3
"""Below this share of a processor nothing gathers. A lone caller in a loop stays below it."""
BUSY_SHARE: Final = 0.6
"""From this share on commands gather for `GATHER_S_MAX`."""
DELAY_S_MIN: Final = 0.001
"""A delay shorter than this is none: a timer costs more than it saves."""


class Gathering:
    """Watches how busy this thread is; clocks in seconds, which never run backwards."""

    __slots__ = ("_delay_s", "_now_s", "_processor_s", "_sampled")

    def __init__(
        self,
        now_s: Callable[[], float] = time.monotonic,
        processor_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._now_s = now_s
        self._processor_s = processor_s
        self._sampled = (now_s(), processor_s())
        self._delay_s = 0.0

    def wait_s(self) -> float:
        """How long the first command of a group waits for others; 0.0: not at all."""
        now_s = self._now_s()
        sampled_s, sampled_processor_s = self._sampled
        if now_s - sampled_s >= SAMPLE_S:
            self._sampled = (now_s, self._processor_s())
            share = (self._sampled[1] - sampled_processor_s) / (now_s - sampled_s)
            wanted = (share - IDLE_SHARE) / (BUSY_SHARE - IDLE_SHARE)
            self._delay_s = GATHER_S_MAX * min(wanted, 1.0)
        return self._delay_s if self._delay_s >= DELAY_S_MIN else 0.0


class GatheredCommands:
    """Commands that wait for each other; together they are one entry, as far as its bounds allow."""

    callers: int = 0
    """How many callers there are now: one alone waits for nobody."""

    def __init__(
        self, propose: Callable[[bytes, Done, ShardId], None], gathering: Gathering | None = None
    ) -> None:
        self._propose = propose
        self._gathering = gathering or Gathering()
        self._waiting: list[tuple[bytes, Done, ShardId]] = []

    def add(self, command: bytes, done: Done, shard: ShardId) -> None:
        """``done`` is called exactly once, with `NotAccepted` too."""
        self._waiting.append((command, done, shard))
        if len(self._waiting) > 1:
            return
        wait_s = self._gathering.wait_s()
        if self.callers > 1 and wait_s:
            asyncio.get_running_loop().call_later(wait_s, self._end)
        else:
            self._end()

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for command, done, shard in waiting:
            try:
                self._propose(command, done, shard)
            except NotAccepted as error:
                done(error)
