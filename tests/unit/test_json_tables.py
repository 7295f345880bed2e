"""JSON_TABLE gives the rows that MySQL gives, and refuses what it refuses.

`tests/corpus/json_tables.jsonl` has queries with MySQL's rows, or its error code.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compared_answers import Ours, rows_of_corpus

ROWS = rows_of_corpus(200)[:20]
LINES = (Path(__file__).resolve().parents[1] / "corpus" / "json_tables.jsonl").read_text().splitlines()


@pytest.mark.parametrize("line", LINES, ids=lambda line: json.loads(line)[0][25:90])
def test_rows_of_a_document_are_those_of_mysql(ours: Ours, line: str) -> None:
    sql, expected = json.loads(line)
    found = ours.answer(sql)
    if isinstance(expected, int):
        assert ours.error is not None
        assert ours.error.code == expected
        return
    assert ours.error is None
    assert not isinstance(found, str)
    assert [[None if cell is None else cell.decode() for cell in row] for row in found] == expected


def test_every_task_is_joined_with_the_rows_of_its_own_metadata(ours: Ours) -> None:
    document = "JSON_TABLE(metadata, '$.*' COLUMNS(at FOR ORDINALITY, member TEXT PATH '$')) AS members"
    joined = ours.answer(f"SELECT id, at, member FROM tasks, {document} ORDER BY id, at")
    expected = []
    for row in sorted(ROWS, key=lambda row: row["id"]):
        names = sorted(row["metadata"], key=lambda name: (len(name.encode()), name.encode()))
        members = enumerate((row["metadata"][name] for name in names), 1)
        expected += [(row["id"].encode(), b"%d" % at, member.encode()) for at, member in members]
    assert joined == expected
