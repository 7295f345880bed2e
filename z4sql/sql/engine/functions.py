"""MySQL functions that the engine lacks, in Python: called per row, so only what is rarely asked for."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache, reduce, wraps
from itertools import accumulate, pairwise, takewhile
from typing import Any, Final, TypeVar

from z4sql.sql.engine.addresses import ADDRESSES
from z4sql.sql.engine.json_columns import json_rows, json_value
from z4sql.sql.engine.json_order import json_key
from z4sql.sql.engine.json_paths import (
    json_edit,
    json_exists,
    json_find,
    json_keys,
    json_only,
    json_search,
)
from z4sql.sql.engine.json_reading import argument_of, json_unquote, json_valid
from z4sql.sql.engine.json_schema import json_schema_report, json_schema_valid
from z4sql.sql.engine.json_values import (
    canonical,
    json_contains,
    json_depth,
    json_member_of,
    json_merge_patch,
    json_merge_preserve,
    json_object_of,
    json_overlaps,
    json_pretty,
    json_size,
    json_type,
)
from z4sql.sql.engine.number_formats import format_bytes, format_double, format_exact, format_pico_time
from z4sql.sql.engine.str_to_date import str_to_date, str_to_time
from z4sql.sql.engine.temporal_parts import (
    amount,
    date_part,
    date_part_of_number,
    extracted,
    period_between,
    period_moved,
    time_added,
    time_between,
    time_of_day,
)
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
from z4sql.sql.render import TEXT_WIDTH, double_text, time_text

_CANDIDATES_MAX = 1_000
"""Stretches that differ from what is sought in their bytes alone: each costs as much as it is long."""
_RANDOM_MAX = 0x3FFFFFFF
_SIZE_BYTES = 4
_SIZE_MAX = 2**30 - 1
_UNCOMPRESSED_MAX = 67_108_864
_INVALID_BYTES = 6
"""Of a wrong character, in a message."""


def conv(text: str, source: int, target: int) -> str | None:
    """CONV between bases 2 to 36; of a negative base, numbers have a sign. MySQL manual: CONV()."""
    signed, source, target = target < 0, abs(source), abs(target)
    if not 2 <= source <= 36 or not 2 <= target <= 36 or not text:
        return None
    match = re.match(r"\s*([+-]?)([0-9A-Za-z]*)", text, re.ASCII)
    sign, written = match.groups() if match else ("", "")
    read = list(takewhile(lambda digit: digit < source, (int(character, 36) for character in written)))
    # As far as it is told apart: a number of a million digits takes minutes.
    number = reduce(lambda value, digit: min(value * source + digit, 2**64), read, 0)
    if not read or number >= 2**64:
        warn(1292, f"Truncated incorrect DECIMAL value: '{shown(text)}'")
    number = -number % 2**64 if sign == "-" else min(number, 2**64 - 1)
    digits, sign = "", ""
    if signed and number >= 2**63:
        number, sign = 2**64 - number, "-"
    while number:
        number, digit = divmod(number, target)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + digits
    return sign + digits or "0"


def seeded(seed: int) -> float:
    """RAND(N): the first number that MySQL's generator gives from there. MySQL: ``randominit``."""
    bits = seed % 2**32
    one = (bits * 0x10001 + 55_555_555) % 2**32 % _RANDOM_MAX
    other = bits * 0x10000001 % 2**32 % _RANDOM_MAX
    return (one * 3 + other) % _RANDOM_MAX / _RANDOM_MAX


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
    """SOUNDEX: a sound counts once until another comes, whatever vowels stand between."""
    letters = [letter for letter in text if (letter.isascii() and letter.isalpha()) or letter >= "\xc0"]
    if not letters:
        return ""
    first = letters[0].upper() if letters[0].isascii() else letters[0]
    sounds = [sound for sound in (_SOUNDS.get(letter.upper(), "") for letter in letters[1:]) if sound]
    heard = [sound for before, sound in pairwise([_SOUNDS.get(first, ""), *sounds]) if sound != before]
    return (first + "".join(heard)).ljust(4, "0")


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


def sha2(data: bytes | None, bits: int | None) -> str | None:
    if bits not in (0, 224, 256, 384, 512):
        warn(1583, "Incorrect parameters in the call to native function 'sha2'")
        return None
    return None if data is None else hashlib.new(f"sha{bits or 256}", data).hexdigest()


