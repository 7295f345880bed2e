"""What `z4t check` concludes from the members' answers."""

from __future__ import annotations

import pytest

from z4sql.cli.check import DIFFERENT, EQUAL, NOT_COMPARED, Answer, judge, table

A9, B9, A8 = Answer("a", 9, "x"), Answer("b", 9, "x"), Answer("a", 8, "w")
OTHER, SILENT = Answer("c", 9, "y"), Answer("c", problem="c: cannot reach nowhere:1")


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([A9], EQUAL),
        ([A9, B9], EQUAL),
        ([A9, OTHER], DIFFERENT),
        ([A9, B9, SILENT], NOT_COMPARED),
        ([A8, B9], NOT_COMPARED),
        ([A9, OTHER, SILENT], DIFFERENT),
        ([A8, A9, OTHER], DIFFERENT),
        ([SILENT], NOT_COMPARED),
        ([], NOT_COMPARED),
    ],
)
def test_states_are_equal_only_when_all_answered_at_one_index(answers: list[Answer], verdict: int) -> None:
    assert judge(answers) == verdict


def test_the_table_tells_each_members_state_or_its_problem() -> None:
    rows = [line.split(maxsplit=2) for line in table([A9, SILENT]).splitlines()]
    assert rows == [["MEMBER", "APPLIED", "STATE"], ["a", "9", "x"], ["c", "-", SILENT.problem]]
