"""How large a query becomes once the engine has put the bodies of macros in their places.

A macro copies each argument to every place that uses it, so calls in calls multiply; the engine counts none
of that memory and cannot be interrupted while it does so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from z4sql.sql.errors import SqlError

SIZE_MAX: Final = 150_000
"""In words and symbols: what the engine takes in within a second or two."""

_MACROS: Final = Path(__file__).with_name("macros.sql")
_DEFINITION: Final = re.compile(r"create or replace macro (\w+)\(([^)]*)\) as (.*);$", re.MULTILINE)
_TOKEN: Final = re.compile(
    r"'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\"|(?P<call>\w+)\(|(?P<open>\()|(?P<close>\))|(?P<comma>,)|\w+|\S"
)


@dataclass(slots=True, frozen=True)
class _Macro:
    """``size`` of the body without its parameters; how often it holds each of them, inner macros expanded."""

    size: int
    uses: tuple[int, ...]


def require_expandable(sql: str) -> None:
    """:raises SqlError: (1436) lowered text that would become larger than `SIZE_MAX`."""
    if expanded_size(sql) > SIZE_MAX:
        raise SqlError(
            "The statement is too complex: functions of functions multiply; nest fewer of them, or use a"
            " derived table for each step",
            code=1436,
        )


def expanded_size(sql: str) -> int:
    """Words and symbols of lowered text once its macros are expanded."""
    return _measured(sql, _macros(), lambda _word: 1)


@cache
def _macros() -> Mapping[str, _Macro]:
    found: dict[str, _Macro] = {}
    for name, listed, body in _DEFINITION.findall(_MACROS.read_text()):
        parameters = [one.strip() for one in listed.split(",")]
        # Macros stand before those that use them.
        bare = {inner: _Macro(0, macro.uses) for inner, macro in found.items()}
        uses = tuple(_measured(body, bare, _counter(one)) for one in parameters)
        found[name] = _Macro(_measured(body, found, _others(frozenset(parameters))), uses)
    return found


def _counter(parameter: str) -> Callable[[str], int]:
    return lambda word: int(word == parameter)


def _others(parameters: frozenset[str]) -> Callable[[str], int]:
    return lambda word: int(word not in parameters)


def _measured(sql: str, macros: Mapping[str, _Macro], size_of: Callable[[str], int]) -> int:
    """The sum over all tokens, those in arguments of macros as often as the macro repeats them."""
    names: list[str] = [""]
    sizes: list[list[int]] = [[0]]
    for token in _TOKEN.finditer(sql):
        match token.lastgroup:
            case "call":
                names.append(token["call"])
                sizes.append([0])
            case "open":
                names.append("")
                sizes.append([0])
            case "close" if len(names) > 1:
                name, arguments = names.pop(), sizes.pop()
                macro = macros.get(name)
                if macro is None or len(macro.uses) != len(arguments):
                    sizes[-1][-1] += sum(arguments) + (size_of(name) if name else 0)
                else:
                    total = sum(uses * size for uses, size in zip(macro.uses, arguments, strict=True))
                    sizes[-1][-1] += macro.size + total
            case "comma":
                sizes[-1].append(0)
            case _:
                sizes[-1][-1] += size_of(token[0])
    return sum(map(sum, sizes))