def compress(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + zlib.compress(data) if data else data


def uncompress(data: bytes) -> bytes | None:
    """What `compress` made of bytes as they were; of nothing nothing."""
    if not data:
        return data
    size = uncompressed_length(data)
    if size > _UNCOMPRESSED_MAX:
        warn(
            1256,
            f"Uncompressed data size too large; the maximum size is {_UNCOMPRESSED_MAX}"
            " (probably, length of uncompressed data was corrupted)",
        )
        return None
    try:
        return zlib.decompress(data[_SIZE_BYTES:]) if size else None
    except zlib.error:
        warn(1259, "ZLIB: Input data corrupted")
        return None


def uncompressed_length(data: bytes) -> int:
    if 0 < len(data) <= _SIZE_BYTES:
        warn(1259, "ZLIB: Input data corrupted")
        return 0
    return int.from_bytes(data[:_SIZE_BYTES], "little") & _SIZE_MAX


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


def any_day(text: str) -> datetime | None:
    """As `any_datetime` where only the date is wanted."""
    return _told_day(text, warn)


def constant_day(text: str) -> datetime | None:
    return _told_day(text, warn_once)


def _told_day(text: str, tell: Callable[[int, str], None]) -> datetime | None:
    moment, ignored = read_datetime(text)
    if moment is None or ignored:
        tell(1292, f"Truncated incorrect date value: '{shown(text)}'")
    return moment


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


def json_argument(text: str, number: int, function: str) -> str:
    """A text as a JSON document."""
    return canonical(argument_of(text, number, function))


def latin1(data: bytes) -> str:
    """Bytes as text of as many characters, for LIKE and LOCATE on blobs."""
    return data.decode("latin-1")


def sized_binary(data: bytes, size: int) -> bytes:
    """CAST AS BINARY(n): cut, or with zeros at its end."""
    if len(data) > size:
        written = "".join(chr(one) if 32 <= one < 127 else f"\\x{one:02X}" for one in data)
        warn(1292, f"Truncated incorrect BINARY({size}) value: '{shown(written)}'")
    return data[:size].ljust(size, b"\0")


def octets(text: str) -> bytes:
    """What `latin1` made of bytes as bytes again."""
    return text.encode("latin-1")


def crc32(data: bytes) -> int:
    return zlib.crc32(data)


def printed_time(microseconds: int, fsp: int) -> str:
    return time_text(microseconds, fsp).decode()


def wide_double(number: float) -> str:
    """A very large or small number as text."""
    return double_text(number, TEXT_WIDTH).decode()


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
    ("my_json", _on_null_null(json_argument), [_TEXT, _WHOLE, _TEXT], _TEXT),
    ("my_json_only", _on_null_null(json_only), [_TEXT, _TEXT], _TEXT),
    ("my_json_object", _on_null_null(json_object_of), [_TEXT], _TEXT),
    ("my_json_schema_valid", _on_null_null(json_schema_valid), [_TEXT, _TEXT], "BOOLEAN"),
    ("my_json_schema_report", _on_null_null(json_schema_report), [_TEXT, _TEXT], _TEXT),
    ("my_json_size", _on_null_null(json_size), [_TEXT], _WHOLE),
    ("my_json_type", _on_null_null(json_type), [_TEXT], _TEXT),
    ("my_json_value", _on_null_null(json_value), [_TEXT, _TEXT], _TEXT),
    ("my_json_rows", _on_null_null(json_rows), [_TEXT, _TEXT], "VARCHAR[][]"),
    ("my_json_valid", _on_null_null(json_valid), [_TEXT], "BOOLEAN"),
    ("my_json_member_of", _on_null_null(json_member_of), [_TEXT, _TEXT], "BOOLEAN"),
    ("my_json_key", _on_null_null(json_key), [_TEXT], _BYTES),
    ("my_json_depth", _on_null_null(json_depth), [_TEXT], _WHOLE),
    ("my_json_merge_patch", json_merge_patch, [_TEXT, _TEXT], _TEXT),
    ("my_json_merge_preserve", _on_null_null(json_merge_preserve), [_TEXT, _TEXT], _TEXT),
    ("my_conv", _on_null_null(conv), [_TEXT, _WHOLE, _WHOLE], _TEXT),
    ("my_seeded", _on_null_null(seeded), [_WHOLE], "DOUBLE"),
    ("my_first_byte", _on_null_null(first_byte), [_BYTES], _WHOLE),
    ("my_trim", _on_null_null(trim), [_TEXT, _TEXT, _TEXT], _TEXT),
    ("my_ord", _on_null_null(ord_), [_TEXT], _WHOLE),
    ("my_soundex", _on_null_null(soundex), [_TEXT], _TEXT),
    ("my_format", _on_null_null(format_exact), [_TEXT, _WHOLE, _TEXT], _TEXT),
    ("my_format_double", _on_null_null(format_double), ["DOUBLE", _WHOLE, _TEXT], _TEXT),
    ("my_char", _on_null_null(char), [_WHOLE], _BYTES),
    ("my_find", _on_null_null(find), [_TEXT, _TEXT], _WHOLE),
    ("my_insert", _on_null_null(insert), [_TEXT, _WHOLE, _WHOLE, _TEXT], _TEXT),
    ("my_sha2", sha2, [_BYTES, _WHOLE], _TEXT),
    ("my_compress", _on_null_null(compress), [_BYTES], _BYTES),
    ("my_uncompress", _on_null_null(uncompress), [_BYTES], _BYTES),
    ("my_uncompressed_length", _on_null_null(uncompressed_length), [_BYTES], _WHOLE),
    ("my_time", _on_null_null(any_time), [_TEXT], _WHOLE),
    ("my_constant_time", _on_null_null(constant_time), [_TEXT], _WHOLE),
    ("my_time_of_number", _on_null_null(any_time_of_number), [_TEXT], _WHOLE),
    ("my_time_format", _on_null_null(time_format), [_WHOLE, _TEXT], _TEXT),
    ("my_any_datetime", _on_null_null(any_datetime), [_TEXT], "TIMESTAMP"),
    ("my_any_day", _on_null_null(any_day), [_TEXT], "TIMESTAMP"),
    ("my_constant_day", _on_null_null(constant_day), [_TEXT], "TIMESTAMP"),
    ("my_constant_datetime", _on_null_null(constant_datetime), [_TEXT], "TIMESTAMP"),
    ("my_datetime_of_number", _on_null_null(any_datetime_of_number), [_TEXT], "TIMESTAMP"),
    ("my_date_part", _on_null_null(date_part), [_TEXT, _TEXT], _WHOLE),
    ("my_date_part_of_number", _on_null_null(date_part_of_number), [_TEXT, _TEXT], _WHOLE),
    ("my_extracted", _on_null_null(extracted), [_TEXT, _TEXT], _WHOLE),
    ("my_amount", _on_null_null(amount), [_TEXT, _TEXT], _WHOLE),
    ("my_time_of_day", _on_null_null(time_of_day), [_TEXT], _WHOLE),
    ("my_time_added", _on_null_null(time_added), [_TEXT, _WHOLE], _TEXT),
    ("my_time_between", _on_null_null(time_between), [_TEXT, _TEXT], _WHOLE),
    ("my_period_moved", _on_null_null(period_moved), [_WHOLE, _WHOLE], _WHOLE),
    ("my_period_between", _on_null_null(period_between), [_WHOLE, _WHOLE], _WHOLE),
    ("my_week", _on_null_null(week_number), ["TIMESTAMP", "INTEGER"], _WHOLE),
    ("my_year_week_in", _on_null_null(year_week), ["TIMESTAMP", "INTEGER"], _WHOLE),
    ("my_time_text", _on_null_null(printed_time), [_WHOLE, "INTEGER"], _TEXT),
    ("my_wide_double", _on_null_null(wide_double), ["DOUBLE"], _TEXT),
    ("my_text", _on_null_null(decoded), [_BYTES], _TEXT),
    ("my_latin1", _on_null_null(latin1), [_BYTES], _TEXT),
    ("my_binary", _on_null_null(sized_binary), [_BYTES, _WHOLE], _BYTES),
    ("my_octets", _on_null_null(octets), [_TEXT], _BYTES),
    ("my_crc32", _on_null_null(crc32), [_BYTES], _WHOLE),
    ("my_format_bytes", _on_null_null(format_bytes), ["DOUBLE"], _TEXT),
    ("my_format_pico_time", _on_null_null(format_pico_time), ["DOUBLE"], _TEXT),
    *((name, _on_null_null(call), arguments, result) for name, call, arguments, result in ADDRESSES),
)
"""Name, implementation, types of arguments, type of the result; NULLs are passed in."""

WARNING: Final = frozenset(
    {
        *("my_conv", "my_format", "my_format_double", "my_str_to_date", "my_inet_aton", "my_text"),
        *("my_inet_ntoa", "my_inet6_aton", "my_inet6_ntoa", "my_uncompress", "my_uncompressed_length"),
        *("my_any_datetime", "my_datetime_of_number", "my_sha2", "my_binary"),
        *("my_time", "my_time_of_number", "my_constant_datetime", "my_constant_time", "my_str_to_time"),
        *("my_json_value", "my_date_part", "my_date_part_of_number", "my_extracted"),
        *("my_any_day", "my_constant_day"),
        *("my_time_added", "my_time_between", "my_time_of_day"),
    }
)
"""Those that may warn: the engine must call them as often as rows ask for, and only then."""
