"""JSON values: read from and printed as the texts that stand for them in the engine, compared and merged.

Such a text is the document as MySQL prints it. MySQL manual: The JSON Data Type; JSON Functions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from z4sql.sql.engine.json_order import JsonValue
from z4sql.sql.engine.refusals import Refused
from z4sql.sql.render import double_text

_READ_INT_MAX: Final = 2**32 - 1
_SMALL: Final = 2
_LARGE: Final = 4
"""Bytes of an offset inside a document, which is large where 16 bits do not count its bytes."""
_SMALL_MAX: Final = 2**16 - 1


def loaded(document: str) -> JsonValue:
    """The value of a text that `canonical` printed."""
    value: JsonValue = json.loads(document, parse_float=json_number)
    return value


def json_number(digits: str) -> float | Decimal:
    """A double prints as it is read; what does not is a decimal."""
    number = float(digits)
    return number if _double(number) == digits else Decimal(digits)


def _double(number: float) -> str:
    text = double_text(number).decode()
    return text if "e" in text or "." in text else text + ".0"


def by_name(names: Iterable[str]) -> list[str]:
    """Names of members in MySQL's order: by length in bytes, then by bytes."""
    return sorted(names, key=lambda name: (len(name.encode()), name.encode()))


def canonical(value: JsonValue) -> str:
    """A JSON value as MySQL prints it."""
    return _printed(value, ", ", "", "")


def _printed(value: JsonValue, between: str, indent: str, line: str) -> str:
    """``indent`` for each level behind ``line``; both are empty where all is on one line."""
    match value:
        case dict() if value:
            inner = line + indent
            cells = (
                f"{_text(name)}: {_printed(value[name], between, indent, inner)}" for name in by_name(value)
            )
            return f"{{{inner}{(between + inner).join(cells)}{line}}}"
        case list() if value:
            inner = line + indent
            cells = (_printed(cell, between, indent, inner) for cell in value)
            return f"[{inner}{(between + inner).join(cells)}{line}]"
        case str():
            return _text(value)
        case float():
            return _double(value)
        case Decimal():
            return f"{value:f}"
        case _:
            return json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def json_pretty(document: str) -> str:
    """JSON_PRETTY."""
    return _printed(loaded(document), ",", "  ", "\n")


def json_depth(document: str) -> int:
    """JSON_DEPTH."""

    def depth(value: JsonValue) -> int:
        members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max(map(depth, members), default=0)

    return depth(loaded(document))


def json_type(document: str) -> str:
    """JSON_TYPE."""
    match loaded(document):
        case None:
            return "NULL"
        case bool():
            return "BOOLEAN"
        case int() as number:
            # So MySQL takes whole numbers that it reads from a text.
            return "INTEGER" if number <= _READ_INT_MAX else "UNSIGNED INTEGER"
        case Decimal():
            return "DECIMAL"
        case float():
            return "DOUBLE"
        case str():
            return "STRING"
        case list():
            return "ARRAY"
        case dict():
            return "OBJECT"


def json_object_of(members: str) -> str:
    """An object of a JSON list of names and values in turn; of several values of a name, the last."""
    cells = loaded(members)
    assert isinstance(cells, list)
    named: dict[str, JsonValue] = {}
    for name, member in zip(cells[::2], cells[1::2], strict=True):
        if name is None:
            raise Refused(3158, "JSON documents may not contain NULL member names.", "22032")
        named[str(name)] = member
    return canonical(named)


def json_size(document: str) -> int:
    """JSON_STORAGE_SIZE: bytes of MySQL's binary form (json_binary.h), a byte for its type among them."""
    value = loaded(document)
    size = _stored_size(value, _SMALL)
    return 1 + (size if size <= _SMALL_MAX else _stored_size(value, _LARGE))


