"""Dataclasses as bytes, by the annotations of their fields.

A message's bytes are its number and its fields in order. Integers are never negative and take seven bits a
byte, lowest first; text and bytes follow their length; an optional field follows a byte that tells whether it
is there; a tuple follows its length; a message inside a message is written as bytes are.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from raftcore.kv.errors import BadMessage, BadRequest


class Codec:
    """Knows messages by their ``numbers``, 0 to 255."""

    def __init__(self, numbers: Mapping[type[Any], int]) -> None:
        self._numbers = numbers
        self._kinds = {number: kind for kind, number in numbers.items()}

    def encode(self, message: object) -> bytes:
        """The message's bytes. :raises BadRequest: when an integer is negative or too large."""
        kind: Any = type(message)
        out = bytearray((self._numbers[kind],))
        for name, field_kind in _layout(kind):
            self._put(out, field_kind, getattr(message, name))
        return bytes(out)

    def decode(self, data: bytes, kinds: tuple[type[Any], ...]) -> Any:
        """The message of one of ``kinds`` whose bytes are ``data``.

        :raises BadMessage: when they are anything else.
        """
        kind: Any = self._kinds.get(data[0]) if data else None
        if kind is None or kind not in kinds:
            expected = " or ".join(each.__name__ for each in kinds)
            raise BadMessage(f"{len(data)} bytes where {expected} is expected")
        source = _Source(data)
        values = [self._take(source, field_kind) for _, field_kind in _layout(kind)]
        if source.at != len(data):
            raise BadMessage(f"{len(data) - source.at} bytes behind a {kind.__name__}")
        return kind(*values)

    def _put(self, out: bytearray, kind: Any, value: Any) -> None:
        if kind is int or kind is bool:
            _put_integer(out, value)
        elif kind is bytes:
            _put_integer(out, len(value))
            out += value
        elif kind is str:
            self._put(out, bytes, value.encode())
        elif get_origin(kind) is tuple:
            _put_integer(out, len(value))
            for each in value:
                self._put(out, bytes, self.encode(each))
        elif (plain := _optional(kind)) is not None:
            out.append(value is not None)
            if value is not None:
                self._put(out, plain, value)
        else:
            self._put(out, bytes, self.encode(value))

    def _take(self, source: _Source, kind: Any) -> Any:
        if kind is int:
            return source.integer()
        if kind is bool:
            return bool(source.integer())
        if kind is bytes:
            return source.octets()
        if kind is str:
            try:
                return source.octets().decode()
            except UnicodeDecodeError:
                raise BadMessage("text that is not UTF-8") from None
        if get_origin(kind) is tuple:
            return tuple(self.decode(source.octets(), get_args(kind)[:1]) for _ in range(source.integer()))
        if (plain := _optional(kind)) is not None:
            return self._take(source, plain) if source.integer() else None
        return self.decode(source.octets(), get_args(kind) or (kind,))


class _Source:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 1

    def integer(self) -> int:
        value = shift = 0
        while self.at < len(self.data) and shift < 64:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80 and value < 1 << 64:
                return value
            shift += 7
        raise BadMessage("an integer without its end")

    def octets(self) -> bytes:
        length = self.integer()
        lo = self.at
        self.at += length
        if self.at > len(self.data):
            raise BadMessage(f"{length} bytes where {len(self.data) - lo} are left")
        return self.data[lo : self.at]


@cache
def _layout(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Names and annotations of a message's fields."""
    hints = get_type_hints(kind)
    return tuple((field.name, hints[field.name]) for field in fields(kind))


def _put_integer(out: bytearray, value: int) -> None:
    if not 0 <= value < 1 << 64:
        raise BadRequest(f"integers are 0 to 2**64 - 1, not {value}")
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


@cache
def _optional(kind: Any) -> Any:
    """The X of ``X | None``; None for any other annotation."""
    if get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind):
        return next(each for each in get_args(kind) if each is not type(None))
    return None
