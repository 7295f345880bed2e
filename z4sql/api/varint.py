"""Numbers and lengths in encoded messages. Protocol Buffers manual: Encoding, Base 128 Varints."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(4096)
def varint(number: int) -> bytes:
    """A varint; negative numbers as the 64 bits that they are. What is asked for often is remembered."""
    number &= (1 << 64) - 1
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)
