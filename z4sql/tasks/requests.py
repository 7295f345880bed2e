"""Request ids that were used within the window, and what came of them.

The window is reckoned on the stamps inside the commands, so every replica forgets the same ids at the same
entry. What is older than the window counts as forgotten, whether or not it is deleted yet.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import Final, NamedTuple

from raftcore.storage.kv import Batch, Store
from z4sql.tasks.keys import BIAS, EXPIRY, REQUEST, time_bytes

WINDOW_US: Final = 15 * 60 * 1_000_000
EXPIRED_PER_COMMAND_MIN: Final = 256
EXPIRED_PER_REQUEST: Final = 2
"""More ids are forgotten than a command brings, so the table shrinks to what the window holds at any load."""
_VALUE = struct.Struct("<qB")
_TIME_BYTES = 8


class Known(NamedTuple):
    fingerprint: bytes
    result: bytes


def command_key(request_id: str) -> bytes:
    """Key of a whole command's request id; no namespace is empty, so no task's key begins so."""
    return REQUEST + b"\0" + request_id.encode()


def task_key(namespace_part: bytes, request_id: str) -> bytes:
    """Key of a single task's request id, which counts within its namespace."""
    return REQUEST + namespace_part + request_id.encode()


class RequestTable:
    """Reads through what was remembered but is not yet written."""

    def __init__(self) -> None:
        self._store: Store
        self._unwritten: dict[bytes, bytes] = {}
        self._unwritten_since_us: int | None = None
        self._expired_to = EXPIRY
        self._oldest_us: int | None = None
        """No stored id is older; None when there is none."""

    def open(self, store: Store) -> None:
        """Start from what ``store`` holds."""
        self._store = store
        self._unwritten.clear()
        self._unwritten_since_us = None
        self._expired_to = EXPIRY
        self._oldest_us = self._next_expiry()

    def find(self, key: bytes, clock_us: int) -> Known | None:
        """What came of the request, if it is within the window at ``clock_us``."""
        value = self._unwritten.get(key)
        if value is None:
            value = self._store.get(key)
        if value is None:
            return None
        stamp_us, length = _VALUE.unpack_from(value)
        if stamp_us + WINDOW_US <= clock_us:
            return None
        at = _VALUE.size
        return Known(value[at : at + length], value[at + length :])

    def remember(self, batch: Batch, key: bytes, clock_us: int, fingerprint: bytes, result: bytes) -> None:
        value = _VALUE.pack(clock_us, len(fingerprint)) + fingerprint + result
        batch.put(key, value)
        batch.put(EXPIRY + time_bytes(clock_us) + key, b"")
        self._unwritten[key] = value
        if self._unwritten_since_us is None:
            self._unwritten_since_us = clock_us
        if self._oldest_us is None:
            self._oldest_us = clock_us

    def due(self, clock_us: int) -> bool:
        """Whether some id left the window by ``clock_us``."""
        return self._oldest_us is not None and self._oldest_us <= clock_us - WINDOW_US

    def expire(self, batch: Batch, clock_us: int, requests_count: int) -> None:
        """Delete ids that left the window, when some did, at a command of ``requests_count`` new ones.

        Their number is bounded. The walk goes on behind what it deleted before: deletions of the entry being
        applied are not in the store yet, and the number deleted must not depend on that.
        """
        end_us = clock_us - WINDOW_US
        end = EXPIRY + time_bytes(max(end_us, 0)) + b"\xff"
        most = max(EXPIRED_PER_COMMAND_MIN, EXPIRED_PER_REQUEST * requests_count)
        for expiry in islice(self._store.keys(self._expired_to, end), most):
            self._expired_to = expiry + b"\0"
            batch.delete(expiry)
            key = expiry[1 + _TIME_BYTES :]
            if self._is_of(key, expiry):
                batch.delete(key)
        known = [us for us in (self._next_expiry(), self._unwritten_since_us) if us is not None]
        self._oldest_us = min(known, default=None)

    def written(self) -> None:
        """What was remembered is in the store."""
        if self._unwritten_since_us is not None:
            # Written behind the walk's back: ids of the same stamp sort by their text.
            self._expired_to = min(self._expired_to, EXPIRY + time_bytes(self._unwritten_since_us))
        self._unwritten.clear()
        self._unwritten_since_us = None

    def _is_of(self, key: bytes, expiry: bytes) -> bool:
        """Whether the stored request is what ``expiry`` stands for, not a later use of the same id."""
        if key in self._unwritten:
            return False
        value = self._store.get(key)
        return value is not None and EXPIRY + time_bytes(_VALUE.unpack_from(value)[0]) + key == expiry

    def _next_expiry(self) -> int | None:
        first = next(self._store.keys(self._expired_to, EXPIRY + b"\xff" * 9), None)
        if first is None:
            return None
        return int.from_bytes(first[1 : 1 + _TIME_BYTES], "big") - BIAS
