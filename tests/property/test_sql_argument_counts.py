"""A function takes as many arguments here as in a real server, and no other number."""

from __future__ import annotations

import pytest

from tests.compared_answers import Ours, Theirs, rows_of_corpus
from tests.compared_servers import needs_server
from z4sql.sql.front.argument_counts import COUNTS

ROWS = rows_of_corpus(5)
COUNTED = (1582, 1064, 1305)
NOT_ASKED = frozenset(
    {
        *("ANY_VALUE", "REGEXP_LIKE", "REGEXP_INSTR", "REGEXP_REPLACE", "REGEXP_SUBSTR", "UNCOMPRESS"),
        *("BENCHMARK", "GROUP_CONCAT", "INSERT", "LAST_VALUE", "POSITION", "SLEEP"),
        *("TIMESTAMPADD", "TIMESTAMPDIFF"),
        *("BIN_TO_UUID", "FORMAT_BYTES", "FORMAT_PICO_TIME", "IS_UUID", "UUID_TO_BIN"),
    }
)
"""MariaDB lacks some or gives them fewer arguments; others have a syntax of their own, or only do things."""
OF_MYSQL = frozenset(
    {"ATAN2(1)", "CRC32(1,1)", "DATE_FORMAT(1,1,1)", "JSON_PRETTY(1,1)", "LPAD(1,1)", "RPAD(1,1)"}
) | {"MD5(1)", "SHA(1)", "SHA1(1)"}
"""What MariaDB takes differently; and what MySQL has no longer since 9.6."""


@needs_server
@pytest.mark.parametrize("name", sorted(COUNTS.keys() - NOT_ASKED))
def test_a_function_takes_the_arguments_that_it_has(ours: Ours, theirs: Theirs, name: str) -> None:
    for count in range(7):
        call = f"{name}({','.join(['1'] * count)})"
        ours.answer(f"SELECT {call}")
        expected = theirs.answer(f"SELECT {call}")
        is_counted = isinstance(expected, str) and any(f"({code}," in expected for code in COUNTED)
        found = ours.error is not None and ours.error.code in COUNTED
        assert found == is_counted or call in OF_MYSQL, (call, ours.error, expected)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT hex(1, 2)", 1582),
        ("SELECT ABS(COALESCE())", 1064),
        ("SELECT REPLACE('a', 'b')", 1064),
        ("SELECT COUNT(id, namespace) FROM tasks", 1064),
        ("SELECT SUBSTRING('a')", 1064),
        ("SELECT RANK() FROM tasks", 1064),
        ("SELECT LAG(id) FROM tasks ORDER BY id", 1064),
        ("SELECT 1 WHERE ISNULL(1, (SELECT 2, 3))", 1582),
    ],
)
def test_a_wrong_number_is_refused(ours: Ours, sql: str, code: int) -> None:
    ours.answer(sql)
    assert ours.error is not None
    assert ours.error.code == code


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(DISTINCT id, namespace) FROM tasks",
        "SELECT SUBSTRING('abc' FROM 2 FOR 1), SUBSTR('abc' FROM 2), MID('abc', 2), TRIM(BOTH 'x' FROM 'x')",
        "WITH hex (a, b) AS (SELECT 1, 2), log (c, d, e) AS (SELECT 1, 2, 3) SELECT a FROM hex JOIN log",
        "SELECT exp.a FROM (SELECT 1, 2) AS exp (a, b) JOIN (SELECT 1, 2, 3) sin (a, b, c)",
        "SELECT CAST('10:00' AS TIME(3)), CAST(5 AS CHAR(5)), CONVERT('a', CHAR(3))",
        "SELECT IF(1, (SELECT MAX(a) FROM (SELECT 1 AS a, 2 AS b) t), 'a,b'), (1) IN (1, 2, 3)",
        "SELECT GROUP_CONCAT(id, namespace ORDER BY id, namespace SEPARATOR ', ') FROM tasks",
        "SELECT RANK() OVER (ORDER BY id), LAG(id, 1, 'x') OVER w FROM tasks WINDOW w AS (ORDER BY id)",
    ],
)
def test_what_looks_like_too_many_is_taken(ours: Ours, sql: str) -> None:
    assert ours.answer(sql) != "error", ours.error
