"""Tests that a document names, as ``path::test`` or as a golden script, all under ``tests/``."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent
RANDOM_WORLDS = "sim/test_sim_seeds.py::test_every_seed_is_safe_and_converges"
"""Shows everything, and so nothing in particular."""


def require_shown(shown: str) -> None:
    """``shown`` is a cell of names: each exists, and one at least is run every time and is about this.

    :raises AssertionError: otherwise.
    """
    names = re.findall(r"`([^`]+)`", shown)
    assert names and "<br>".join(f"`{name}`" for name in names) == shown, shown
    for name in names:
        path, _, function = name.partition("::")
        assert (TESTS / path).is_file(), name
        if path.endswith(".py"):
            assert function in names_of(TESTS / path), name
    assert any(is_run_every_time(name) and name != RANDOM_WORLDS for name in names), (
        "needs a test of its own that `make test` runs"
    )


def is_run_every_time(name: str) -> bool:
    """Also without a long run."""
    path, _, function = name.partition("::")
    return not path.endswith(".py") or function not in long_names_of(TESTS / path)


@cache
def names_of(path: Path) -> frozenset[str]:
    """The names of the test functions of a file, also of those in classes."""
    return frozenset(node.name for node in _functions(path) if node.name.startswith("test_"))


@cache
def long_names_of(path: Path) -> frozenset[str]:
    """The tests of a file that a usual run leaves out altogether."""
    lines = path.read_text().splitlines()
    is_long = "pytestmark = pytest.mark.long" in lines
    return frozenset(
        node.name
        for node in _functions(path)
        if is_long or "pytest.mark.long" in map(ast.unparse, node.decorator_list)
    )


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
