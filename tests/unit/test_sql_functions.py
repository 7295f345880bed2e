"""Functions with arguments of every number and kind, as MySQL 9.7 answered and warned.

`tests/corpus/functions.jsonl` has one object for each form: by what stands in its place, the answer (a text,
null, or an error code) and, where they are the same here, the warnings. Left out is what 9.7 does otherwise
than 8.4, and what is different here on purpose.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.compared_answers import Ours, same
from z4sql.sql.errors import SqlError
from z4sql.sql.front.argument_counts import check_argument_counts
from z4sql.sql.front.source import read_source
from z4sql.sql.types import Kind

ROWS: list[dict[str, Any]] = []
LINES = (Path(__file__).resolve().parents[1] / "corpus" / "functions.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def ours(ours: Ours) -> Ours:
    mode = frozenset({"ONLY_FULL_GROUP_BY", "ERROR_FOR_DIVISION_BY_ZERO"})
    ours.context = replace(ours.context, sql_mode=mode)
    return ours


def answered(ours: Ours, expression: str) -> str | int | None:
    """The text of the only cell, or an error's code."""
    sql = f"SELECT {expression} AS a"
    try:
        check_argument_counts(read_source(sql))
        found = ours.answer(sql)
    except SqlError as error:
        return error.code
    if isinstance(found, str):
        assert ours.error is not None
        return ours.error.code
    cell = found[0][0]
    return None if cell is None else cell.decode("latin-1")


def agree(ours: Ours, found: str | int | None, expected: str | int | None) -> bool:
    """Exactly, but for the last digits of doubles."""
    if not isinstance(found, str) or not isinstance(expected, str) or ours.types != (Kind.DOUBLE,):
        return found == expected
    return same(found.encode(), expected.encode(), Kind.DOUBLE)


@pytest.mark.parametrize("line", LINES, ids=lambda line: json.loads(line)["form"][:40])
def test_a_function_answers_and_warns_as_the_server_did(ours: Ours, line: str) -> None:
    case = json.loads(line)
    wrong = []
    for argument, (expected, *warnings) in case["answers"].items():
        expression = case["form"].replace("{}", argument)
        found = answered(ours, expression)
        told = sorted([condition.code, condition.message] for condition in ours.warnings.conditions)
        if not agree(ours, found, expected) or (warnings and told != warnings[0]):
            wrong.append((expression, found, told, "instead of", expected, *warnings))
    assert wrong == []
