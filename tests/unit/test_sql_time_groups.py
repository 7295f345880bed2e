"""Groups of time as dashboards ask for them are whole numbers, whatever the digits of a second."""

from __future__ import annotations

import pytest

from tests.compared_answers import Ours, rows_of_corpus

ROWS = rows_of_corpus(200)


@pytest.mark.parametrize("seconds", [1, 7, 60, 300, 86_400])
@pytest.mark.parametrize(
    "form",
    [
        "UNIX_TIMESTAMP(deliver_at) DIV {} * {}",
        "(UNIX_TIMESTAMP(deliver_at)) DIV ({}) * {}",
        "FLOOR(UNIX_TIMESTAMP(deliver_at) / {}) * {}",
    ],
)
def test_a_moment_belongs_to_the_group_that_began_last(ours: Ours, form: str, seconds: int) -> None:
    grouped = form.format(seconds, seconds)
    answer = ours.answer(f"SELECT {grouped} AS time, COUNT(*) FROM tasks GROUP BY time ORDER BY time")
    expected: dict[int, int] = {}
    for row in ROWS:
        began = row["deliver_at"] // (seconds * 1_000_000) * seconds
        expected[began] = expected.get(began, 0) + 1
    assert not isinstance(answer, str)
    assert [tuple(int(cell or b"0") for cell in row) for row in answer] == sorted(expected.items())
