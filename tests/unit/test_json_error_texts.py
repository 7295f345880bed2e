"""Bad JSON, bad paths and bad arguments are told of in MySQL's words, with MySQL's positions.

`tests/corpus/json_errors.jsonl` has expressions with MySQL's error codes and messages.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compared_answers import Ours, rows_of_corpus
from z4sql.sql.engine.json_reading import BadJson, read_json

ROWS = rows_of_corpus(200)[:2]
LINES = (Path(__file__).resolve().parents[1] / "corpus" / "json_errors.jsonl").read_text().splitlines()
TEXTS = ('{"a": [1, -2.5e3, "x\\u00e9\\n", null, true], "b": {"c": {}}}', '"\\ud83d\\ude00"', " [ ] ", "0")


def test_wrong_json_is_refused_in_mysqls_words(ours: Ours) -> None:
    told = []
    for line in LINES:
        sql, code, message = json.loads(line)
        ours.answer("SELECT " + sql)
        assert ours.error is not None, sql
        if (ours.error.code, ours.error.message) != (code, message):
            told.append(f"{sql}: {ours.error.code} {ours.error.message} instead of {message}")
    assert told == []


@pytest.mark.parametrize("text", TEXTS)
def test_every_part_of_a_text_but_the_whole_is_told_of(text: str) -> None:
    """A text that is cut off anywhere is no JSON, and the position is inside of what is left."""
    read_json(text)
    for end in range(len(text.rstrip())):
        try:
            read_json(text[:end])
        except BadJson as error:
            assert 0 <= error.at <= end
        else:
            pytest.fail(f"read {text[:end]!r}")
