"""Task ids: 128 bits (delivery time, sequence) as 26 characters of Crockford's base 32, in the same order."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.keys import BIAS

ID_CHARACTERS: Final = 26
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARACTERS: Final = frozenset(_ALPHABET + _ALPHABET.lower())
_PAIRS: Final = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"  # of `int` in base 32
_TO_DIGITS: Final = bytes(
    ord(_DIGITS[_ALPHABET.index(chr(byte).upper())]) if chr(byte) in _CHARACTERS else ord("!")
    for byte in range(256)
)
_LETTERS: Final = np.frombuffer(_ALPHABET.encode(), np.uint8)
_FIRST_MAX: Final = 7  # 26 characters hold 130 bits: the first one has three


def format_id(deliver_at_us: int, sequence: int) -> str:
    """The id of a task made at ``sequence`` for ``deliver_at_us``."""
    number = (deliver_at_us + BIAS) << 64 | sequence
    pairs = _PAIRS
    return "".join([pairs[number >> shift & 1023] for shift in range(120, -1, -10)])


def parse_id(text: str) -> tuple[int, int]:
    """(deliver_at_us, sequence) of an id, in upper or lower case. :raises InvalidTask: naming ``task_id``."""
    if len(text) != ID_CHARACTERS:
        raise InvalidTask("task_id", f"must have {ID_CHARACTERS} characters, has {len(text)}")
    try:
        number = int(text.encode("ascii").translate(_TO_DIGITS), 32)
    except ValueError:
        foreign = next(character for character in text if character not in _CHARACTERS)
        raise InvalidTask("task_id", f"{foreign!r} is not a character of ids") from None
    if number >> 128:
        raise InvalidTask("task_id", f"must begin with 0 to {_FIRST_MAX}")
    return (number >> 64) - BIAS, number & (1 << 64) - 1


def format_ids(deliver_at_us: NDArray[np.int64], sequences: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Many ids at once: a matrix of ASCII characters, one row of 26 for each."""
    high = deliver_at_us.astype(np.int64).view(np.uint64) ^ np.uint64(BIAS)
    low = sequences.astype(np.uint64, copy=False)
    digits = np.empty((len(high), ID_CHARACTERS), np.uint8)
    for position in range(ID_CHARACTERS):
        shift = 125 - 5 * position
        if shift >= 64:
            part = high >> np.uint64(shift - 64)
        elif shift <= 59:
            part = low >> np.uint64(shift)
        else:
            part = high << np.uint64(64 - shift) | low >> np.uint64(shift)
        digits[:, position] = (part & np.uint64(31)).astype(np.uint8)
    return _LETTERS[digits]
