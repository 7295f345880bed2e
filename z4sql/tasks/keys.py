"""Keys of the task store: one prefix byte per kind, names with their length, numbers big-endian.

=====  ==========================================================================
``t``  task:       namespace | deliver_at | sequence -> record (`z4sql.tasks.record`)
``p``  payload:    namespace | the id's deliver_at | sequence -> payload, unless it lies in the record
``d``  due:        namespace | due at | deliver_at | sequence -> lease and expiry (of unfinished tasks)
``f``  finish:     namespace | finished_at | deliver_at | sequence -> empty (of finished tasks)
``v``  moved:      namespace | the id's deliver_at | sequence -> the task's present deliver_at (8 bytes)
``n``  namespace:  namespace -> settings
``c``  counter:    namespace -> how many tasks it has in each state
``r``  request:    request id's scope and text -> first result
``x``  expiry:     stamp | request key -> empty
``m``  meta:       name -> applied index, leader clock, members
=====  ==========================================================================

A namespace is encoded as one length byte and its UTF-8, so that `h` is no prefix of `h#x`.
A task's *place* is its key without the kind: namespace | deliver_at | sequence. What stands in ``d`` is the
time of the next attempt, of a leased task the end of its lease.
Times are microseconds since the epoch, biased by 2**63 so that their order is the order of bytes.
"""

from __future__ import annotations

import struct

TASK = b"t"
PAYLOAD = b"p"
DUE = b"d"
FINISH = b"f"
MOVED = b"v"
NAMESPACE = b"n"
COUNTER = b"c"
REQUEST = b"r"
EXPIRY = b"x"
META = b"m"

BIAS = 1 << 63
SUFFIX_BYTES = 16
TIME_BYTES = 8
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


def index_key(kind: bytes, task_place: bytes, time_us: int) -> bytes:
    """Where a task stands in the due or the finish index."""
    return kind + task_place[:-SUFFIX_BYTES] + _TIME.pack(time_us + BIAS) + task_place[-SUFFIX_BYTES:]


def split_index_key(key: bytes) -> tuple[bytes, int]:
    """(place, time) of a key of the due or the finish index."""
    (biased,) = _TIME.unpack_from(key, len(key) - SUFFIX_BYTES - TIME_BYTES)
    return key[1 : -SUFFIX_BYTES - TIME_BYTES] + key[-SUFFIX_BYTES:], biased - BIAS


def sequence_of(entry_index: int, ordinal: int) -> int:
    return entry_index << SEQUENCE_BITS | ordinal
