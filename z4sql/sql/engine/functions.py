"""MySQL functions that the engine lacks, in Python: called per row, so only what is rarely asked for."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache, wraps
from itertools import accumulate
from typing import Any, Final, TypeVar

from z4sql.sql.engine.json_order import json_key
from z4sql.sql.engine.json_paths import (
    json_contains,
    json_depth,
    json_edit,
    json_exists,
    json_find,
    json_keys,
    json_merge_patch,
    json_merge_preserve,
    json_overlaps,
    json_pretty,
    json_search,
    json_sorted,
    json_unquote,
)
from z4sql.sql.engine.str_to_date import str_to_date, str_to_time
from z4sql.sql.engine.temporal_text import (
    datetime_of_number,
    read_datetime,
    read_time,
    time_format,
    time_of_number,
    week_number,
    year_week,
)
from z4sql.sql.engine.warnings import shown, warn, warn_once
from z4sql.sql.render import time_text

_WIDE = Context(prec=400)
_CANDIDATES_MAX = 1_000
"""Stretches that differ from what is sought in their bytes alone: each costs as much as it is long."""
_INVALID_BYTES = 6
"""Of a wrong character, in a message."""


def conv(text: str, source: int, target: int) -> str | None:
    """CONV between bases 2 to 36; of a negative base, numbers have a sign. MySQL manual: CONV()."""
    signed, source, target = target < 0, abs(source), abs(target)
    if not 2 <= source <= 36 or not 2 <= target <= 36 or not text:
        return None
    match = re.match(r"\s*(-?)([0-9A-Za-z]*)", text)
    number = 0
    for character in match.group(2) if match else "":
        digit = int(character, 36)
        if digit >= source:
            break
        number = number * source + digit
    number = -number % 2**64 if match and match.group(1) else min(number, 2**64 - 1)
    digits, sign = "", ""
    if signed and number >= 2**63:
        number, sign = 2**64 - number, "-"
    while number:
        number, digit = divmod(number, target)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + digits
    return sign + digits or "0"


def first_byte(data: bytes) -> int:
    return data[0] if data else 0


def trim(text: str, piece: str, position: str) -> str:
    """TRIM of a text of any length, as often as it stands there."""
    if not piece:
        return text
    start, end = 0, len(text)
    while position != "TRAILING" and text.startswith(piece, start, end):
        start += len(piece)
    while position != "LEADING" and text.endswith(piece, start, end):
        end -= len(piece)
    return text[start:end]


def ord_(text: str) -> int:
    return int.from_bytes(text[:1].encode(), "big") if text else 0


_SOUNDS = {
    **dict.fromkeys("BFPV", "1"),
    **dict.fromkeys("CGJKQSXZ", "2"),
    **dict.fromkeys("DT", "3"),
    "L": "4",
    **dict.fromkeys("MN", "5"),
    "R": "6",
}


def soundex(text: str) -> str:
    letters = [character for character in text.upper() if character.isalpha()]
    if not letters:
        return ""
    out, last = letters[0], _SOUNDS.get(letters[0], "")
    for letter in letters[1:]:
        if letter in "HW":
            continue
        sound = _SOUNDS.get(letter, "")
        if sound and sound != last:
            out += sound
        last = sound
    return out.ljust(4, "0")


def format_number(value: str, decimals: int) -> str:
    """FORMAT of a number as it is printed; a half is rounded away from zero."""
    exact = Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _WIDE)
    return f"{exact:,f}"


def inet_aton(text: str) -> int | None:
    """INET_ATON; a short address leaves the middle zero."""
    parts = text.split(".")
    if len(parts) > 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        warn(1411, f"Incorrect string value: ''{shown(text)}'' for function inet_aton")
        return None
    *head, last = map(int, parts)
    number = 0
    for part in head:
        number = number * 256 + part
    return number * 256 ** (4 - len(head)) + last if head else last


def inet_ntoa(number: int) -> str | None:
    if not 0 <= number < 2**32:
        return None
    return ".".join(str(number >> places & 255) for places in (24, 16, 8, 0))


def char(number: int) -> bytes:
    """CHAR: the bytes of a number of 32 bits, without those that lead it and are zero."""
    return (number % 2**32).to_bytes(4, "big").lstrip(b"\0") or b"\0"


def insert(text: str, start: int, count: int, new: str) -> str:
    if not 1 <= start <= len(text):
        return text
    end = len(text) if count < 0 else start - 1 + count
    return text[: start - 1] + new + text[end:]


def find(text: str, piece: str) -> int:
    """Where ``piece`` stands in a text, whatever case and accents, from 1 on; 0 where it does not.

    MySQL compares stretches of as many bytes only (my_instr_mb), so that no ``e`` is found in ``é``.
    """
    parts, sought, size = list(map(_folded, text)), "".join(map(_folded, piece)), len(piece.encode())
    edges = list(enumerate(accumulate(map(len, parts), initial=0)))
    # What is left of a combining character is nothing: it belongs to the one before.
    starts, ends = {length: at for at, length in edges}, {length: at for at, length in reversed(edges)}
    bytes_before = list(accumulate((len(character.encode()) for character in text), initial=0))
    folded = "".join(parts)
    found = folded.find(sought)
    for _ in range(_CANDIDATES_MAX):
        if found < 0:
            return 0
        first, end = starts.get(found), ends.get(found + len(sought))
        if first is not None and end is not None and bytes_before[end] - bytes_before[first] == size:
            return first + 1
        found = folded.find(sought, found + 1)
    return 0


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    plain = unicodedata.normalize("NFD", character.replace("ß", "ss"))
    return "".join(one for one in plain if not unicodedata.combining(one)).lower()


def sha2(data: bytes, bits: int) -> str | None:
    if bits not in (224, 384, 512):
        return None
    return hashlib.new(f"sha{bits}", data).hexdigest()


def compress(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + zlib.compress(data) if data else data


def decoded(data: bytes) -> str | None:
    """Bytes as text; NULL where they are no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        wrong = data[error.start : error.start + _INVALID_BYTES].hex().upper()
        more = "..." if len(data) > error.start + _INVALID_BYTES else ""
        warn(1300, f"Invalid utf8mb4 character string: '{wrong}{more}'")
        return None


