"""Generated queries get the answers of a real server, where one is installed; else those of plain Python.

The server is MariaDB or MySQL, started privately. `tests/sql_expressions.py` lists what the two are known
to answer differently and is therefore not generated. Replay one query with ``Z4_SQL="SELECT ..."``.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from tests.compared_answers import Answer, Ours, Theirs, rows_of_corpus, same
from tests.compared_servers import needs_server
from tests.reference_server import is_mysql
from tests.sql_expressions import queries

ROWS = rows_of_corpus(200)
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def difference(ours: Ours, theirs: Theirs, sql: str) -> str | None:
    """How the answers differ; None when they agree, or when both refuse."""
    found, expected = ours.answer(sql), theirs.answer(sql)
    if isinstance(found, str) or isinstance(expected, str):
        if isinstance(found, str) and isinstance(expected, str):
            return None
        error = ours.error and (ours.error.code, ours.error.message)
        return f"ours {error or found[:3]}, theirs {expected[:3] if isinstance(expected, list) else expected}"
    return _rows_difference(ours, sql, found, expected)


def _rows_difference(ours: Ours, sql: str, found: Answer, expected: Answer) -> str | None:
    assert isinstance(found, list)
    assert isinstance(expected, list)
    if "ORDER BY deliver_at" not in sql or "OVER (" in sql:
        found, expected = sorted(found, key=repr), sorted(expected, key=repr)
    if len(found) != len(expected):
        return f"{len(found)} rows instead of {len(expected)}: {found[:3]} {expected[:3]}"
    for row, wanted in zip(found, expected, strict=True):
        if not all(same(one, other, kind) for one, other, kind in zip(row, wanted, ours.types, strict=True)):
            return f"{row} instead of {wanted}"
    return None


@needs_server
@settings(max_examples=100, deadline=None, suppress_health_check=CHECKS)
@given(queries(of_mysql=is_mysql()))
def test_generated_queries_get_the_servers_answers(ours: Ours, theirs: Theirs, sql: str) -> None:
    assert difference(ours, theirs, sql) is None, sql


@pytest.mark.long
@needs_server
@settings(max_examples=5_000, deadline=None, suppress_health_check=CHECKS)
@given(queries(of_mysql=is_mysql()))
def test_many_generated_queries_get_the_servers_answers(ours: Ours, theirs: Theirs, sql: str) -> None:
    assert difference(ours, theirs, sql) is None, sql


@needs_server
@pytest.mark.skipif("Z4_SQL" not in os.environ, reason="Z4_SQL names no query to replay")
def test_one_query_gets_the_servers_answer(ours: Ours, theirs: Theirs) -> None:
    assert difference(ours, theirs, os.environ["Z4_SQL"]) is None
