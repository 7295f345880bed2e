"""Packets on the wire: 3 bytes of length, 1 of sequence, payload (MySQL manual: MySQL Packets)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

PAYLOAD_MAX: Final = 0xFFFFFF
"""A payload this long or longer continues in the next packet; an exact multiple ends with an empty one."""

Buffer = bytes | bytearray | memoryview


class Frames(NamedTuple):
    """Whole packets, framed: writing one `Frames` or not is the only choice, else the stream loses step."""

    data: Buffer
    packets: int


def frame(payload: bytes, sequence: int) -> Frames:
    """One payload in as many packets as it needs, the first numbered ``sequence``."""
    if len(payload) < PAYLOAD_MAX:
        return Frames((len(payload) | sequence << 24).to_bytes(4, "little") + payload, 1)
    parts: list[Buffer] = []
    view = memoryview(payload)
    packets = 0
    while True:
        piece = view[packets * PAYLOAD_MAX : (packets + 1) * PAYLOAD_MAX]
        parts += ((len(piece) | (sequence + packets & 0xFF) << 24).to_bytes(4, "little"), piece)
        packets += 1
        if len(piece) < PAYLOAD_MAX:
            return Frames(b"".join(parts), packets)


def frame_all(payloads: Sequence[bytes], sequence: int) -> Frames:
    """Several payloads, each in packets of its own."""
    parts: list[Buffer] = []
    packets = 0
    for payload in payloads:
        framed = frame(payload, sequence + packets & 0xFF)
        parts.append(framed.data)
        packets += framed.packets
    return Frames(b"".join(parts), packets)