def any_datetime(text: str) -> datetime | None:
    """A text as a datetime, with the warnings that MySQL gives."""
    return _told_datetime(text, warn)


def constant_datetime(text: str) -> datetime | None:
    return _told_datetime(text, warn_once)


def _told_datetime(text: str, tell: Callable[[int, str], None]) -> datetime | None:
    moment, ignored = read_datetime(text)
    if moment is None:
        tell(1292, f"Incorrect datetime value: '{shown(text)}'")
    elif ignored:
        tell(1292, f"Truncated incorrect {ignored} value: '{shown(text)}'")
    return moment


def any_datetime_of_number(text: str) -> datetime | None:
    moment = datetime_of_number(text)
    if moment is None:
        warn(1292, f"Incorrect datetime value: '{shown(text)}'")
    return moment


def any_time(text: str) -> int | None:
    return _told_time(text, warn)


def constant_time(text: str) -> int | None:
    return _told_time(text, warn_once)


def _told_time(text: str, tell: Callable[[int, str], None]) -> int | None:
    microseconds, whole = read_time(text)
    if not whole:
        tell(1292, f"Truncated incorrect time value: '{shown(text)}'")
    return microseconds


def any_time_of_number(text: str) -> int | None:
    microseconds = time_of_number(text)
    if microseconds is None:
        warn(1292, f"Truncated incorrect time value: '{shown(text)}'")
    return microseconds


def latin1(data: bytes) -> str:
    """Bytes as text of as many characters, for LIKE and LOCATE on blobs."""
    return data.decode("latin-1")


def crc32(data: bytes) -> int:
    return zlib.crc32(data)


def printed_time(microseconds: int, fsp: int) -> str:
    return time_text(microseconds, fsp).decode()


R = TypeVar("R")


def _on_null_null(implementation: Callable[..., R]) -> Callable[..., R | None]:
    # The engine counts the parameters of what is registered: `wraps` shows it those of the implementation.
    @wraps(implementation)
    def call(*arguments: object) -> R | None:
        return None if any(argument is None for argument in arguments) else implementation(*arguments)

    return call


_TEXT, _WHOLE, _BYTES = "VARCHAR", "BIGINT", "BLOB"

