"""Network addresses and UUIDs. MySQL manual: Miscellaneous Functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from itertools import groupby
from typing import Final

from z4sql.sql.engine.refusals import Refused
from z4sql.sql.engine.warnings import shown, warn

_IPV4: Final = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_UUID: Final = re.compile(
    r"[0-9a-f]{32}|(\{)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?(1)\})", re.IGNORECASE
)
_NO_DIGITS: Final = re.compile(r"[{}-]")
_IPV4_PREFIX_BYTES: Final = 12
_MAPPED: Final = bytes(10) + b"\xff\xff"


def _incorrect(value: str, function: str) -> str:
    return f"Incorrect string value: '{shown(value)}' for function {function}"


def inet_aton(text: str) -> int | None:
    """INET_ATON; a short address leaves the middle zero, and so does nothing between two points."""
    parts = [part or "0" for part in text.split(".")]
    if not text or text.endswith(".") or len(parts) > 4 or not all(map(_is_octet, parts)):
        warn(1411, _incorrect(f"'{text}'", "inet_aton"))
        return None
    *head, last = map(int, parts)
    number = 0
    for part in head:
        number = number * 256 + part
    return number * 256 ** (4 - len(head)) + last if head else last


def _is_octet(part: str) -> bool:
    return part.isdecimal() and part.isascii() and int(part) < 256


def inet_ntoa(number: int) -> str | None:
    if not 0 <= number < 2**32:
        warn(1411, f"Incorrect integer value: '{number}' for function inet_ntoa")
        return None
    return _dotted(number.to_bytes(4, "big"))


def _dotted(data: bytes) -> str:
    return ".".join(map(str, data))


def inet6_aton(text: str) -> bytes | None:
    """INET6_ATON of an address of either family."""
    data = _ipv4(text) or _ipv6(text)
    if data is None:
        warn(1411, _incorrect(f"'{text}'", "inet6_aton"))
    return data


def _ipv4(text: str) -> bytes | None:
    found = _IPV4.fullmatch(text)
    parts = [int(part) for part in found.groups()] if found else []
    return bytes(parts) if parts and max(parts) < 256 else None


def _ipv6(text: str) -> bytes | None:
    try:
        return None if "%" in text else IPv6Address(text).packed
    except AddressValueError:
        return None


def inet6_ntoa(data: bytes) -> str | None:
    if len(data) == 4:
        return _dotted(data)
    if len(data) != 16:
        warn(1411, _incorrect(f"'{data.decode(errors='replace')}'", "inet6_ntoa"))
        return None
    if _is_embedded(data):
        return ("::ffff:" if data.startswith(_MAPPED) else "::") + _dotted(data[_IPV4_PREFIX_BYTES:])
    words = [f"{data[at] << 8 | data[at + 1]:x}" for at in range(0, 16, 2)]
    # The longest run of zeros, the first of several, is left out.
    runs = [list(run) for word, run in groupby(range(8), words.__getitem__) if word == "0"]
    if not runs:
        return ":".join(words)
    gap = max(runs, key=len)
    return ":".join(words[: gap[0]]) + "::" + ":".join(words[gap[-1] + 1 :])


def _is_embedded(data: bytes) -> bool:
    return data.startswith(_MAPPED) or (not any(data[:_IPV4_PREFIX_BYTES]) and any(data[12:14]))


def is_ipv4(text: str) -> bool:
    return _ipv4(text) is not None


def is_ipv6(text: str) -> bool:
    return _ipv6(text) is not None


def is_ipv4_compat(data: bytes) -> bool:
    """Whether it is an IPv4 address in the last bytes of zeros; ``::`` and ``::1`` are none."""
    return len(data) == 16 and not any(data[:_IPV4_PREFIX_BYTES]) and int.from_bytes(data, "big") > 1


def is_ipv4_mapped(data: bytes) -> bool:
    return len(data) == 16 and data.startswith(_MAPPED)


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def uuid_to_bin(text: str, swap: int) -> bytes:
    """UUID_TO_BIN. ``swap``: with the parts of the time in the order of their weight.

    :raises Refused: it is none (1411)
    """
    if not is_uuid(text):
        raise Refused(1411, _incorrect(text, "uuid_to_bin"))
    data = bytes.fromhex(_NO_DIGITS.sub("", text))
    return data[6:8] + data[4:6] + data[:4] + data[8:] if swap else data


def bin_to_uuid(data: bytes, swap: int) -> str:
    """:raises Refused: other than 16 bytes (1411)"""
    if len(data) != 16:
        written = "".join(chr(one) if 32 <= one < 127 else f"\\x{one:02X}" for one in data)
        raise Refused(1411, _incorrect(written, "bin_to_uuid"))
    ordered = data[4:8] + data[2:4] + data[:2] + data[8:] if swap else data
    return re.sub(r"(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5", ordered.hex())


_TEXT, _BYTES, _WHOLE, _TRUTH = "VARCHAR", "BLOB", "BIGINT", "BOOLEAN"

ADDRESSES: Final[tuple[tuple[str, Callable[..., object], list[str], str], ...]] = (
    ("my_inet_aton", inet_aton, [_TEXT], _WHOLE),
    ("my_inet_ntoa", inet_ntoa, [_WHOLE], _TEXT),
    ("my_inet6_aton", inet6_aton, [_TEXT], _BYTES),
    ("my_inet6_ntoa", inet6_ntoa, [_BYTES], _TEXT),
    ("my_is_ipv4", is_ipv4, [_TEXT], _TRUTH),
    ("my_is_ipv6", is_ipv6, [_TEXT], _TRUTH),
    ("my_is_ipv4_compat", is_ipv4_compat, [_BYTES], _TRUTH),
    ("my_is_ipv4_mapped", is_ipv4_mapped, [_BYTES], _TRUTH),
    ("my_is_uuid", is_uuid, [_TEXT], _TRUTH),
    ("my_uuid_to_bin", uuid_to_bin, [_TEXT, _WHOLE], _BYTES),
    ("my_bin_to_uuid", bin_to_uuid, [_BYTES, _WHOLE], _TEXT),
)
"""Name, implementation, types of arguments, type of the result; of NULL all give NULL."""
