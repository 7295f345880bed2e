"""The two changes that every delivered task goes through, from bytes to bytes: leased, and acknowledged.

What they make is what a `z4sql.tasks.record.Record` would, taken apart, changed and put together; they cost a
third of it, on every replica and in every copy that answers queries.
"""

from __future__ import annotations

import struct
from typing import Final

from raftcore.core.errors import require
from z4sql.tasks.events import DETAIL_BYTES_MAX, ROOM_BYTES, EventKind, appended, clipped
from z4sql.tasks.record import (
    FLAG_MOVED,
    HEADER,
    HEADER_BYTES,
    NONE,
    RECORD_VERSION,
    STATE_AT,
    State,
    token_of,
)

_ATTEMPTS_MAX: Final = (1 << 32) - 1
_SCHEDULED, _LEASED, _DONE = int(State.SCHEDULED), int(State.LEASED), int(State.DONE)
_LEASED_EVENT, _ACKED_EVENT = int(EventKind.LEASED), int(EventKind.ACKED)
_EVENT: Final = struct.Struct("<BqI")
_NO_DETAIL: Final = b"\0"


class Leasing:
    """Leases to one owner, until one instant, by one command."""

    __slots__ = ("_detail", "_owner", "_stamp_us", "_until_us")

    def __init__(self, owner: bytes, until_us: int, stamp_us: int) -> None:
        """``owner`` fits into a record."""
        self._owner = owner
        self._until_us = until_us
        self._stamp_us = stamp_us
        detail = clipped(owner, DETAIL_BYTES_MAX)
        self._detail = len(detail).to_bytes(1, "little") + detail

    def leased(self, data: bytes, next_attempt_at_us: int, token: int) -> bytes | None:
        """The record with a lease; None when the task is not scheduled for just that time, or expired."""
        stamp_us = self._stamp_us
        (
            version,
            state,
            flags,
            attempts,
            created_at_us,
            scheduled_us,
            _,
            finished_at_us,
            _,
            metadata_length,
            payload_length,
            owner_length,
            error_length,
            request_length,
            events_length,
            _,
            expire_at_us,
        ) = HEADER.unpack_from(data)
        if version != RECORD_VERSION:
            require(False, "records are of the version that this program writes", version=version)
        if state != _SCHEDULED or scheduled_us != next_attempt_at_us:
            return None
        if expire_at_us != NONE and expire_at_us <= stamp_us:
            return None
        if attempts < _ATTEMPTS_MAX:
            attempts += 1
        owner_at = HEADER_BYTES + metadata_length
        error_at = owner_at + owner_length
        events_at = error_at + error_length + request_length + (8 if flags & FLAG_MOVED else 0)
        payload_at = events_at + events_length
        if events_length < ROOM_BYTES:
            head = data[error_at:payload_at]
            event = _EVENT.pack(_LEASED_EVENT, stamp_us, attempts) + self._detail
            events_length += len(event)
        else:
            head = data[error_at:events_at]
            events = data[events_at:payload_at]
            event = appended(events, EventKind.LEASED, stamp_us, attempts, self._owner)
            events_length = len(event)
        header = HEADER.pack(
            RECORD_VERSION,
            _LEASED,
            flags,
            attempts,
            created_at_us,
            scheduled_us,
            self._until_us,
            finished_at_us,
            stamp_us,
            metadata_length,
            payload_length,
            len(self._owner),
            error_length,
            request_length,
            events_length,
            token,
            expire_at_us,
        )
        return b"".join((header, data[HEADER_BYTES:owner_at], self._owner, head, event, data[payload_at:]))


def acknowledged(data: bytes, token: int, stamp_us: int) -> tuple[bytes, int] | None:
    """The record of a task that is done, and when its lease would have ended; None when not so leased.

    Of an acknowledgement without words.
    """
    (
        version,
        state,
        flags,
        attempts,
        created_at_us,
        _,
        lease_until_us,
        _,
        last_attempt_at_us,
        metadata_length,
        payload_length,
        owner_length,
        error_length,
        request_length,
        events_length,
        lease_token,
        expire_at_us,
    ) = HEADER.unpack_from(data)
    if version != RECORD_VERSION:
        require(False, "records are of the version that this program writes", version=version)
    if state != _LEASED or lease_token != token:
        return None
    owner_at = HEADER_BYTES + metadata_length
    error_at = owner_at + owner_length
    events_at = error_at + error_length + request_length + (8 if flags & FLAG_MOVED else 0)
    payload_at = events_at + events_length
    if events_length < ROOM_BYTES:
        head = data[error_at:payload_at]
        event = _EVENT.pack(_ACKED_EVENT, stamp_us, attempts) + _NO_DETAIL
        events_length += len(event)
    else:
        head = data[error_at:events_at]
        event = appended(data[events_at:payload_at], EventKind.ACKED, stamp_us, attempts)
        events_length = len(event)
    header = HEADER.pack(
        RECORD_VERSION,
        _DONE,
        flags,
        attempts,
        created_at_us,
        NONE,
        NONE,
        stamp_us,
        last_attempt_at_us,
        metadata_length,
        payload_length,
        0,
        error_length,
        request_length,
        events_length,
        token,
        expire_at_us,
    )
    return b"".join((header, data[HEADER_BYTES:owner_at], head, event, data[payload_at:])), lease_until_us


def is_acknowledged(data: bytes, token: int) -> bool:
    """Whether the task is done, and was acknowledged under that lease."""
    return data[STATE_AT] == _DONE and token_of(data) == token
