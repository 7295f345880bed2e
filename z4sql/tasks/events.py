"""What happened to a task: the newest events of its life, as they lie in its record.

Little-endian, oldest first, each: kind u8, at i64 us, attempt u32, length of the detail u8, detail. That a
task was created follows from its record and is not stored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

EVENTS_MAX: Final = 16
DETAIL_BYTES_MAX: Final = 255
_EVENT: Final = struct.Struct("<BqIB")
_DETAIL_AT: Final = _EVENT.size
ROOM_BYTES: Final = EVENTS_MAX * _DETAIL_AT
"""Events that take fewer bytes than this are fewer than `EVENTS_MAX`: there is room for one more."""


class EventKind(IntEnum):
    CREATED = 0
    LEASED = 1
    ACKED = 2
    NACKED = 3
    EXTENDED = 4
    RELEASED = 5
    LEASE_EXPIRED = 6
    DEAD = 7
    CANCELED = 8
    EXPIRED = 9
    RESCHEDULED = 10
    RUN_NOW = 11
    UPDATED = 12
    REDRIVEN = 13


EVENT_NAMES: Final = tuple(kind.name.lower() for kind in EventKind)


@dataclass(slots=True, frozen=True)
class TaskEvent:
    """``at_us``: the stamp of the command, UTC. ``attempt``: how many attempts had begun by then."""

    kind: EventKind
    at_us: int
    attempt: int
    detail: str


def clipped(data: bytes, length: int) -> bytes:
    """The first ``length`` bytes of UTF-8, without half a character at the end."""
    return data if len(data) <= length else data[:length].decode(errors="ignore").encode()


def appended(events: bytes, kind: EventKind, at_us: int, attempt: int, detail: bytes = b"") -> bytes:
    """``events`` and one more, without the oldest when they are too many.

    Extensions of one lease replace each other: a consumer that works long would drive out all else.
    """
    if kind == EventKind.EXTENDED or len(events) >= ROOM_BYTES:
        starts = _starts(events)
        if kind == EventKind.EXTENDED and starts:
            last_kind, _, last_attempt, _ = _EVENT.unpack_from(events, starts[-1])
            if (last_kind, last_attempt) == (kind, attempt):
                events = events[: starts.pop()]
        if len(starts) >= EVENTS_MAX:
            events = events[starts[len(starts) - EVENTS_MAX + 1] :]
    detail = clipped(detail, DETAIL_BYTES_MAX)
    return events + _EVENT.pack(kind, at_us, attempt, len(detail)) + detail


def decode_events(events: bytes) -> tuple[TaskEvent, ...]:
    """The events as they lie in a record."""
    found = []
    for start in _starts(events):
        kind, at_us, attempt, length = _EVENT.unpack_from(events, start)
        detail = events[start + _DETAIL_AT : start + _DETAIL_AT + length].decode()
        found.append(TaskEvent(EventKind(kind), at_us, attempt, detail))
    return tuple(found)


def _starts(events: bytes) -> list[int]:
    """Where each event begins."""
    starts, at = [], 0
    while at < len(events):
        starts.append(at)
        at += _DETAIL_AT + events[at + _DETAIL_AT - 1]
    return starts
