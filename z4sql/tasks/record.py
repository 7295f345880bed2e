"""The stored value of a task: a fixed header, then the variable parts, the payload last.

All numbers little-endian. Built once, by the leader, when the command is made; replicas store these bytes
and SQL reads them as they lie::

    offset  field               type
    0       version             u8   (RECORD_VERSION)
    1       state               u8   (`State`)
    2       flags               u16  (bit 0: payload lies under its own key; bit 1: moved, `origin` present)
    4       attempts            u32
    8       created_at          i64  us
    16      next_attempt_at     i64  us  (NONE when finished)
    24      lease_until         i64  us  (NONE)
    32      finished_at         i64  us  (NONE)
    40      last_attempt_at     i64  us  (NONE)
    48      metadata_length     u32
    52      payload_length      u32  (also when the payload lies elsewhere)
    56      lease_owner_length  u16
    58      last_error_length   u16
    60      request_id_length   u16
    62      reserved            u16  (0)
    64      metadata | lease_owner | last_error | request_id | origin (8 bytes, if moved) | payload

``metadata`` is JSON text in MySQL's canonical form: keys by (byte length, bytes), separators ``", "`` and
``": "``, non-ASCII unescaped. The id and deliver_at are in the key; ``origin`` is the deliver_at that the id
carries (i64 us) after a task was rescheduled.
"""

from __future__ import annotations

import struct
from enum import IntEnum

RECORD_VERSION = 1
HEADER = struct.Struct("<BBHIqqqqqIIHHHH")
HEADER_BYTES = 64
NONE = -(1 << 63)
"""The instant that stands for NULL."""

FLAG_PAYLOAD_APART = 1
FLAG_MOVED = 2
PAYLOAD_INLINE_BYTES_MAX = 4096

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
