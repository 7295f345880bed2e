"""JSON documents by path: found, searched and changed. MySQL manual: JSON Functions.

Documents come, and are given, as `z4sql.sql.engine.json_values` prints them; paths as JSON lists of texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache

from z4sql.sql.engine.json_order import JsonValue
from z4sql.sql.engine.json_path_text import Leg, is_identifier, one_place, read_paths
from z4sql.sql.engine.json_values import by_name, canonical, json_number, listed, loaded
from z4sql.sql.engine.refusals import Refused

_Path = tuple[Leg, ...]


def json_find(document: str, paths: str) -> str | None:
    """JSON_EXTRACT: the value of one plain path, else a list of all that were found; NULL for nothing."""
    value, every = loaded(document), read_paths(paths)
    found = [one for legs in every for one in _found(value, legs)]
    if not found:
        return None
    several = len(every) > 1 or any(isinstance(leg, tuple) for leg in every[0])
    return canonical(found if several else found[0])


def json_only(document: str, paths: str) -> str | None:
    """What is at the place that a path leads to; NULL for nothing. :raises Refused: several places (3149)"""
    found = next(_found(loaded(document), one_place(read_paths(paths)[0])), None)
    return None if found is None else canonical(found)


def json_exists(document: str, mode: str, paths: str) -> bool:
    """JSON_CONTAINS_PATH; ``mode`` is one or all."""
    value = loaded(document)
    found = (any(True for _ in _found(value, legs)) for legs in read_paths(paths))
    return all(found) if _is_all(mode, "json_contains_path") else any(found)


def _is_all(mode: str, function: str) -> bool:
    """:raises Refused: (3154)"""
    if mode.lower() not in ("one", "all"):
        message = f"The oneOrAll argument to {function} may take these values: 'one' or 'all'."
        raise Refused(3154, message, "42000")
    return mode.lower() == "all"


def json_keys(document: str, path: str) -> str | None:
    """JSON_KEYS: NULL for what is no object."""
    found = next(_found(loaded(document), one_place(read_paths(path)[0])), None)
    return canonical(list(by_name(found))) if isinstance(found, dict) else None


def json_search(document: str, mode: str, pattern: str, escape: str, paths: str) -> str | None:
    """JSON_SEARCH: the paths of texts like ``pattern``, the first one or all."""
    like, value, every = _like(pattern, escape or "\\"), loaded(document), _is_all(mode, "json_search")
    found: dict[str, None] = {}
    for legs in read_paths(paths) or ((),):
        for at, start in places(value, legs):
            for where, text in _texts(start, at):
                if like.match(text):
                    found[where] = None
    where_found: list[JsonValue] = list(found)
    if not where_found:
        return None
    return canonical(where_found if every and len(where_found) > 1 else where_found[0])


def json_edit(mode: str, document: str, edits: str) -> str | None:
    """JSON_SET and its like. ``edits``: a JSON list of pairs of a path, alone in a list,
    and a value; they are made one after another.

    ``mode``: set, insert, replace, remove, append or put (JSON_ARRAY_INSERT).

    :raises Refused: several places (3149), the document itself to be removed (3153), no cell (3165)
    """
    value = loaded(document)
    changes: list[tuple[list[str], JsonValue]] = json.loads(edits, parse_float=json_number)
    for path, new in changes:
        legs = one_place(read_paths(json.dumps(path))[0])
        if mode == "remove" and not legs:
            raise Refused(3153, "The path expression '$' is not allowed in this context.", "42000")
        if mode == "put" and (not legs or isinstance(legs[-1], str)):
            raise Refused(3165, "A path expression is not a path to a cell in an array.", "42000")
        if mode == "remove":
            legs = _without_wrapping(value, legs)
        value = _edited(value, legs, mode, new)
    return canonical(value)


def _found(value: JsonValue, legs: _Path) -> Iterator[JsonValue]:
    return (found for _, found in places(value, legs))


def places(value: JsonValue, legs: _Path) -> Iterator[tuple[str, JsonValue]]:
    """Where the path leads, each place once, and what is there."""
    if ("any",) not in legs:
        return _located(value, legs, 0, "$")
    return iter(dict(_located(value, legs, 0, "$")).items())


def _located(value: JsonValue, legs: _Path, at: int, where: str) -> Iterator[tuple[str, JsonValue]]:
    """Where the path leads, and what is there."""
    if at == len(legs):
        yield where, value
        return
    leg = legs[at]
    if leg == ("any",):
        yield from _located_below(value, legs, at, where)
        return
    for name, member in _children(value, leg):
        yield from _located(member, legs, at + 1, where + name)


def _located_below(value: JsonValue, legs: _Path, at: int, where: str) -> Iterator[tuple[str, JsonValue]]:
    if at + 1 < len(legs):
        yield from _located(value, legs, at + 1, where)
    for name, member in _children(value, ("members",)):
        yield from _located_below(member, legs, at, where + name)
    if isinstance(value, list):
        for name, member in _children(value, ("cells",)):
            yield from _located_below(member, legs, at, where + name)


def _children(value: JsonValue, leg: Leg) -> Iterator[tuple[str, JsonValue]]:
    match leg:
        case str():
            if isinstance(value, dict) and leg in value:
                yield _member_leg(leg), value[leg]
        case int():
            cells = listed(value)
            position = leg if leg >= 0 else len(cells) + leg
            if 0 <= position < len(cells):
                # A value that is no array stands for an array of itself.
                yield f"[{position}]" if isinstance(value, list) else "", cells[position]
        case ("members",):
            if isinstance(value, dict):
                for name in by_name(value):
                    yield _member_leg(name), value[name]
        case ("cells",):
            if isinstance(value, list):
                yield from ((f"[{index}]", cell) for index, cell in enumerate(value))
        case ("to", int() as first, int() as last):
            cells = listed(value)
            start, end = (edge if edge >= 0 else len(cells) + edge for edge in (first, last))
            for index in range(max(start, 0), min(end, len(cells) - 1) + 1):
                yield f"[{index}]" if isinstance(value, list) else "", cells[index]
        case _:
            raise ValueError(f"a leg of another kind: {leg}")


def _member_leg(name: str) -> str:
    return f".{name}" if is_identifier(name) else f".{json.dumps(name, ensure_ascii=False)}"


def _texts(value: JsonValue, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, (dict, list)):
        for name, member in _children(value, ("members",) if isinstance(value, dict) else ("cells",)):
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


def _without_wrapping(value: JsonValue, legs: _Path) -> _Path:
    """The path without the positions of values that are no arrays, each of which is the value itself."""
    real: list[Leg] = []
    for leg in legs:
        if isinstance(leg, str) or isinstance(value, list):
            real.append(leg)
        value = next((member for _, member in _children(value, leg)), None)
    return tuple(real)


def _edited(value: JsonValue, legs: _Path, mode: str, new: JsonValue) -> JsonValue:
    if not legs:
        if mode in ("set", "replace"):
            return new
        return [*listed(value), new] if mode == "append" else value
    leg, rest = legs[0], legs[1:]
    if rest or mode == "append":
        return _edited_inside(value, leg, rest, mode, new)
    if isinstance(leg, str):
        return _edited_member(value, leg, mode, new)
    assert isinstance(leg, int)
    return _edited_cell(value, leg, mode, new)


def _edited_inside(value: JsonValue, leg: Leg, rest: _Path, mode: str, new: JsonValue) -> JsonValue:
    if isinstance(leg, str):
        if isinstance(value, dict) and leg in value:
            return {**value, leg: _edited(value[leg], rest, mode, new)}
        return value
    assert isinstance(leg, int)
    cells = list(listed(value))
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
    cells = list(listed(value))
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
