"""A clock that two processes share and one of them moves."""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

_OFFSET: Final = struct.Struct("<q")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """The wall clock plus an offset, which lies in a file of 8 bytes: microseconds, little-endian.

    It goes on by itself, and never goes back: a task that was due once stays due.
    """

    def __init__(self, path: Path, on_move: Callable[[], None] = lambda: None) -> None:
        """``on_move`` is called behind every move, by who moved it."""
        self._lock = threading.Lock()
        self._on_move = on_move
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(file).st_size < _OFFSET.size:
                os.write(file, _OFFSET.pack(0))
            self._memory = mmap.mmap(file, _OFFSET.size)
        finally:
            os.close(file)

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        (offset_us,) = _OFFSET.unpack_from(self._memory)
        return time.time_ns() // 1000 + int(offset_us)

    def now(self) -> datetime:
        """The cluster's time, UTC."""
        return _EPOCH + timedelta(microseconds=self.now_us())

    def advance(
        self,
        by: timedelta = timedelta(0),
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
    ) -> datetime:
        """Move it forward; what becomes due by that is delivered at once. The new time.

        :raises ValueError: for a move backwards.
        """
        by += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
        if by < timedelta(0):
            raise ValueError("the clock of a cluster never goes back")
        with self._lock:
            (offset_us,) = _OFFSET.unpack_from(self._memory)
            _OFFSET.pack_into(self._memory, 0, offset_us + by // timedelta(microseconds=1))
        self._on_move()
        return self.now()

    def advance_to(self, at: datetime) -> datetime:
        """Move it forward to ``at``. :raises ValueError: when that is over, or has no time zone."""
        if at.tzinfo is None:
            raise ValueError("give a time with a zone, for example clock.now() + timedelta(hours=3)")
        return self.advance(at - self.now())