def _stored_size(value: JsonValue, offset: int) -> int:
    """``offset``: bytes of counts, sizes and offsets."""
    match value:
        case None | bool():
            return 1
        case int():
            return next(size for size in (2, 4, 8) if _fits(value, size))
        case float():
            return 8
        case Decimal():
            return 4 + _decimal_size(value)
        case str():
            return _length_size(len(value.encode())) + len(value.encode())
    members = value.values() if isinstance(value, dict) else value
    size = 2 * offset + sum(1 + offset + _beside(member, offset) for member in members)
    if isinstance(value, dict):
        size += sum(offset + 2 + len(name.encode()) for name in value)
    return size


def _beside(member: JsonValue, offset: int) -> int:
    """Bytes of a member outside its entry, which holds small values itself."""
    if member is None or isinstance(member, bool) or (isinstance(member, int) and _fits(member, offset)):
        return 0
    return _stored_size(member, offset)


def _fits(number: int, size: int) -> bool:
    return size == 8 or -(1 << (8 * size - 1)) <= number < 1 << (8 * size - 1)


def _decimal_size(number: Decimal) -> int:
    """Four bytes for nine digits, on either side of the point."""
    _, digits, exponent = number.as_tuple()
    after = -int(exponent)
    sides = (max(len(digits) - after, 0), after)
    return sum(side // 9 * 4 + (side % 9 + 1) // 2 for side in sides)


def _length_size(length: int) -> int:
    return max(1, -(-length.bit_length() // 7))


def json_contains(document: str, candidate: str) -> bool:
    """JSON_CONTAINS."""
    return _contains(loaded(document), loaded(candidate))


def _contains(target: JsonValue, candidate: JsonValue) -> bool:
    if isinstance(target, list):
        if isinstance(candidate, list):
            return all(_contains(target, one) for one in candidate)
        return any(_contains(cell, candidate) for cell in target)
    if isinstance(target, dict):
        return isinstance(candidate, dict) and all(
            name in target and _contains(target[name], member) for name, member in candidate.items()
        )
    return _equal(target, candidate)


def json_overlaps(document: str, other: str) -> bool:
    """JSON_OVERLAPS: a pair of members, an element, or a value in common."""
    one, two = loaded(document), loaded(other)
    if isinstance(one, dict) and isinstance(two, dict):
        return any(name in two and _equal(member, two[name]) for name, member in one.items())
    if isinstance(one, list) or isinstance(two, list):
        return any(_equal(left, right) for left in listed(one) for right in listed(two))
    return _equal(one, two)


def json_member_of(candidate: str, document: str) -> bool:
    """MEMBER OF: an element of an array; of what is no array, the value itself."""
    value = loaded(candidate)
    return any(_equal(value, cell) for cell in listed(loaded(document)))


def _equal(one: JsonValue, other: JsonValue) -> bool:
    """Booleans are no numbers in JSON, at no level."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
        case list(), list():
            return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def listed(value: JsonValue) -> list[JsonValue]:
    """The cells of an array; a value that is none stands for an array of itself."""
    return value if isinstance(value, list) else [value]


def json_merge_patch(document: str | None, patch: str | None) -> str | None:
    """JSON_MERGE_PATCH of two documents: RFC 7396. What is NULL is unknown, until it is replaced."""

    def merge(target: JsonValue, change: JsonValue) -> JsonValue:
        if not isinstance(change, dict):
            return change
        merged = dict(target) if isinstance(target, dict) else {}
        for name, member in change.items():
            if member is None:
                merged.pop(name, None)
            else:
                merged[name] = merge(merged.get(name), member)
        return merged

    if patch is None or (document is None and patch.startswith("{")):
        return None
    return canonical(merge(None if document is None else loaded(document), loaded(patch)))


def json_merge_preserve(document: str, other: str) -> str:
    """JSON_MERGE_PRESERVE of two documents."""

    def merge(one: JsonValue, two: JsonValue) -> JsonValue:
        if isinstance(one, dict) and isinstance(two, dict):
            merged = dict(one)
            for name, member in two.items():
                merged[name] = merge(merged[name], member) if name in merged else member
            return merged
        return [*listed(one), *listed(two)]

    return canonical(merge(loaded(document), loaded(other)))
