"""The keys of windows in a text for the engine, where functions that are declared to warn may not stand.

MySQL works a key out once for each row, and not at all where it is an expression of the select list or of
another window.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_QUOTED: Final = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""
_OVER: Final = re.compile(rf"{_QUOTED}|(?P<over>\bover \()|[()]")
_MARK: Final = re.compile(
    rf"{_QUOTED}|[()]|(?P<clause>\b(?:partition|order) by )|(?P<comma>, )"
    r"|(?P<direction>\b(?:asc nulls first|desc nulls last)\b)|(?P<frame>\b(?:ROWS|RANGE) )"
)
_NUMBERED: Final = re.compile(r"RANGE .*\d")
"""A frame that counts in the units of its only key."""

Change = Callable[[str], str]


@dataclass(slots=True)
class _Window:
    """``order`` has pairs of key and direction."""

    partition: list[str] = field(default_factory=list)
    order: list[tuple[str, str]] = field(default_factory=list)
    frame: str = ""


def rewritten_keys(sql: str, once: Change, silent: Change) -> str:
    """``sql`` with the keys of windows changed by ``once`` or, where they stood before, by ``silent``.

    The engine works out twice what it partitions by, and once what it orders by. So the rows of a partition
    are put in the order of what they have in common, which leaves them as they are; but for frames that count
    by the key, which it works out yet more often.
    """
    parts = _parts(sql)
    outside = "".join(parts[::2])
    known: set[str] = set()

    def told(key: str) -> str:
        is_known = key in known or key in outside
        known.add(key)
        return silent(key) if is_known else once(key)

    for at in range(1, len(parts), 2):
        parts[at] = _rewritten(_window(parts[at]), told, silent)
    return "".join(parts)


def _rewritten(window: _Window, told: Change, silent: Change) -> str:
    if _NUMBERED.match(window.frame):
        told = silent
    ordered = [one for key in window.partition if (one := told(key)) != silent(key)]
    ordered += [f"{told(key)} {direction}" for key, direction in window.order]
    clauses = [
        "partition by " + ", ".join(map(silent, window.partition)) if window.partition else "",
        "order by " + ", ".join(ordered) if ordered else "",
        window.frame,
    ]
    return " ".join(clause for clause in clauses if clause)


def _parts(sql: str) -> list[str]:
    """Text outside of OVER's parentheses, inside, outside, and so on."""
    parts: list[str] = []
    depth = begun = done = 0
    for token in _OVER.finditer(sql):
        if token[0] == "(":
            depth += 1
        elif token[0] == ")":
            depth -= 1
            if begun and depth < begun:
                parts.append(sql[done : token.start()])
                begun, done = 0, token.start()
        elif token["over"]:
            depth += 1
            if not begun:
                parts.append(sql[done : token.end()])
                begun, done = depth, token.end()
    return [*parts, sql[done:]]


def _window(text: str) -> _Window:
    window = _Window()
    clause, depth, done = "", 0, 0
    for token in _MARK.finditer(text):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token.lastgroup is None or depth:
            continue
        key = text[done : token.start()].strip()
        done = token.end()
        if token["direction"]:
            window.order.append((key, token[0]))
        elif key:
            window.partition.append(key)
        if token["frame"]:
            window.frame = text[token.start() :]
            return window
        clause = token["clause"] or clause
    rest = text[done:].strip()
    if clause and rest:
        window.partition.append(rest)
    elif rest:
        window.frame = rest
    return window
