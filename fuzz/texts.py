"""Texts for the targets that take SQL: bytes as they are, or known statements spliced with each other."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

logging.getLogger("sqlglot").disabled = True

_TESTS = Path(__file__).parent.parent / "tests"
_WORD = re.compile(r"\s+|[A-Za-z_@][\w@$.]*|\d+(?:\.\d+)?|'(?:[^'\\]|\\.|'')*'|\"[^\"]*\"|`[^`]*`|.", re.S)
_ODD = [
    "'",
    '"',
    "`",
    "(",
    ")",
    "/*",
    "*/",
    "/*!50000 ",
    "-- ",
    "\0",
    "\\",
    "?",
    "@@",
    "{ts '",
    "}",
    "9" * 70,
]


def _statements() -> list[list[str]]:
    """Every statement of the recorded corpora, in words."""
    found = []
    for file in sorted((*_TESTS.glob("corpus_statements/*.jsonl"), *_TESTS.glob("corpus/*.jsonl"))):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if not isinstance(record, dict):
                continue  # rows of other tables of expectations
            for key in ("sql", "expression", "query"):
                if isinstance(text := record.get(key), str) and len(text) < 4_000:
                    found.append(_WORD.findall(text if key != "expression" else f"SELECT {text}"))
    return found


STATEMENTS = _statements()

_CALLS = sorted(
    {
        words[at].upper()
        for words in STATEMENTS
        for at in range(len(words) - 1)
        if words[at + 1] == "(" and words[at].isidentifier()
    }
)
_ARGUMENTS = ("", ", 1", ", 'a'", ", 'a', 'b'", " AS CHAR", ", INTERVAL 1 DAY", " = 1", " USING utf8mb4")
_INNERMOST = ("1", "'a'", "name", "created_at", "NULL", "NOW(6)")


class _Bytes:
    """Numbers out of the fuzzer's bytes; zero once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def below(self, bound: int) -> int:
        piece = self._data[self._at : self._at + 2]
        self._at += 2
        return int.from_bytes(piece, "little") % max(1, bound)


def text_of(data: bytes) -> str:
    """An even first byte: the rest as text. An odd one: functions in functions, or pieces of statements."""
    if not data or data[0] % 2 == 0:
        return data[1:].decode(errors="replace")
    numbers = _Bytes(data[1:])
    return _nested(numbers) if data[0] % 4 == 3 else _spliced(numbers)


def _nested(numbers: _Bytes) -> str:
    """A few functions over and over, as deep as a statement may be: what multiplies shows as a timeout."""
    calls = [
        (_CALLS[numbers.below(len(_CALLS))], _ARGUMENTS[numbers.below(len(_ARGUMENTS))])
        for _ in range(1 + numbers.below(3))
    ]
    text = _INNERMOST[numbers.below(len(_INNERMOST))]
    for depth in range(numbers.below(90)):
        name, arguments = calls[depth % len(calls)]
        text = f"{name}({text}{arguments})"
    return f"SELECT {text} FROM namespaces"  # noqa: S608 - it is made to be hostile


def _spliced(numbers: _Bytes) -> str:
    words = list(STATEMENTS[numbers.below(len(STATEMENTS))])
    for _ in range(6):
        if not numbers.left:
            break
        at, replaced = numbers.below(len(words) + 1), numbers.below(6)
        other = STATEMENTS[numbers.below(len(STATEMENTS))]
        begin, length = numbers.below(len(other)), numbers.below(12)
        piece = other[begin : begin + length] if length else [_ODD[begin % len(_ODD)]]
        words[at : at + replaced] = piece
    return "".join(words)
