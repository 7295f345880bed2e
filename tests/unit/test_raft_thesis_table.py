"""docs/raft-thesis.md is true: the sections that matter are there, and every rule names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.named_tests import TESTS, require_shown

TABLE = TESTS.parent / "docs" / "raft-thesis.md"
ROWS = re.findall(r"^\| (\d[\d.]*) \| (.+?) \| (.+) \|$", TABLE.read_text(), re.MULTILINE)
SECTIONS = ["3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.10", "4.1", "4.2", "4.3", "5.1", "6.4"]


def test_rules_stand_in_the_order_of_the_thesis_and_leave_out_no_section() -> None:
    found = [section for section, _, _ in ROWS]
    assert found == sorted(found, key=lambda section: [int(part) for part in section.split(".")])
    assert {".".join(section.split(".")[:2]) for section in found} >= set(SECTIONS)
    assert len({text for _, text, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1][:40]}")
def test_every_rule_is_shown(row: tuple[str, str, str]) -> None:
    require_shown(row[2])
