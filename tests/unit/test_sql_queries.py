"""Queries of every kind that people write, answered as MySQL answers them.

`tests/corpus/queries.jsonl` has the query and its rows, or its error; ``why`` tells where MariaDB
differs from MySQL. All others are also asked of a MariaDB or MySQL server, where one is installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.compared_answers import Answer, Ours, Theirs, rows_of_corpus, same
from tests.compared_servers import needs_server
from z4sql.sql.types import Kind

LINES = (Path(__file__).resolve().parents[1] / "corpus" / "queries.jsonl").read_text().splitlines()
ROWS = rows_of_corpus(150)


def recorded(case: dict[str, Any]) -> list[tuple[bytes | None, ...]]:
    return [tuple(None if cell is None else cell.encode() for cell in row) for row in case["rows"]]


def agree(sql: str, one: Answer, other: Answer, kinds: tuple[Kind, ...]) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) == isinstance(other, str)
    if "ORDER BY" not in sql:
        one, other = sorted(one, key=repr), sorted(other, key=repr)
    return len(one) == len(other) and all(
        same(left, right, kind)
        for row, row_of_other in zip(one, other, strict=True)
        for left, right, kind in zip(row, row_of_other, kinds, strict=True)
    )


def test_queries_get_the_recorded_answers(ours: Ours) -> None:
    wrong = []
    for case in map(json.loads, LINES):
        found = ours.answer(case["sql"])
        if "error" in case:
            if ours.error is None or ours.error.code != case["error"]:
                wrong.append((case["sql"], ours.error or found))
        elif isinstance(found, str) or not agree(case["sql"], found, recorded(case), ours.types):
            wrong.append((case["sql"], ours.error or found))
    assert wrong == []


@needs_server
def test_the_recorded_answers_are_those_of_a_server(ours: Ours, theirs: Theirs) -> None:
    wrong = []
    for case in map(json.loads, LINES):
        if "why" in case:
            continue
        ours.answer(case["sql"])
        told = theirs.answer(case["sql"])
        expected: Answer = "error" if "error" in case else recorded(case)
        if not agree(case["sql"], told, expected, ours.types):
            wrong.append((case["sql"], told))
    assert wrong == []
