"""docs/raft-checks.md is true: all its numbers are there, and every test and script that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TABLE = TESTS.parent / "docs" / "raft-checks.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
ROWS = [(int(number), text, shown) for number, text, shown in ROW.findall(TABLE.read_text())]
COUNT = 114


@cache
def names_of(path: Path) -> frozenset[str]:
    """The names of the test functions of a file, also of those in classes."""
    tree = ast.parse(path.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_every_check_has_one_row() -> None:
    assert [number for number, _, _ in ROWS] == list(range(1, COUNT + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_every_named_test_exists(row: tuple[int, str, str]) -> None:
    _, _, shown = row
    if shown.startswith("Left out: "):
        assert len(shown) > 40, "a reason is given"
        return
    named = re.findall(r"`([^`]+)`", shown)
    assert named and "<br>".join(f"`{name}`" for name in named) == shown
    for name in named:
        path, _, function = name.partition("::")
        assert (TESTS / path).is_file(), name
        if path.endswith(".py"):
            assert function in names_of(TESTS / path), name
