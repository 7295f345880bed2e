"""docs/raft-checks.md is true: all its numbers are there, and every test and script that it names exists.

No row rests on tests that only a long run runs, or on the random worlds alone.
"""

from __future__ import annotations

import re

import pytest

from tests.named_tests import TESTS, is_run_every_time, require_shown

TABLE = TESTS.parent / "docs" / "raft-checks.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
ROWS = [(int(number), text, shown) for number, text, shown in ROW.findall(TABLE.read_text())]
COUNT = 114
KILLS = "process/test_fault_kills.py"


def test_every_check_has_one_row() -> None:
    assert [number for number, _, _ in ROWS] == list(range(1, COUNT + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_every_named_test_exists(row: tuple[int, str, str]) -> None:
    _, _, shown = row
    if shown.startswith("Left out: "):
        assert len(shown) > 40, "a reason is given"
    else:
        require_shown(shown)


def test_long_tests_are_told_from_those_that_are_always_run() -> None:
    assert not is_run_every_time(f"{KILLS}::test_a_leader_stopped_for_ten_seconds_follows_when_it_wakes")
    assert is_run_every_time(f"{KILLS}::test_three_rounds_of_random_kills_lose_nothing")
    assert is_run_every_time("golden/read_index.txt")
    with pytest.raises(AssertionError, match="make test"):
        require_shown("`sim/test_sim_seeds.py::test_every_seed_is_safe_and_converges`")
