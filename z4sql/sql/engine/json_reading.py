"""JSON texts read as MySQL reads them, and told of as MySQL tells of them.

MySQL manual: The JSON Data Type. The messages are those of RapidJSON, with positions in bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Final

from z4sql.sql.engine.json_order import JsonValue
from z4sql.sql.engine.refusals import Refused
from z4sql.sql.engine.stopping import require_running

DEPTH_MAX: Final = 100
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_HEX: Final = re.compile(r"[0-9A-Fa-f]{4}")
_WHOLE: Final = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
_DIGITS: Final = re.compile(r"\d+", re.ASCII)
_ESCAPED: Final = frozenset('"\\/bfnrt')
_INT_MIN: Final = -(2**63)
_UINT_MAX: Final = 2**64 - 1


class BadJson(ValueError):
    """A text that is no JSON: what is wrong with it, and where, in characters."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


def read_json(text: str) -> JsonValue:
    """The value of a text. :raises BadJson: :raises Refused: nested too deeply (3157)"""
    try:
        value: JsonValue = json.loads(text, parse_int=_whole, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        _Scanner(text).document()
        raise
    # These pass the reader above, and may be wrong.
    if text.count("[") + text.count("{") > DEPTH_MAX or "\\u" in text or "e" in text or "E" in text:
        _Scanner(text).document()
    return value


def argument_of(text: str, number: int, function: str) -> JsonValue:
    """The value of a function's argument. :raises Refused: (3141, 3157)"""
    try:
        return read_json(text)
    except BadJson as error:
        raise Refused(3141, bad_argument(text, error, number, function), "22032") from error


def bad_argument(text: str, error: BadJson, number: int, function: str) -> str:
    """MySQL's words for what is wrong with an argument; positions are in bytes."""
    at = len(text[: error.at].encode())
    return (
        f'Invalid JSON text in argument {number} to function {function}: "{error.reason}" at position {at}.'
    )


def json_valid(text: str) -> bool:
    """JSON_VALID. :raises Refused: nested too deeply (3157)"""
    try:
        read_json(text)
    except BadJson:
        return False
    return True


def json_unquote(text: str) -> str:
    """JSON_UNQUOTE of a text: as it is, unless it is in quotes. :raises Refused: those of no JSON (3141)"""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    return str(argument_of(text, 1, "json_unquote"))


def _whole(digits: str) -> int | float:
    number = int(digits)
    return number if _INT_MIN <= number <= _UINT_MAX else float(number)


def _no_constant(name: str) -> JsonValue:
    raise ValueError(name)


class _Scanner:
    """Looks for the first thing that is wrong; values are not kept."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def document(self) -> None:
        self._skip()
        if self._at == len(self._text):
            raise BadJson("The document is empty.", self._at)
        self._value()
        self._skip()
        if self._at < len(self._text):
            raise BadJson("The document root must not be followed by other values.", self._at)

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _takes(self, character: str) -> bool:
        taken = self._next() == character
        self._at += taken
        return taken

    def _value(self) -> None:
        require_running()
        match self._next():
            case "{":
                self._nested(self._members)
            case "[":
                self._nested(self._cells)
            case '"':
                self._string()
            case "t" | "f" | "n" as first:
                self._word({"t": "true", "f": "false", "n": "null"}[first])
            case _:
                self._number()

    def _nested(self, inside: Callable[[], None]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Refused(3157, "The JSON document exceeds the maximum depth.", "22032")
        self._at += 1
        self._skip()
        inside()
        self._depth -= 1

    def _members(self) -> None:
        if self._takes("}"):
            return
        while True:
            if self._next() != '"':
                raise BadJson("Missing a name for object member.", self._at)
            self._string()
            self._skip()
            if not self._takes(":"):
                raise BadJson("Missing a colon after a name of object member.", self._at)
            self._skip()
            self._value()
            self._skip()
            if self._takes("}"):
                return
            if not self._takes(","):
                raise BadJson("Missing a comma or '}' after an object member.", self._at)
            self._skip()

    def _cells(self) -> None:
        if self._takes("]"):
            return
        while True:
            self._value()
            self._skip()
            if self._takes("]"):
                return
            if not self._takes(","):
                raise BadJson("Missing a comma or ']' after an array element.", self._at)
            self._skip()

    def _word(self, word: str) -> None:
        for letter in word:
            if not self._takes(letter):
                raise BadJson("Invalid value.", self._at)

    def _number(self) -> None:
        start, text = self._at, self._text
        whole = _WHOLE.match(text, start)
        if whole is None:
            raise BadJson("Invalid value.", start + text.startswith("-", start))
        self._at = whole.end()
        if self._takes("."):
            self._digits("Miss fraction part in number.")
        if self._next() in ("e", "E"):
            self._at += 2 if text[self._at + 1 : self._at + 2] in ("+", "-") else 1
            self._digits("Miss exponent in number.")
        if math.isinf(float(text[start : self._at])):
            raise BadJson("Number too big to be stored in double.", start)

    def _digits(self, missing: str) -> None:
        match = _DIGITS.match(self._text, self._at)
        if match is None:
            raise BadJson(missing, self._at)
        self._at = match.end()

    def _string(self) -> None:
        self._at += 1
        while True:
            match = _PLAIN.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._takes('"'):
                return
            if not self._next():
                raise BadJson("Missing a closing quotation mark in string.", self._at)
            if self._next() != "\\":
                raise BadJson("Invalid encoding in string.", self._at)
            self._escape()

    def _escape(self) -> None:
        start, kind = self._at, self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if kind == "u":
            unit = self._unit(start)
            if 0xD800 <= unit < 0xE000:
                paired = unit < 0xDC00 and self._text.startswith("\\u", self._at)
                self._at += 2
                if not paired or not 0xDC00 <= self._unit(start) < 0xE000:
                    raise BadJson("The surrogate pair in string is invalid.", start)
        elif kind not in _ESCAPED or not kind:
            raise BadJson("Invalid escape character in string.", start)

    def _unit(self, start: int) -> int:
        match = _HEX.match(self._text, self._at)
        if match is None:
            raise BadJson("Incorrect hex digit after \\u escape in string.", start)
        self._at = match.end()
        return int(match[0], 16)
