"""What functions, operators and casts answer for arguments of every type, as a real server answered.

`tests/corpus/expressions.jsonl` has one object for each expression: its forms, and the server's texts, null,
or an error code. Forms that MySQL and MariaDB answer differently are left out. `mysql_expressions.jsonl` has
dates, times, intervals and JSON as MySQL alone answers them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compared_answers import Ours, rows_of_corpus, same
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.source import read_source
from z4sql.sql.lowering import lower

ROWS = rows_of_corpus(200)[:2]
CORPUS = Path(__file__).resolve().parents[1] / "corpus"
LINES = [
    line
    for name in ("expressions.jsonl", "mysql_expressions.jsonl")
    for line in (CORPUS / name).read_text().splitlines()
]


def _differences(ours: Ours, forms: list[str], answers: dict[str, str | int | None]) -> list[str]:
    """Asked together as long as that goes well: an error does not tell which form it is from."""
    found = ours.answer("SELECT " + ", ".join(f"{form} AS c{at}" for at, form in enumerate(forms)))
    if isinstance(found, str):
        if len(forms) == 1:
            error = ours.error
            assert error is not None
            return [] if error.code == answers[forms[0]] else [f"{forms[0]}: {error.code} {error.message}"]
        middle = len(forms) // 2
        return _differences(ours, forms[:middle], answers) + _differences(ours, forms[middle:], answers)
    wrong = []
    for form, cell, kind in zip(forms, found[0], ours.types, strict=True):
        expected = answers[form]
        wanted = None if expected is None else str(expected).encode()
        if not same(cell, wanted, kind):
            wrong.append(f"{form}: {cell!r} instead of {wanted!r}")
    return wrong


@pytest.mark.parametrize("line", LINES, ids=lambda line: next(iter(json.loads(line)))[:40])
def test_an_expression_gets_the_servers_answers(ours: Ours, line: str) -> None:
    answers = json.loads(line)
    plain = [form for form, answer in answers.items() if not _aggregates(form)]
    assert plain == [] or _differences(ours, plain, answers) == []
    for form in answers:
        if _aggregates(form):
            assert _differences(ours, [form], answers) == []


def _aggregates(form: str) -> bool:
    return form.partition("(")[0] in {"MAX", "MIN", "SUM", "AVG", "COUNT", "GROUP_CONCAT", "STD", "BIT_AND"}


@pytest.mark.parametrize(
    "nested", ["CONCAT_WS(ABS({}), 'a')", "LOCATE('a', {}, 2)", "INSTR({}, 'é')", "({} REGEXP '1')"]
)
def test_functions_of_functions_stay_short(ours: Ours, nested: str) -> None:
    """Nobody can stop us while each level is worked out twice, nor the engine while it reads megabytes."""
    sql = "namespace"
    for _ in range(20):
        sql = nested.format(sql)
    query = QueryParser().parse(read_source(f"SELECT {sql} FROM tasks"))
    assert len(lower(query, sql, ours.catalog, ours.context).sql) < 5_000
