"""Wrong values warn as a real server warns, where one is installed and MariaDB and MySQL do the same."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.compared_answers import Ours, Theirs, rows_of_corpus
from tests.compared_servers import needs_server

ROWS = rows_of_corpus(200)[:30]
VALUES = (
    *("''", "'abc'", "'12abc'", "'12'", "'1e2x'", "'2026-02-30'", "'2026-03-01'", "'2026-03-01x'"),
    *("'2026-03-01 10:11:12zz'", "'10:11:12'", "0", "NULL", "1", "'+5'", "'1.5'", "-1", "'-7'"),
)
FORMS = (
    *("{} + 1", "-{}", "{} * 2", "1 / {}", "1 DIV {}", "1 MOD {}", "{} = 12", "{} > 1", "{} AND 1"),
    *("CAST({} AS SIGNED)", "CAST({} AS DECIMAL(5,1))", "CAST({} AS DOUBLE)", "CAST({} AS DATETIME)"),
    *("CAST({} AS DATE)", "CAST({} AS CHAR(2))", "ROUND({})", "SQRT({})", "DATE({})", "TO_DAYS({})"),
    *("IF({}, 1, 2)", "NOT {}", "{} BETWEEN 1 AND 5", "{} IN (1, 2)", "SUM({})", "CONV({}, 10, 2)"),
    *("FLOOR({})", "{} % 2", "DATEDIFF({}, '2026-01-01')", "SEC_TO_TIME({})", "FROM_UNIXTIME({})"),
    *("MAKEDATE({}, 1)", "CASE {} WHEN 1 THEN 2 END", "COALESCE({}, 1) + 1", "FIELD({}, 1, 2)"),
    *("CONCAT({}, 1) + 0", "EXP({})"),
)
OVER_ROWS = (
    "SELECT metadata->>'$.user_id' + 1 FROM tasks WHERE namespace = 'welcome_emails'",
    "SELECT CAST(metadata->>'$.user_id' AS SIGNED) FROM tasks",
    "SELECT SUM(metadata->>'$.user_id') FROM tasks",
    "SELECT namespace / 0 FROM tasks",
    "SELECT COUNT(*) FROM tasks WHERE namespace > 5",
    "SELECT CASE WHEN id = 'nobody' THEN namespace + 1 ELSE 0 END FROM tasks",
    "SELECT 1 DIV CHAR_LENGTH('') FROM tasks LIMIT 2",
    "SELECT ROW_NUMBER() OVER (ORDER BY namespace + 1) FROM tasks",
    "SELECT RANK() OVER (PARTITION BY CHAR_LENGTH(id) ORDER BY namespace + 1 DESC) FROM tasks",
    "SELECT COUNT(*) OVER (PARTITION BY namespace + 1 ORDER BY id + 1) FROM tasks",
    "SELECT COUNT(*) OVER (ORDER BY namespace + 1), RANK() OVER (ORDER BY namespace + 1) FROM tasks",
    "SELECT COUNT(*) OVER (ORDER BY namespace + 1), RANK() OVER (ORDER BY id + 1) FROM tasks",
    "SELECT namespace + 1, COUNT(*) OVER w FROM tasks WINDOW w AS (PARTITION BY namespace + 1)",
    "SELECT namespace + 0, RANK() OVER (ORDER BY namespace + 1) FROM tasks",
    "SELECT SUM(namespace) OVER (ORDER BY namespace + 0) FROM tasks",
    "SELECT COUNT(*), RANK() OVER (ORDER BY namespace + 1) FROM tasks GROUP BY namespace",
    "SELECT COUNT(*) OVER (PARTITION BY namespace + 1 ORDER BY id ROWS 1 PRECEDING) FROM tasks LIMIT 3",
    "SELECT RANK() OVER (PARTITION BY namespace + 0 ORDER BY 5 - (namespace + 0)) FROM tasks",
    "SELECT 5 % (namespace + 0) FROM tasks",
    "SELECT 5 / (id + 0) FROM tasks",
    "SELECT 2 / (3 / id) FROM tasks",
)

DATETIME_VALUE = re.compile(r"(?:Incorrect|Truncated incorrect) datetime value: '(.*)'")
AS_DECIMALS = ("DECIMAL", "SEC_TO_TIME", "FROM_UNIXTIME")
OF_ITS_OWN = frozenset({"1 DIV {}", "COALESCE({}, 1) + 1"})
DEPRECATED = frozenset({4095, 4096})
OF_A_DAY = re.compile(r"AS DATE\)|\b(?:DATE|TO_DAYS|DATEDIFF)\(")


@pytest.fixture(scope="module")
def ours(ours: Ours) -> Ours:
    mode = frozenset({"ONLY_FULL_GROUP_BY", "ERROR_FOR_DIVISION_BY_ZERO"})
    ours.context = replace(ours.context, sql_mode=mode)
    return ours


def difference(ours: Ours, theirs: Theirs, sql: str) -> str | None:
    """How the warnings differ; None when they agree or the answers already do not."""
    if theirs.is_mariadb and "CONV(" in sql:
        return None  # Of which MariaDB never warns.
    found = ours.answer(sql)
    # MariaDB keeps the warnings of the statement before one that reads no table.
    theirs.answer("SELECT 1 FROM tasks LIMIT 0")
    expected = theirs.answer(sql)
    if found == "error" or isinstance(expected, str):
        return None
    told, wanted = sorted(map(tuple, ours.warnings.conditions)), sorted(_as_mysql(sql, theirs))
    return None if told == wanted else f"{sql}: {told[:3]} instead of {wanted[:3]}"


def _as_mysql(sql: str, theirs: Theirs) -> list[tuple[int, str]]:
    """What MySQL warns of, but for deprecated delimiters, which are answered all the same.

    MariaDB compares and divides text and whole numbers as decimals, MySQL as doubles, of which '' is one; and
    where only a date is wanted it misses a datetime.
    """
    warnings = [warning for warning in theirs.warnings() if warning[0] not in DEPRECATED]
    if not theirs.is_mariadb:
        return warnings
    if OF_A_DAY.search(sql):
        return [(code, _of_a_day(sql, message)) for code, message in warnings]
    if any(word in sql for word in AS_DECIMALS):
        return warnings
    told = [(code, message.replace("incorrect DECIMAL", "incorrect DOUBLE")) for code, message in warnings]
    return [warning for warning in told if not warning[1].endswith("incorrect DOUBLE value: ''")]


def _of_a_day(sql: str, message: str) -> str:
    """Of a text; of a number MySQL says the same."""
    found = DATETIME_VALUE.fullmatch(message)
    if found is None or f"'{found[1]}'" not in sql:
        return message
    return f"Truncated incorrect date value: '{found[1]}'"


@needs_server
@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_value_warns_as_the_server_does(ours: Ours, theirs: Theirs, form: str) -> None:
    if form in OF_ITS_OWN and not theirs.is_mariadb:
        pytest.skip("MySQL divides texts as decimals here, or works a constant out in silence")
    differences = [difference(ours, theirs, "SELECT " + form.format(value)) for value in VALUES]
    assert [one for one in differences if one is not None] == []


@needs_server
@pytest.mark.parametrize("sql", OVER_ROWS)
def test_every_row_with_a_wrong_value_warns_as_the_server_does(ours: Ours, theirs: Theirs, sql: str) -> None:
    if " OVER " in sql and not theirs.is_mariadb:
        pytest.skip("MySQL works the keys of a window out again for each comparison, and warns each time")
    assert difference(ours, theirs, sql) is None


@pytest.mark.parametrize(
    ("sql", "conditions"),
    [
        ("SELECT LN(0)", [(3020, "Invalid argument for logarithm")]),
        ("SELECT INET_ATON('x')", [(1411, "Incorrect string value: ''x'' for function inet_aton")]),
        ("SELECT UNHEX('zz')", [(1411, "Incorrect string value: ''zz'' for function unhex")]),
        ("SELECT DATE('x')", [(1292, "Truncated incorrect date value: 'x'")]),
        ("SELECT YEAR('2026-03-01x')", [(1292, "Truncated incorrect date value: '2026-03-01x'")]),
        ("SELECT TIMESTAMP('x')", [(1292, "Incorrect datetime value: 'x'")]),
        ("SELECT EXTRACT(HOUR FROM 'x')", [(1292, "Truncated incorrect time value: 'x'")]),
        (
            "SELECT JSON_VALUE('[', '$')",
            [
                (
                    3141,
                    'Invalid JSON text in argument 1 to function json_value: "Invalid value." at position 1.',
                )
            ],
        ),
        ("SELECT CAST('x' AS TIME)", [(1292, "Truncated incorrect time value: 'x'")]),
        ("SELECT CONVERT(UNHEX('41FF') USING utf8mb4)", [(1300, "Invalid utf8mb4 character string: 'FF'")]),
        (
            "SELECT STR_TO_DATE('x', '%Y-%m-%d')",
            [(1411, "Incorrect datetime value: 'x' for function str_to_date")],
        ),
        (
            "SELECT CAST(JSON_EXTRACT('{\"a\": \"b\"}', '$.a') AS SIGNED)",
            [(3156, "Invalid JSON value for CAST to INTEGER from column json_extract at row 1")],
        ),
        (
            "SELECT DATE_ADD('9999-12-31', INTERVAL 1 DAY)",
            [(1441, "Datetime function: datetime field overflow")],
        ),
        (
            "SELECT CAST('-7' AS UNSIGNED)",
            [(1105, "Cast to unsigned converted negative integer to it's positive complement")],
        ),
        (
            "SELECT CAST(1234 AS DECIMAL(3,0))",
            [(1264, "Out of range value for column 'CAST(1234 AS DECIMAL(3, 0))' at row 1")],
        ),
        (
            "SELECT REPEAT('a', 100000000)",
            [(1301, "Result of repeat() was larger than max_allowed_packet (67108864) - truncated")],
        ),
    ],
)
def test_what_only_mysql_warns_of(ours: Ours, sql: str, conditions: list[tuple[int, str]]) -> None:
    ours.answer(sql)
    assert ours.warnings.conditions == conditions


@pytest.mark.parametrize(
    "window",
    [
        "PARTITION BY metadata->>'$.user_id' + 0",
        "PARTITION BY 5 % CHAR_LENGTH(namespace)",
        "PARTITION BY DATE_ADD(deliver_at, INTERVAL 1 DAY)",
        "ORDER BY metadata->>'$.user_id' + 0",
    ],
)
def test_what_may_warn_may_stand_in_a_window(ours: Ours, window: str) -> None:
    answer = ours.answer(f"SELECT ROW_NUMBER() OVER ({window}) FROM tasks WHERE 'my_num(' <> ''")
    assert ours.error is None
    assert len(answer) == len(ROWS)


@pytest.mark.parametrize(
    ("sql", "times"),
    [
        ("SELECT SUM({}) OVER () FROM tasks", 1),
        ("SELECT SUM({}) OVER (PARTITION BY namespace) FROM tasks", 1),
        ("SELECT SUM({0}) OVER (ORDER BY {0} + 0) FROM tasks", 2),
        ("SELECT RANK() OVER (PARTITION BY {0} + 0 ORDER BY 5 - ({0} + 0)), {0} + 0 FROM tasks", 2),
        ("SELECT SUM(1) OVER (PARTITION BY {0} + 0 ORDER BY 5 - {0} RANGE 1 PRECEDING) FROM tasks", 0),
    ],
)
def test_a_window_warns_of_what_it_adds_up_and_of_its_keys(ours: Ours, sql: str, times: int) -> None:
    ours.answer("SELECT {} + 0 FROM tasks".format("metadata->>'$.user_id'"))
    expected = ours.warnings.count
    assert expected
    assert ours.answer(sql.format("metadata->>'$.user_id'")) != "error"
    assert ours.warnings.count == expected * times


def test_the_keys_of_a_window_do_not_warn_of_what_no_row_has(ours: Ours) -> None:
    assert ours.answer("SELECT RANK() OVER (ORDER BY 5 % CHAR_LENGTH(namespace)) FROM tasks") != "error"
    assert ours.warnings.conditions == []


@pytest.mark.parametrize(
    "ordered", ["", "ORDER BY id", "ORDER BY id DESC ROWS 1 PRECEDING", "ORDER BY 1 - {0}"]
)
@pytest.mark.parametrize("function", ["COUNT(*)", "RANK()", "SUM(CHAR_LENGTH(id))", "MAX(id)"])
def test_rows_that_share_a_key_that_warns_share_a_window(ours: Ours, function: str, ordered: str) -> None:
    form = f"SELECT id, {function} OVER (PARTITION BY {{0}} {ordered}) FROM {{1}} ORDER BY id"
    found = ours.answer(form.format("metadata->>'$.user_id' + 0", "tasks"))
    assert found != "error"
    table = "(SELECT metadata->>'$.user_id' + 0 AS k, id FROM tasks) AS t"
    assert found == ours.answer(form.format("k", table))