FUNCTIONS: tuple[tuple[str, Callable[..., Any], list[str], str], ...] = (
    ("my_str_to_date", str_to_date, [_TEXT, _TEXT], "TIMESTAMP"),
    ("my_str_to_time", _on_null_null(str_to_time), [_TEXT, _TEXT], _WHOLE),
    ("my_json_search", _on_null_null(json_search), [_TEXT] * 5, _TEXT),
    ("my_json_find", _on_null_null(json_find), [_TEXT, _TEXT], _TEXT),
    ("my_json_exists", _on_null_null(json_exists), [_TEXT, _TEXT, _TEXT], "BOOLEAN"),
    ("my_json_keys", _on_null_null(json_keys), [_TEXT, _TEXT], _TEXT),
    ("my_json_edit", _on_null_null(json_edit), [_TEXT, _TEXT, _TEXT], _TEXT),
    ("my_json_unquote", _on_null_null(json_unquote), [_TEXT], _TEXT),
    ("my_json_contains", _on_null_null(json_contains), [_TEXT, _TEXT], "BOOLEAN"),
    ("my_json_overlaps", _on_null_null(json_overlaps), [_TEXT, _TEXT], "BOOLEAN"),
    ("my_json_pretty", _on_null_null(json_pretty), [_TEXT], _TEXT),
    ("my_json_sorted", _on_null_null(json_sorted), [_TEXT], _TEXT),
    ("my_json_key", _on_null_null(json_key), [_TEXT], _BYTES),
    ("my_json_depth", _on_null_null(json_depth), [_TEXT], _WHOLE),
    ("my_json_merge_patch", _on_null_null(json_merge_patch), [_TEXT, _TEXT], _TEXT),
    ("my_json_merge_preserve", _on_null_null(json_merge_preserve), [_TEXT, _TEXT], _TEXT),
    ("my_conv", _on_null_null(conv), [_TEXT, "INTEGER", "INTEGER"], _TEXT),
    ("my_first_byte", _on_null_null(first_byte), [_BYTES], _WHOLE),
    ("my_trim", _on_null_null(trim), [_TEXT, _TEXT, _TEXT], _TEXT),
    ("my_ord", _on_null_null(ord_), [_TEXT], _WHOLE),
    ("my_soundex", _on_null_null(soundex), [_TEXT], _TEXT),
    ("my_format", _on_null_null(format_number), [_TEXT, "INTEGER"], _TEXT),
    ("my_inet_aton", _on_null_null(inet_aton), [_TEXT], _WHOLE),
    ("my_inet_ntoa", _on_null_null(inet_ntoa), [_WHOLE], _TEXT),
    ("my_char", _on_null_null(char), [_WHOLE], _BYTES),
    ("my_find", _on_null_null(find), [_TEXT, _TEXT], _WHOLE),
    ("my_insert", _on_null_null(insert), [_TEXT, _WHOLE, _WHOLE, _TEXT], _TEXT),
    ("my_sha2", _on_null_null(sha2), [_BYTES, "INTEGER"], _TEXT),
    ("my_compress", _on_null_null(compress), [_BYTES], _BYTES),
    ("my_time", _on_null_null(any_time), [_TEXT], _WHOLE),
    ("my_constant_time", _on_null_null(constant_time), [_TEXT], _WHOLE),
    ("my_time_of_number", _on_null_null(any_time_of_number), [_TEXT], _WHOLE),
    ("my_time_format", _on_null_null(time_format), [_WHOLE, _TEXT], _TEXT),
    ("my_any_datetime", _on_null_null(any_datetime), [_TEXT], "TIMESTAMP"),
    ("my_constant_datetime", _on_null_null(constant_datetime), [_TEXT], "TIMESTAMP"),
    ("my_datetime_of_number", _on_null_null(any_datetime_of_number), [_TEXT], "TIMESTAMP"),
    ("my_week", _on_null_null(week_number), ["TIMESTAMP", "INTEGER"], _WHOLE),
    ("my_year_week_in", _on_null_null(year_week), ["TIMESTAMP", "INTEGER"], _WHOLE),
    ("my_time_text", _on_null_null(printed_time), [_WHOLE, "INTEGER"], _TEXT),
    ("my_text", _on_null_null(decoded), [_BYTES], _TEXT),
    ("my_latin1", _on_null_null(latin1), [_BYTES], _TEXT),
    ("my_crc32", _on_null_null(crc32), [_BYTES], _WHOLE),
)
"""Name, implementation, types of arguments, type of the result; NULLs are passed in."""

WARNING: Final = frozenset(
    {
        *("my_str_to_date", "my_inet_aton", "my_text", "my_any_datetime", "my_datetime_of_number"),
        *("my_time", "my_time_of_number", "my_constant_datetime", "my_constant_time", "my_str_to_time"),
    }
)
"""Those that may warn: the engine must call them as often as rows ask for, and only then."""
