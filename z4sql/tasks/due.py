"""Reading the due and the finish index: what is to be delivered, and when; what may be forgotten.

Only stores of machines with a due index have them. What is told is what is applied at the moment; tasks
change behind it, so every command made from it says what it saw, and the machine leaves alone what changed.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import Final, NamedTuple

from raftcore.storage.kv import Store
from z4sql.tasks.keys import (
    BIAS,
    DUE,
    FINISH,
    SUFFIX_BYTES,
    index_key,
    namespace_part,
    split_index_key,
    time_bytes,
)
from z4sql.tasks.record import NONE

_VALUE: Final = struct.Struct("<Qq")
_INSTANT_MAX: Final = (1 << 63) - 1


class Due(NamedTuple):
    """A task as it stands in the due index. Microseconds, UTC.

    ``lease_token`` is 0 unless the task is leased; then ``next_attempt_at_us`` is the end of the lease, and
    a due task is one whose lease ran out. It must not be delivered at or after ``expire_at_us``.
    """

    place: bytes
    next_attempt_at_us: int
    lease_token: int
    expire_at_us: int | None

    @property
    def cursor(self) -> bytes:
        """Where the task stands; `DueReader.due` goes on behind it."""
        return index_key(b"", self.place, self.next_attempt_at_us)


def cursor_before(namespace: bytes, time_us: int) -> bytes:
    """A cursor in front of all that is due at ``time_us`` or later, and behind all before."""
    return namespace_part(namespace) + time_bytes(time_us)


class DueReader:
    """Reads one store. A ``namespace`` is its UTF-8, without the length that stands in keys."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._finished_from: dict[bytes, bytes] = {}
        """The earliest time of the finish index when last seen; stamps never run backwards."""

    def due(self, namespace: bytes, *, after: bytes | None, until_us: int, limit: int) -> list[Due]:
        """At most ``limit`` tasks due at or before ``until_us``, earliest first.

        Strictly behind the cursor ``after`` (`Due.cursor`, `cursor_before`; None: from the beginning). A
        cursor keeps the walk off what was deleted before it; tasks that come to stand there are not seen.
        """
        lo = self._from(namespace, after)
        scan = self._store.scan(lo, _behind(DUE, namespace, until_us))
        try:
            return [_due(key, value) for key, value in islice(scan, limit)]
        finally:
            scan.close()

    def held_up(
        self, namespace: bytes, *, after: bytes | None, until_us: int, examined_max: int
    ) -> tuple[list[Due], bytes | None, bytes | None]:
        """Of the next ``examined_max`` tasks as of `due`, those that are leased or expire.

        And a cursor in front of the first one examined, None when there was none; and the cursor behind them
        all, None when there were not so many.
        """
        scan = self._store.scan(self._from(namespace, after), _behind(DUE, namespace, until_us))
        try:
            items = list(islice(scan, examined_max))
        finally:
            scan.close()
        found = [_due(key, value) for key, value in items if value]
        # Without its last byte a key sorts in front of itself.
        first = items[0][0][1:-1] if items else None
        return found, first, items[-1][0][1:] if len(items) == examined_max else None

    def next_due_us(self, namespace: bytes, after: bytes | None = None) -> int | None:
        """When the first task behind the cursor is due, past or future; None when there is none."""
        keys = self._store.keys(self._from(namespace, after), _behind(DUE, namespace, _INSTANT_MAX))
        try:
            first = next(keys, None)
        finally:
            keys.close()
        return None if first is None else split_index_key(first)[1]

    def finished_before(self, namespace: bytes, until_us: int, limit: int) -> list[bytes]:
        """Places of at most ``limit`` tasks that finished before ``until_us``, earliest first."""
        keys = self._finished(namespace, FINISH + namespace_part(namespace) + time_bytes(until_us), limit)
        return [split_index_key(key)[0] for key in keys]

    def next_finished_us(self, namespace: bytes) -> int | None:
        """When the task that finished first did so; None when none is kept."""
        keys = self._finished(namespace, _behind(FINISH, namespace, _INSTANT_MAX), 1)
        return split_index_key(keys[0])[1] if keys else None

    def _finished(self, namespace: bytes, hi: bytes, limit: int) -> list[bytes]:
        """The first keys of the finish index, without a walk over all that is forgotten."""
        lo = self._finished_from.get(namespace, FINISH + namespace_part(namespace))
        if lo >= hi:
            return []
        keys = self._store.keys(lo, hi)
        try:
            found = list(islice(keys, limit))
        finally:
            keys.close()
        if found:
            self._finished_from[namespace] = found[0][:-SUFFIX_BYTES]
        return found

    def _from(self, namespace: bytes, after: bytes | None) -> bytes:
        return DUE + (namespace_part(namespace) if after is None else after + b"\0")


def _behind(kind: bytes, namespace: bytes, time_us: int) -> bytes:
    """A bound above all of a namespace that stands at or before ``time_us``."""
    prefix = kind + namespace_part(namespace)
    return prefix + (time_bytes(time_us + 1) if time_us + 1 < BIAS else b"\xff" * 9)


def _due(key: bytes, value: bytes) -> Due:
    place, time_us = split_index_key(key)
    if not value:
        return Due(place, time_us, 0, None)
    token, expire_at = _VALUE.unpack(value)
    return Due(place, time_us, token, None if expire_at == NONE else expire_at)
