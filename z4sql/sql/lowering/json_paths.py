"""JSON paths. MySQL manual: JSON Path Syntax.

Paths reach the engine as JSON pointers wherever they consist of names only: a pointer copes with dots,
spaces and quotes in a name. All others go to our own functions, as `z4sql.sql.engine.json_paths` reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.expressions import unsupported
from z4sql.sql.lowering.typed import quoted

Leg = str | int | tuple[Any, ...]
"""A name, a position (-1 is the last), ``("members",)``, ``("cells",)``, ``("to", a, b)``, ``("any",)``."""

_POSITION: Final = r"\d{1,9}|last(?:\s*-\s*\d{1,9})?"
_LEG: Final = re.compile(
    r"""\s*(?:(?P<any>\*\*)|\.\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<name>[A-Za-z_$][\w$]*)|(?P<members>\*))"""
    rf"""|\[\s*(?:(?P<first>{_POSITION})(?:\s+to\s+(?P<last>{_POSITION}))?|(?P<cells>\*))\s*\])""",
    re.ASCII,
)


def _bad_path(text: str) -> SqlError:
    return SqlError(
        f"Invalid JSON path expression. The error is around character position {len(text)}.",
        code=3143,
        state="42000",
    )


def path_legs(text: str) -> list[Leg]:
    """The legs of a path. :raises SqlError: 3143."""
    stripped = text.strip()
    if not stripped.startswith("$"):
        raise _bad_path(text)
    legs: list[Leg] = []
    at = 1
    while at < len(stripped):
        match = _LEG.match(stripped, at)
        if match is None:
            raise _bad_path(text)
        legs.append(_leg(match))
        at = match.end()
    if legs and legs[-1] == ("any",):
        raise _bad_path(text)
    return legs


def _leg(match: re.Match[str]) -> Leg:
    found = match.groupdict()
    if found["quoted"] is not None:
        return re.sub(r"\\(.)", r"\1", found["quoted"])
    if found["name"] is not None:
        return str(found["name"])
    if found["first"] is not None:
        first = _position(found["first"])
        return first if found["last"] is None else ("to", first, _position(found["last"]))
    return next((name,) for name in ("any", "members", "cells") if found[name] is not None)


def _position(text: str) -> int:
    if not text.startswith("last"):
        return int(text)
    behind = text.partition("-")[2]
    return -1 - (int(behind) if behind else 0)


def is_plain(legs: Sequence[Leg]) -> bool:
    """Whether the path consists of names only."""
    return all(isinstance(leg, str) for leg in legs)


def listed(path: Sequence[object]) -> str:
    """A path, or a list of paths, as our own functions take it, quoted."""
    return quoted(json.dumps(path, ensure_ascii=False))


def engine_path(legs: Sequence[Leg]) -> str:
    """The path as the engine takes it, quoted. :raises Unsupported: the engine has no such path (1235)."""
    if is_plain(legs):
        pointer = "".join("/" + str(leg).replace("~", "~0").replace("/", "~1") for leg in legs)
        return quoted(pointer)
    out = "$"
    for leg in legs:
        match leg:
            case str():
                escaped = leg.replace('"', '\\"')
                out += f'."{escaped}"'
            case int():
                out += f"[{leg}]" if leg >= 0 else f"[#{leg}]"
            case ("cells",):
                out += "[*]"
            case ("members",):
                out += ".*"
            case _:
                raise unsupported("JSON path with ** or a range here")
    return quoted(out)


def path_text(node: exp.Expression) -> str:
    """The path as the client wrote it, as far as the parser kept it."""
    if isinstance(node, exp.Literal):
        return str(node.this)
    if not isinstance(node, exp.JSONPath):
        raise unsupported("JSON path that is no constant")
    out = "$"
    for part in node.expressions[1:]:
        if isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
            name = part.this.replace('\\"', '"')
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            out += f'."{escaped}"'
        elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int):
            out += f"[{part.this}]"
        elif isinstance(part, exp.JSONPathWildcard):
            # The parser sees each star of ** by itself.
            out += "*"
        elif isinstance(part, (exp.JSONPathKey, exp.JSONPathSubscript)):
            out += ".*" if isinstance(part, exp.JSONPathKey) else "[*]"
        else:
            raise unsupported("JSON path")
    return out
