"""JSON documents by path: found, searched, changed and compared. MySQL manual: JSON Functions.

A path comes as a JSON list of its legs: a name, a position (negative from the end: -1 is the last),
``["members"]``, ``["cells"]``, ``["to", first, last]``, and ``["any"]`` for ``**``. Documents are printed as
MySQL prints them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from z4sql.sql.engine.json_order import JsonValue

Leg = str | int | list[Any]
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def canonical(value: JsonValue) -> str:
    """A JSON value as MySQL prints it: names by (byte length, bytes)."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        members = (f"{json.dumps(name, ensure_ascii=False)}: {canonical(value[name])}" for name in names)
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def json_find(document: str, paths: str) -> str | None:
    """JSON_EXTRACT: the value of one plain path, else a list of all that were found; NULL for nothing."""
    value, listed = json.loads(document), _loaded(paths)
    found = [one for legs in listed for one in _found(value, legs, 0)]
    if not found:
        return None
    several = len(listed) > 1 or any(isinstance(leg, list) for leg in listed[0])
    return canonical(found if several else found[0])


def json_exists(document: str, mode: str, paths: str) -> bool:
    """JSON_CONTAINS_PATH; ``mode`` is one or all."""
    value = json.loads(document)
    found = (any(True for _ in _found(value, legs, 0)) for legs in _loaded(paths))
    return any(found) if mode == "one" else all(found)


def json_keys(document: str, path: str) -> str | None:
    """JSON_KEYS: NULL for what is no object."""
    found = next(_found(json.loads(document), _loaded(path)[0], 0), None)
    if not isinstance(found, dict):
        return None
    names = sorted(found, key=lambda name: (len(name.encode()), name.encode()))
    return canonical(list(names))


def json_search(document: str, mode: str, pattern: str, escape: str, paths: str) -> str | None:
    """JSON_SEARCH: the paths of texts like ``pattern``, the first one or all."""
    like, value = _like(pattern, escape or "\\"), json.loads(document)
    found = []
    for legs in _loaded(paths) or [[]]:
        for at, start in _located(value, legs, 0, "$"):
            for where, text in _texts(start, at):
                if like.match(text) and where not in found:
                    found.append(where)
    if not found:
        return None
    return canonical(found[0] if mode.lower() == "one" or len(found) == 1 else list(found))


def json_edit(mode: str, document: str, edits: str) -> str | None:
    """JSON_SET and its like. ``edits``: a JSON list of pairs of a path and a value, made one after another.

    ``mode``: set, insert, replace, remove, append or put (JSON_ARRAY_INSERT).
    """
    value = json.loads(document)
    for legs, new in json.loads(edits):
        value = _edited(value, legs, mode, new)
    return canonical(value)


def json_merge_patch(document: str, patch: str) -> str:
    """JSON_MERGE_PATCH: RFC 7396."""

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

    return canonical(merge(json.loads(document), json.loads(patch)))


def json_merge_preserve(document: str, other: str) -> str:
    """JSON_MERGE_PRESERVE of two documents."""

    def merge(one: JsonValue, two: JsonValue) -> JsonValue:
        if isinstance(one, dict) and isinstance(two, dict):
            merged = dict(one)
            for name, member in two.items():
                merged[name] = merge(merged[name], member) if name in merged else member
            return merged
        return [*_listed(one), *_listed(two)]

    return canonical(merge(json.loads(document), json.loads(other)))


def json_contains(document: str, candidate: str) -> bool:
    """JSON_CONTAINS."""
    return _contains(json.loads(document), json.loads(candidate))


def json_overlaps(document: str, other: str) -> bool:
    """JSON_OVERLAPS: a pair of members, an element, or a value in common."""
    one, two = json.loads(document), json.loads(other)
    if isinstance(one, dict) and isinstance(two, dict):
        return any(name in two and _equal(member, two[name]) for name, member in one.items())
    return any(_equal(left, right) for left in _listed(one) for right in _listed(two))


def json_pretty(document: str) -> str:
    """JSON_PRETTY."""
    return json.dumps(json.loads(document), ensure_ascii=False, indent=2)


def json_sorted(document: str) -> str:
    """The document as MySQL prints it."""
    return canonical(json.loads(document))


def json_depth(document: str) -> int:
    """JSON_DEPTH."""

    def depth(value: JsonValue) -> int:
        members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max(map(depth, members), default=0)

    return depth(json.loads(document))


