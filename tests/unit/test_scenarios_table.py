"""docs/scenarios.md and docs/semantics.md are true to the tests: each that they name exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
DOCS = TESTS.parent / "docs"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
ROWS = [
    (int(number), text, shown) for number, text, shown in ROW.findall((DOCS / "scenarios.md").read_text())
]
PROMISED = sorted(set(re.findall(r"`(\w+/\w+\.py::\w+)`", (DOCS / "semantics.md").read_text())))


@cache
def names_of(path: Path) -> frozenset[str]:
    """The names of the test functions of a file, also of those in classes."""
    tree = ast.parse(path.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def exists(name: str) -> bool:
    path, _, function = name.partition("::")
    return (TESTS / path).is_file() and function in names_of(TESTS / path)


def test_every_scenario_has_one_row() -> None:
    assert [number for number, _, _ in ROWS] == [*range(1, 27), 35]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_every_test_of_a_scenario_exists(row: tuple[int, str, str]) -> None:
    _, _, shown = row
    named = re.findall(r"`([^`]+)`", shown)
    assert named and "<br>".join(f"`{name}`" for name in named) == shown
    for name in named:
        assert exists(name), name


@pytest.mark.parametrize("name", PROMISED)
def test_every_test_of_a_promise_exists(name: str) -> None:
    assert exists(name), name


def test_promises_name_tests() -> None:
    assert len(PROMISED) > 20
