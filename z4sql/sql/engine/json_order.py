"""The order of JSON values. MySQL manual: The JSON Data Type, Comparison and Ordering of JSON Values."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from typing import Final

JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | Decimal | bool | None

_NULL, _NUMBER, _STRING, _OBJECT, _ARRAY, _BOOLEAN = (bytes((rank,)) for rank in range(1, 7))
_END: Final = b"\0"
_SIGN: Final = 1 << 63
_REST_BIAS: Final = 1 << 127


def json_key(document: str) -> bytes:
    """Bytes that compare as the document does; equal for equal documents."""
    return _key(json.loads(document))


def _key(value: JsonValue) -> bytes:
    match value:
        case None:
            return _NULL
        case bool():
            return _BOOLEAN + bytes((value,))
        case int() | float() | Decimal():
            return _NUMBER + _number(value)
        case str():
            return _STRING + _text(value)
        case list():
            return _ARRAY + b"".join(map(_key, value)) + _END
        case dict():
            # Of unequal objects MySQL promises an order, but not which.
            names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
            members = b"".join(_text(name) + _key(value[name]) for name in names)
            return _OBJECT + len(value).to_bytes(4, "big") + members


def _text(value: str) -> bytes:
    """With an end that is before every other character."""
    return value.encode(errors="surrogatepass").replace(_END, _END + b"\xff") + _END + _END


def _number(value: float | Decimal) -> bytes:
    """By the nearest double, and what a whole number has beyond it."""
    nearest = float(value) + 0.0
    (bits,) = struct.unpack(">Q", struct.pack(">d", nearest))
    ordered = bits ^ (_SIGN if bits < _SIGN else (1 << 64) - 1)
    rest = value - int(nearest) if isinstance(value, int) else 0
    return struct.pack(">Q", ordered) + (rest + _REST_BIAS).to_bytes(16, "big")
