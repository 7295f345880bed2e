"""docs/sql-checks.md is true: all its numbers are there, and every test that it names exists."""

from __future__ import annotations

import re

import pytest

from tests.named_tests import TESTS, require_shown

ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
TABLE = (TESTS.parent / "docs" / "sql-checks.md").read_text()
ROWS = [(int(number), shown) for number, _, shown in ROW.findall(TABLE)]
COUNT = 30


def test_every_check_of_the_endpoint_has_one_row() -> None:
    assert [number for number, _ in ROWS] == list(range(1, COUNT + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_every_test_named_beside_a_check_exists(row: tuple[int, str]) -> None:
    require_shown(row[1])
