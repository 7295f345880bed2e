"""JSON paths as they are written. MySQL manual: JSON Path Syntax."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final

from z4sql.sql.engine.refusals import Refused

Leg = str | int | tuple[Any, ...]
"""A name, a position (-1 is the last), ``("members",)``, ``("cells",)``, ``("to", a, b)``, ``("any",)``."""

SEVERAL_PLACES: Final = (
    "In this situation, path expressions may not contain the * and ** tokens or an array range."
)
_SPACE: Final = re.compile(r"[ \t\n\v\f\r]*")
_NAME: Final = re.compile(r"[^ \t\n\v\f\r.\[*]*")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DIGITS: Final = re.compile(r"\d+", re.ASCII)
_POSITION_MAX: Final = 2**32 - 1


class BadPath(ValueError):
    """``position``: in bytes, where MySQL gave up."""

    def __init__(self, position: int) -> None:
        super().__init__(f"Invalid JSON path expression. The error is around character position {position}.")


@lru_cache(maxsize=512)
def path_legs(text: str) -> tuple[Leg, ...]:
    """The legs of a path. :raises BadPath:"""
    reader = _Reader(text)
    legs = tuple(reader.legs())
    if legs and legs[-1] == ("any",):
        raise reader.error()
    return legs


@lru_cache(maxsize=256)
def read_paths(listed: str) -> tuple[tuple[Leg, ...], ...]:
    """The paths of a JSON list of texts. :raises Refused: (3143)"""
    try:
        return tuple(path_legs(text) for text in json.loads(listed))
    except BadPath as error:
        raise Refused(3143, str(error), "42000") from error


def one_place(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    """:raises Refused: (3149) the path may lead to several places."""
    if any(isinstance(leg, tuple) for leg in legs):
        raise Refused(3149, SEVERAL_PLACES, "42000")
    return legs


class _Reader:
    """Goes as far as MySQL's own reader, so that errors are where it has them (json_path.cc)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def error(self) -> BadPath:
        return BadPath(len(self._text[: self._at].encode()))

    def legs(self) -> list[Leg]:
        self._skip()
        self._expect("$")
        found: list[Leg] = []
        self._skip()
        while self._at < len(self._text):
            found.append(self._leg())
            self._skip()
        return found

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _expect(self, character: str) -> None:
        """The character that must come next: a wrong one counts as read."""
        is_right = self._next() == character
        self._at = min(self._at + 1, len(self._text))
        if not is_right:
            raise self.error()

    def _leg(self) -> Leg:
        match self._next():
            case ".":
                self._at += 1
                return self._member()
            case "[":
                self._at += 1
                return self._cell()
            case "*":
                self._at += 1
                self._expect("*")
                if self._next() == "*":
                    raise self.error()
                return ("any",)
        raise self.error()

    def _member(self) -> Leg:
        self._skip()
        match self._next():
            case "*":
                self._at += 1
                return ("members",)
            case '"':
                return self._quoted_name()
        match = _NAME.match(self._text, self._at)
        name = match[0] if match else ""
        self._at += len(name)
        if not is_identifier(name):
            raise self.error()
        return name

    def _quoted_name(self) -> str:
        match = _QUOTED.match(self._text, self._at)
        self._at = match.end() if match else len(self._text)
        if match is None:
            raise self.error()
        try:
            return str(json.loads(match[0], strict=False))
        except ValueError as error:
            raise self.error() from error

    def _cell(self) -> Leg:
        self._skip()
        if self._next() == "*":
            self._at += 1
            leg: Leg = ("cells",)
        else:
            first = self._position()
            spaced = self._text[self._at : self._at + 1].isspace()
            self._skip()
            rest = self._text[self._at : self._at + 4]
            if spaced and len(rest) == 4 and rest.startswith("to") and rest[2].isspace():
                self._at += 3
                self._skip()
                leg = ("to", first, self._position())
                self._require_order(first, leg[2])
            else:
                leg = first
        self._skip()
        self._expect("]")
        return leg

    def _require_order(self, first: int, last: int) -> None:
        if (first < 0) == (last < 0) and first > last:
            raise self.error()

    def _position(self) -> int:
        if not self._text.startswith("last", self._at):
            return self._digits()
        self._at += len("last")
        start = self._at
        self._skip()
        if self._next() != "-":
            self._at = start
            return -1
        self._at += 1
        self._skip()
        return -1 - self._digits()

    def _digits(self) -> int:
        match = _DIGITS.match(self._text, self._at)
        if match is None or int(match[0]) > _POSITION_MAX:
            raise self.error()
        self._at = match.end()
        return int(match[0])


def is_identifier(name: str) -> bool:
    """What MySQL takes for an ECMAScript identifier: of each character it looks at the lowest byte."""
    kinds = [_letter_or_digit(character) for character in name]
    return bool(kinds) and kinds[0] == "letter" and "" not in kinds


def _letter_or_digit(character: str) -> str:
    lowest = ord(character) & 0xFF
    if lowest >= 0x80 or chr(lowest).isalpha() or character in "$_\u200c\u200d":
        return "letter"
    return "digit" if chr(lowest).isdigit() else ""
