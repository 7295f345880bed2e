"""Keys of the task store: one prefix byte per kind, names with their length, numbers big-endian.

=====  ==========================================================================
``t``  task:       namespace | deliver_at | sequence -> record (`z4sql.tasks.record`)
``p``  payload:    same suffix -> payload bytes above `PAYLOAD_INLINE_BYTES_MAX`
``d``  due:        namespace | next_attempt_at | deliver_at | sequence -> empty (unfinished tasks only)
``v``  moved:      namespace | the id's deliver_at | sequence -> the task's present deliver_at (8 bytes)
``n``  namespace:  namespace -> settings and counters
``r``  request:    request id's scope and text -> first result
``x``  expiry:     stamp | request key -> empty
``m``  meta:       name -> applied index, leader clock, members
=====  ==========================================================================

A namespace is encoded as one length byte and its UTF-8, so that `h` is no prefix of `h#x`.
Times are microseconds since the epoch, biased by 2**63 so that their order is the order of bytes.
"""

from __future__ import annotations

import struct

TASK = b"t"
PAYLOAD = b"p"
DUE = b"d"
MOVED = b"v"
NAMESPACE = b"n"
REQUEST = b"r"
EXPIRY = b"x"
META = b"m"

BIAS = 1 << 63
SUFFIX_BYTES = 16
_PLACE = struct.Struct(">QQ")
_TIME = struct.Struct(">Q")

SEQUENCE_BITS = 20
"""A sequence is ``entry index << 20 | ordinal of the task in its entry``."""


def namespace_part(namespace: bytes) -> bytes:
    """A namespace as it stands in keys. ``namespace`` is 1 to 255 bytes of UTF-8."""
    return len(namespace).to_bytes(1, "big") + namespace


def task_prefix(namespace: bytes) -> bytes:
    return TASK + namespace_part(namespace)


def time_bytes(time_us: int) -> bytes:
    return _TIME.pack(time_us + BIAS)


def place(deliver_at_us: int, sequence: int) -> bytes:
    """The last 16 bytes of a task's key; also the 16 bytes of its id, as long as it was not moved."""
    return _PLACE.pack(deliver_at_us + BIAS, sequence)


def unpack_place(suffix: bytes) -> tuple[int, int]:
    """(deliver_at_us, sequence) of a key's last 16 bytes."""
    biased, sequence = _PLACE.unpack(suffix)
    return biased - BIAS, sequence


def task_key(namespace: bytes, deliver_at_us: int, sequence: int) -> bytes:
    return TASK + namespace_part(namespace) + place(deliver_at_us, sequence)


def due_key(namespace: bytes, next_attempt_at_us: int, deliver_at_us: int, sequence: int) -> bytes:
    return DUE + namespace_part(namespace) + time_bytes(next_attempt_at_us) + place(deliver_at_us, sequence)


def sequence_of(entry_index: int, ordinal: int) -> int:
    return entry_index << SEQUENCE_BITS | ordinal