def json_unquote(text: str) -> str:
    """JSON_UNQUOTE of a text: as it is, unless it is a JSON string in quotes."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        return text


@lru_cache(maxsize=256)
def _loaded(paths: str) -> list[list[Leg]]:
    loaded: list[list[Leg]] = json.loads(paths)
    return loaded


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value]


def _found(value: JsonValue, legs: list[Leg], at: int) -> Iterator[JsonValue]:
    return (found for _, found in _located(value, legs[at:], 0, "$"))


def _located(value: JsonValue, legs: list[Leg], at: int, where: str) -> Iterator[tuple[str, JsonValue]]:
    """Where the path leads, and what is there."""
    if at == len(legs):
        yield where, value
        return
    leg = legs[at]
    if isinstance(leg, list) and leg[0] == "any":
        yield from _located_below(value, legs, at, where)
        return
    for name, member in _children(value, leg):
        yield from _located(member, legs, at + 1, where + name)


def _located_below(value: JsonValue, legs: list[Leg], at: int, where: str) -> Iterator[tuple[str, JsonValue]]:
    if at + 1 < len(legs):
        yield from _located(value, legs, at + 1, where)
    for name, member in _children(value, ["members"]):
        yield from _located_below(member, legs, at, where + name)
    if isinstance(value, list):
        for name, member in _children(value, ["cells"]):
            yield from _located_below(member, legs, at, where + name)


def _children(value: JsonValue, leg: Leg) -> Iterator[tuple[str, JsonValue]]:
    match leg:
        case str():
            if isinstance(value, dict) and leg in value:
                yield _member_leg(leg), value[leg]
        case int():
            cells = _listed(value)
            position = leg if leg >= 0 else len(cells) + leg
            if 0 <= position < len(cells):
                # A value that is no array stands for an array of itself.
                yield f"[{position}]" if isinstance(value, list) else "", cells[position]
        case ["members"]:
            if isinstance(value, dict):
                for name in sorted(value, key=lambda each: (len(each.encode()), each.encode())):
                    yield _member_leg(name), value[name]
        case ["cells"]:
            if isinstance(value, list):
                yield from ((f"[{index}]", cell) for index, cell in enumerate(value))
        case ["to", int() as first, int() as last]:
            cells = _listed(value)
            start, end = (edge if edge >= 0 else len(cells) + edge for edge in (first, last))
            for index in range(max(start, 0), min(end, len(cells) - 1) + 1):
                yield f"[{index}]", cells[index]
        case _:
            raise ValueError(f"a leg of another kind: {leg}")


def _member_leg(name: str) -> str:
    return f".{name}" if _PLAIN_NAME.fullmatch(name) else f".{json.dumps(name, ensure_ascii=False)}"


def _texts(value: JsonValue, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, (dict, list)):
        for name, member in _children(value, ["members"] if isinstance(value, dict) else ["cells"]):
            yield from _texts(member, where + name)


@lru_cache(maxsize=256)
def _like(pattern: str, escape: str) -> re.Pattern[str]:
    out, at = "", 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == escape and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += ".*" if letter == "%" else "." if letter == "_" else re.escape(letter)
        at += 1
    return re.compile(out + r"\Z", re.DOTALL)


def _edited(value: JsonValue, legs: list[Leg], mode: str, new: JsonValue) -> JsonValue:
    if not legs:
        if mode in ("set", "replace"):
            return new
        return [*_listed(value), new] if mode == "append" else value
    leg, *rest = legs
    if rest or mode == "append":
        return _edited_inside(value, leg, rest, mode, new)
    if isinstance(leg, str):
        return _edited_member(value, leg, mode, new)
    assert isinstance(leg, int)
    return _edited_cell(value, leg, mode, new)


def _edited_inside(value: JsonValue, leg: Leg, rest: list[Leg], mode: str, new: JsonValue) -> JsonValue:
    if isinstance(leg, str):
        if isinstance(value, dict) and leg in value:
            return {**value, leg: _edited(value[leg], rest, mode, new)}
        return value
    assert isinstance(leg, int)
    cells = list(_listed(value))
    position = leg if leg >= 0 else len(cells) + leg
    if not 0 <= position < len(cells):
        return value
    cells[position] = _edited(cells[position], rest, mode, new)
    return cells if isinstance(value, list) else cells[0]


def _edited_member(value: JsonValue, name: str, mode: str, new: JsonValue) -> JsonValue:
    if not isinstance(value, dict):
        return value
    if mode == "remove":
        return {other: member for other, member in value.items() if other != name}
    there = name in value
    if mode == "set" or (mode == "insert" and not there) or (mode == "replace" and there):
        return {**value, name: new}
    return value


def _edited_cell(value: JsonValue, leg: int, mode: str, new: JsonValue) -> JsonValue:
    cells = list(_listed(value))
    position = leg if leg >= 0 else len(cells) + leg
    there = 0 <= position < len(cells)
    if mode == "remove":
        return [*cells[:position], *cells[position + 1 :]] if there and isinstance(value, list) else value
    if mode == "put":
        position = max(position, 0)
        return [*cells[:position], new, *cells[position:]] if isinstance(value, list) else value
    if there:
        if mode == "insert":
            return value
        if not isinstance(value, list):
            return new
        cells[position] = new
        return cells
    return value if mode == "replace" else [new, *cells] if position < 0 else [*cells, new]


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


def _equal(one: JsonValue, other: JsonValue) -> bool:
    """Booleans are no numbers in JSON."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other
