"""When the next task of a namespace will be due, without a look at all that lies between.

An acknowledged lease leaves a tombstone in the due index, where the lease would have ended: minutes ahead, as
many as were delivered in those minutes. To step over one costs a microsecond, in every look. So each is
stepped over once: what was found is remembered, and what came to stand in front of it is told of.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

from z4sql.tasks.due import DueReader, cursor_before
from z4sql.tasks.keys import BIAS, namespace_part, time_bytes

NEVER_US: Final = (1 << 63) - 2
MARKS_MAX: Final = 4096


class Horizon:
    """``namespace`` is its UTF-8."""

    def __init__(self, due: DueReader, namespace: bytes) -> None:
        self._due = due
        self._namespace = namespace
        self._part = namespace_part(namespace)
        self._beyond = b""
        """A cursor: whatever stands in front of it, and comes to be due in the future, does so at a mark."""
        self._marks: list[bytes] = []
        """A heap of times, as keys have them; at some of them nothing is due any more."""

    def note(self, times: Iterable[bytes]) -> None:
        """Something came to stand in the due index at each of these times, as keys have them."""
        for time in times:
            if self._part + time < self._beyond:
                heappush(self._marks, time)
        if len(self._marks) > MARKS_MAX:
            self._beyond = self._part + self._marks[0]
            self._marks.clear()

    def next_us(self, now_us: int, cursor: bytes) -> int | None:
        """When something behind ``cursor`` may be due: never too late, and seldom in vain.

        All that is due at ``now_us`` stands in front of the cursor. None: nothing is there.
        """
        marks, now = self._marks, time_bytes(now_us)
        while marks and marks[0] <= now:
            heappop(marks)
        if marks and self._part + marks[0] < self._beyond:
            return int.from_bytes(marks[0], "big") - BIAS
        marks.clear()
        found_us = self._due.next_due_us(self._namespace, after=max(self._beyond, cursor))
        self._beyond = cursor_before(self._namespace, NEVER_US if found_us is None else found_us)
        return found_us
