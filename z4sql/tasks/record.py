"""The stored value of a task: a fixed header, then the variable parts, the payload last.

All numbers little-endian. Built first by the leader, when the command that creates the task is made; replicas
store these bytes, change them as commands say, and SQL reads them as they lie::

    offset  field               type
    0       version             u8   (RECORD_VERSION)
    1       state               u8   (`State`)
    2       flags               u16  (bit 0: payload lies under its own key; bit 1: moved, `origin` present)
    4       attempts            u32
    8       created_at          i64  us
    16      next_attempt_at     i64  us  (NONE when finished; while leased, when this attempt was due)
    24      lease_until         i64  us  (NONE)
    32      finished_at         i64  us  (NONE)
    40      last_attempt_at     i64  us  (NONE)
    48      metadata_length     u32
    52      payload_length      u32  (also when the payload lies elsewhere)
    56      lease_owner_length  u16
    58      last_error_length   u16
    60      request_id_length   u16
    62      events_length       u16
    64      lease_token         u64  (0 without a lease; of a done task, the one acknowledged)
    72      expire_at           i64  us  (NONE)
    80      metadata | lease_owner | last_error | request_id | origin (8 bytes, if moved) | events | payload

``metadata`` is JSON text in MySQL's canonical form: keys by (byte length, bytes), separators ``", "`` and
``": "``, non-ASCII unescaped. The id and deliver_at are in the key; ``origin`` is the deliver_at that the id
carries (i64 us) after a task was rescheduled. ``events``: `z4sql.tasks.events`. The bytes from 64 to 80 are
also the value in the due index, unless they tell nothing.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from hashlib import blake2b
from typing import Final

from raftcore.core.errors import require

RECORD_VERSION: Final = 2
HEADER: Final = struct.Struct("<BBHIqqqqqIIHHHHQq")
HEADER_BYTES: Final = 80
DUE_VALUE: Final = slice(64, 80)
"""What of a record is the value of its key in the due index; see `due_value`."""
STATE_AT: Final = 1
EXPIRES_AT: Final = 79
NEVER: Final = 0x80
"""The highest byte of expire_at is this only when there is none."""
NONE: Final = -(1 << 63)
"""The instant that stands for NULL."""

_TOKEN: Final = struct.Struct("<Q")
_TOKEN_AT: Final = 64
_NEITHER: Final = struct.pack("<Qq", 0, NONE)

FLAG_PAYLOAD_APART: Final = 1
FLAG_MOVED: Final = 2
PAYLOAD_INLINE_BYTES_MAX: Final = 4096
LEASE_OWNER_BYTES_MAX: Final = 255
LAST_ERROR_BYTES_MAX: Final = 1024
ETAG_BYTES: Final = 8

assert HEADER.size == HEADER_BYTES


class State(IntEnum):
    SCHEDULED = 0
    LEASED = 1
    DONE = 2
    DEAD = 3
    CANCELED = 4
    EXPIRED = 5


STATE_NAMES = tuple(state.name.lower() for state in State)
FINISHED = frozenset({State.DONE, State.DEAD, State.CANCELED, State.EXPIRED})


class Record:
    """A record taken apart, to be changed and put together again. Instants are stored ones, with `NONE`.

    ``origin_us`` is NONE unless the task was moved. ``payload`` is empty when it lies apart; then
    ``payload_length`` tells its length. ``state`` is the plain number of a `State`. ``was_state`` and
    ``was_at_us``: its state, and where in an index it stood, when it was taken apart.
    """

    __slots__ = (
        "apart",
        "attempts",
        "created_at_us",
        "events",
        "expire_at_us",
        "finished_at_us",
        "last_attempt_at_us",
        "last_error",
        "lease_owner",
        "lease_token",
        "lease_until_us",
        "metadata",
        "next_attempt_at_us",
        "origin_us",
        "payload",
        "payload_length",
        "request_id",
        "state",
        "was_at_us",
        "was_state",
    )

    def __init__(self, data: bytes) -> None:
        self.state: int
        self.next_attempt_at_us: int
        self.lease_until_us: int
        self.finished_at_us: int
        (
            version,
            self.state,
            flags,
            self.attempts,
            self.created_at_us,
            self.next_attempt_at_us,
            self.lease_until_us,
            self.finished_at_us,
            self.last_attempt_at_us,
            metadata_length,
            self.payload_length,
            owner_length,
            error_length,
            request_length,
            events_length,
            self.lease_token,
            self.expire_at_us,
        ) = HEADER.unpack_from(data)
        if version != RECORD_VERSION:
            require(False, "records are of the version that this program writes", version=version)
        at = HEADER_BYTES
        self.metadata = data[at : (at := at + metadata_length)]
        self.lease_owner = data[at : (at := at + owner_length)]
        self.last_error = data[at : (at := at + error_length)]
        self.request_id = data[at : (at := at + request_length)]
        self.origin_us = NONE
        if flags & FLAG_MOVED:
            self.origin_us = int.from_bytes(data[at : (at := at + 8)], "little", signed=True)
        self.events = data[at : (at := at + events_length)]
        self.payload = data[at:]
        self.apart = bool(flags & FLAG_PAYLOAD_APART)
        self.was_state = self.state
        self.was_at_us = self.stands_at_us

    def encode(self) -> bytes:
        moved = self.origin_us != NONE
        header = HEADER.pack(
            RECORD_VERSION,
            self.state,
            (FLAG_PAYLOAD_APART if self.apart else 0) | (FLAG_MOVED if moved else 0),
            self.attempts,
            self.created_at_us,
            self.next_attempt_at_us,
            self.lease_until_us,
            self.finished_at_us,
            self.last_attempt_at_us,
            len(self.metadata),
            self.payload_length,
            len(self.lease_owner),
            len(self.last_error),
            len(self.request_id),
            len(self.events),
            self.lease_token,
            self.expire_at_us,
        )
        origin = self.origin_us.to_bytes(8, "little", signed=True) if moved else b""
        return b"".join(
            (
                header,
                self.metadata,
                self.lease_owner,
                self.last_error,
                self.request_id,
                origin,
                self.events,
                self.payload,
            )
        )

    @property
    def stands_at_us(self) -> int:
        """The time under which the task stands in the due index, or in that of finished tasks."""
        if self.state == State.LEASED:
            return self.lease_until_us
        return self.next_attempt_at_us if self.state == State.SCHEDULED else self.finished_at_us


def due_value(record: bytes) -> bytes:
    """The value of a task's key in the due index: its lease's token and its expire_at, empty without both."""
    value = record[DUE_VALUE]
    return b"" if value == _NEITHER else value


def token_of(record: bytes) -> int:
    """The token of its lease, or of the one it was acknowledged under; 0 without either."""
    return _TOKEN.unpack_from(record, _TOKEN_AT)[0]  # type: ignore[no-any-return]  # struct is untyped


def etag(record: bytes) -> bytes:
    """A digest of a stored record, different after every change of the task."""
    return blake2b(record, digest_size=ETAG_BYTES).digest()
