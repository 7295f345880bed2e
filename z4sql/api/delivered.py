"""Deliveries on the wire, straight from the stored records.

What `z4sql.api.messages.task_message` makes of a task is made here of its record, without objects between:
they were most of what a delivery cost the leader. Protocol Buffers manual, Encoding; fields in the order of
their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from json import JSONDecoder
from typing import Final

from z4sql.api.varint import varint
from z4sql.delivery.model import Delivery
from z4sql.tasks.keys import BIAS, SUFFIX_BYTES, TIME_BYTES
from z4sql.tasks.record import HEADER, HEADER_BYTES, NONE, STATE_NAMES, etag

_STATES: Final = tuple(b"\x52" + bytes((len(name),)) + name.encode() for name in STATE_NAMES)
_SMALL: Final = tuple(bytes((number,)) for number in range(128))
_LOW_BITS: Final = 21
_LOW_MASK: Final = (1 << _LOW_BITS) - 1
_read = JSONDecoder().raw_decode


def deliveries_bytes(deliveries: Sequence[Delivery]) -> list[bytes]:
    """Each as a field of a ConsumeResponse."""
    parts = []
    for delivery in deliveries:
        task = task_bytes(delivery)
        token = number_bytes(delivery.token)
        size = _length(len(task))
        whole = 2 + len(size) + len(task) + len(token)
        parts.append(b"".join((b"\x0a", _length(whole), b"\x0a", size, task, b"\x10", token)))
    return parts


def done_bytes(token: int) -> bytes:
    """A lease that ended as its consumer said, as a field of a ConsumeResponse."""
    number = number_bytes(token)
    return b"\x12" + _SMALL[1 + len(number)] + b"\x08" + number


def task_bytes(delivery: Delivery) -> bytes:
    """A Task message without the events of its life."""
    record, place = delivery.record, delivery.place
    (
        _,
        state,
        _,
        attempts,
        created_at_us,
        next_attempt_at_us,
        lease_until_us,
        finished_at_us,
        last_attempt_at_us,
        metadata_length,
        _,
        owner_length,
        error_length,
        request_length,
        _,
        _,
        expire_at_us,
    ) = HEADER.unpack_from(record)
    owner_at = HEADER_BYTES + metadata_length
    error_at = owner_at + owner_length
    request_at = error_at + error_length
    deliver_at_us = int.from_bytes(place[-SUFFIX_BYTES:-TIME_BYTES], "big") - BIAS
    # An id has 26 characters, an etag 16.
    parts = [b"\x0a\x1a", delivery.task_id.encode(), b"\x12", _length(len(place) - 1 - SUFFIX_BYTES)]
    parts.append(place[1:-SUFFIX_BYTES])
    if metadata_length > 2:
        parts += _metadata(record[HEADER_BYTES:owner_at].decode())
    if delivery.payload:
        parts += (b"\x22", _length(len(delivery.payload)), delivery.payload)
    parts += (b"\x2a", _instant(deliver_at_us))
    if last_attempt_at_us != NONE:
        parts += (b"\x32", _instant(last_attempt_at_us))
    parts += (b"\x3a", _instant(created_at_us), _STATES[state])
    if attempts:
        parts += (b"\x58", varint(attempts))
    if next_attempt_at_us != NONE:
        parts += (b"\x62", _instant(next_attempt_at_us))
    if owner_length:
        parts += (b"\x6a", _length(owner_length), record[owner_at:error_at])
    if lease_until_us != NONE:
        parts += (b"\x72", _instant(lease_until_us))
    if error_length:
        parts += (b"\x7a", _length(error_length), record[error_at:request_at])
    if finished_at_us != NONE:
        parts += (b"\x82\x01", _instant(finished_at_us))
    if expire_at_us != NONE:
        parts += (b"\x8a\x01", _instant(expire_at_us))
    parts += (b"\x92\x01\x10", etag(record).hex().encode())
    if request_length:
        parts += (b"\x9a\x01", _length(request_length), record[request_at : request_at + request_length])
    return b"".join(parts)


def number_bytes(number: int) -> bytes:
    """A number that is large and differs from its neighbours in its lower bits only, such as a token."""
    low = number & _LOW_MASK
    if low == number:
        return varint(number)
    return bytes((low & 127 | 128, low >> 7 & 127 | 128, low >> 14 | 128)) + varint(number >> _LOW_BITS)


def _metadata(text: str) -> list[bytes]:
    found: dict[str, str] = _read(text)[0]
    parts: list[bytes] = []
    for name, value in found.items():
        key, content = name.encode(), value.encode()
        # What is empty may be left out, and need not be.
        entry = b"".join((b"\x0a", _length(len(key)), key, b"\x12", _length(len(content)), content))
        parts += (b"\x1a", _length(len(entry)), entry)
    return parts


def _length(number: int) -> bytes:
    return _SMALL[number] if number < 128 else varint(number)


@lru_cache(4096)
def _instant(instant_us: int) -> bytes:
    """A Timestamp with its length: many tasks share their instants."""
    seconds, microseconds = divmod(instant_us, 1_000_000)
    message = b""
    if seconds:
        message += b"\x08" + varint(seconds)
    if microseconds:
        message += b"\x10" + varint(microseconds * 1000)
    return _SMALL[len(message)] + message
