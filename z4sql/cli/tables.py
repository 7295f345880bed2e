"""Tables for people. Nothing that a user stored can move the cursor or colour the terminal."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

_GAP: Final = "  "
_ROWS_PER_BLOCK: Final = 200
"""Widths are found for so many rows at a time: a long list is printed as it comes."""


def clean(text: str) -> str:
    """``text`` on one line, with control characters shown by their numbers."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def width(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def clip(text: str, columns: int) -> str:
    """``text`` in at most ``columns``, with an ellipsis where something is left out."""
    if width(text) <= columns:
        return text
    taken, used = [], 0
    for character in text:
        used += width(character)
        if used > columns - 1:
            break
        taken.append(character)
    return "".join(taken) + "…"


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], out: TextIO | None = None) -> int:
    """Print rows under ``titles``; how many they were. The last column is clipped to the terminal."""
    out = out or sys.stdout
    columns_max = shutil.get_terminal_size((200, 25)).columns if out.isatty() else None
    count = 0
    block: list[list[str]] = []
    widths = [width(title) for title in titles]

    def flush(*, first: bool) -> None:
        for row in block:
            for at, cell in enumerate(row):
                widths[at] = max(widths[at], width(cell))
        for row in [list(titles), *block] if first else block:
            line = _GAP.join(cell + " " * (widths[at] - width(cell)) for at, cell in enumerate(row)).rstrip()
            print(line if columns_max is None else clip(line, columns_max), file=out)
        block.clear()

    first = True
    for row in rows:
        block.append([clean(cell) for cell in row])
        count += 1
        if len(block) >= _ROWS_PER_BLOCK:
            flush(first=first)
            first = False
    if block:
        flush(first=first)
    return count


def print_pairs(pairs: Iterable[tuple[str, str]], out: TextIO | None = None) -> None:
    """One line for each name and its value; empty values are left out."""
    shown = [(name, clean(value)) for name, value in pairs if value]
    longest = max((width(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name}{' ' * (longest - width(name))}{_GAP}{value}", file=out or sys.stdout)
