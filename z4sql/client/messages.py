"""Messages made of what a caller gave. Protocol Buffers do not say which value did not fit: this does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from z4sql.client.errors import InvalidTask

M = TypeVar("M", bound=Message)

_TYPES: Final[Mapping[int, type]] = {
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_BYTES: bytes,
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_UINT32: int,
    FieldDescriptor.TYPE_UINT64: int,
    FieldDescriptor.TYPE_INT32: int,
    FieldDescriptor.TYPE_INT64: int,
}
_RANGES: Final[Mapping[int, tuple[int, int]]] = {
    FieldDescriptor.TYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
    FieldDescriptor.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
}
"""Of the message; the cluster's own limits are narrower."""


def message_of(kind: type[M], names: Mapping[str, str] | None = None, **fields: Any) -> M:
    """A message with these fields; None leaves one out. ``names``: what callers know fields by, if otherwise.

    :raises InvalidTask: :raises TypeError: naming the field that does not fit.
    """
    try:
        return kind(**fields)
    except (TypeError, ValueError, AttributeError):
        for name, value in fields.items():
            if value is not None:
                field = kind.DESCRIPTOR.fields_by_name[name]
                _check((names or {}).get(name, name), field, value)  # type: ignore[arg-type]  # one interface
        raise


def _check(name: str, field: FieldDescriptor, value: object) -> None:
    """Say what is wrong with one field's value, if anything is."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        if not isinstance(value, Mapping):
            raise TypeError(f"{name}: must be a mapping of str to str, is {type(value).__name__}")
        for text in (text for pair in value.items() for text in pair):
            if not isinstance(text, str):
                raise TypeError(f"{name}: must be a mapping of str to str, holds {text!r}")
            _check_text(name, text)
    elif field.is_repeated:
        wanted = _TYPES.get(field.type)
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise TypeError(f"{name}: must be a sequence, is {type(value).__name__}")
        for one in value:
            if wanted is not None:
                _check_one(name, field.type, wanted, one)
    elif field.type in _TYPES:
        _check_one(name, field.type, _TYPES[field.type], value)
    elif not isinstance(value, float | int):
        raise TypeError(f"{name}: must be a number, is {type(value).__name__}")


def _check_one(name: str, kind: int, wanted: type, value: object) -> None:
    if not isinstance(value, wanted):
        raise TypeError(f"{name}: must be {wanted.__name__}, is {type(value).__name__}")
    if isinstance(value, str):
        _check_text(name, value)
    if kind in _RANGES and isinstance(value, int):
        least, most = _RANGES[kind]
        if not least <= value <= most:
            raise InvalidTask(f"{name}: must lie between {least} and {most}, is {value}")


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidTask(f"{name}: is not valid Unicode") from None
