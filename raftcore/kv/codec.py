"""Messages as bytes: a JSON list of a message's name and its fields, checked against their annotations.

``["Set",3,5,0]keyvalue``: bytes stand behind the list, one after the other, and their lengths in it. A
message inside a message is a list inside the list. The list's own length comes before it, in four bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from struct import Struct
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from raftcore.kv.errors import BadMessage, BadRequest

_LENGTH = Struct(">I")
_SCALARS = {bool, int, str, NoneType}
_INTEGERS = range(1 << 64)
_to_json = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode


def encode(message: object) -> bytes:
    """The message's bytes. :raises BadRequest: when an integer is negative or too large."""
    parts: list[bytes] = []
    header = _to_json(_plain(message, parts)).encode()
    return b"".join((_LENGTH.pack(len(header)), header, *parts))


def decode_any(data: bytes, kind: Any) -> Any:
    """The message of ``kind``, a class or a union of them. :raises BadMessage: for any other bytes."""
    try:
        source = _Source(data, _LENGTH.size)
        header = source.take(int.from_bytes(data[: _LENGTH.size], "big"))
        message = _reader(kind)(_from_json(header.decode()), source)
        if source.at != len(data):
            raise ValueError(f"{len(data) - source.at} bytes too many")
    except (ValueError, TypeError, RecursionError) as error:
        expected = " or ".join(each.__name__ for each in get_args(kind) or (kind,))
        raise BadMessage(f"{len(data)} bytes where {expected} is expected: {error}") from None
    return message


class _Source:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, length: int) -> bytes:
        lo = self.at
        self.at += length
        if length < 0 or self.at > len(self.data):
            raise ValueError(f"{length} bytes where {len(self.data) - lo} are left")
        return self.data[lo : self.at]


def _plain(value: Any, parts: list[bytes]) -> Any:
    kind: Any = type(value)
    if kind is bytes:
        parts.append(value)
        return len(value)
    if kind is int and value not in _INTEGERS:
        raise BadRequest(f"integers are 0 to 2**64 - 1, not {value}")
    if kind in _SCALARS:
        return value
    if kind is tuple:
        return [_plain(each, parts) for each in value]
    plain = [kind.__name__]
    for name in _layout(kind):
        plain.append(_plain(getattr(value, name), parts))
    return plain


@cache
def _reader(kind: Any) -> Callable[[Any, _Source], Any]:
    """What makes a value of ``kind`` of what `_plain` made of it, or raises ValueError."""
    kinds: tuple[Any, ...] = get_args(kind)
    if kind is bytes:
        return lambda plain, source: source.take(_checked(plain, int))
    if kind in _SCALARS:
        return lambda plain, _: _checked(plain, kind)
    if get_origin(kind) is tuple:
        read_each = _reader(kinds[0])
        return lambda plain, source: tuple([read_each(each, source) for each in _checked(plain, list)])
    if NoneType in kinds:
        read_some = _reader(kinds[0])
        return lambda plain, source: None if plain is None else read_some(plain, source)
    messages = {
        each.__name__: (each, [_reader(field_kind) for field_kind in _layout(each).values()])
        for each in kinds or (kind,)
    }

    def read(plain: Any, source: _Source) -> Any:
        name, *values = _checked(plain, list)
        message, readers = messages.get(_checked(name, str), (None, ()))
        if message is None or len(values) > len(readers):
            raise ValueError(f"{name!r} with {len(values)} fields")
        return message(*[reader(value, source) for reader, value in zip(readers, values, strict=False)])

    return read


def _checked(plain: Any, kind: type[Any]) -> Any:
    if type(plain) is not kind or (kind is int and plain not in _INTEGERS):
        raise ValueError(f"{str(plain)[:40]!r} is no {kind.__name__}")
    return plain


@cache
def _layout(kind: Any) -> dict[str, Any]:
    """Names and annotations of a message's fields."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
