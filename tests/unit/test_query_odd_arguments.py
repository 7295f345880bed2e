"""Arguments that nobody would write: MySQL's answer (of 9.7) or an error that says what is wrong."""

from __future__ import annotations

import pytest

from tests.front_driver import FrontDriver
from tests.sql_service import answer
from z4sql.sql.errors import SqlError
from z4sql.sql.query import QueryService

PATTERNS = {
    "(": 3691,
    ")": 3691,
    "[[:foo:]]": 3685,
    "a{2,1}": 3693,
    "a{1001}": 1235,
    "\\\\": 3689,
    "[z-a]": 3697,
    "[a": 3696,
    "*": 3688,
    "$**.a": 3688,
    "(?z)": 3688,
    "(a)\\\\1": 1235,
    "\\\\p{Foo}": 3685,
    "": 3685,
    "((a{1,1000}){1,1000}){1,1000}": 1235,
}
PARTS = "FROM (SELECT 'a.b.c' AS s, '.' AS d UNION ALL SELECT 'a\\\\', '' UNION ALL SELECT '', 'é') t"


@pytest.mark.parametrize(
    ("expression", "answers"),
    [
        ("SUBSTRING_INDEX('www.mysql.com', '.', 2)", "www.mysql"),
        ("SUBSTRING_INDEX('www.mysql.com', '.', -2)", "mysql.com"),
        ("SUBSTRING_INDEX('www.mysql.com', '.', 9)", "www.mysql.com"),
        ("SUBSTRING_INDEX('www.mysql.com', '.', -9)", "www.mysql.com"),
        ("SUBSTRING_INDEX('www.mysql.com', '', 1)", ""),
        ("SUBSTRING_INDEX('aXXbXXc', 'XX', -1)", "c"),
        ("SUBSTRING_INDEX('aXXbXXc', 'XX', 0)", ""),
        ("SUBSTRING_INDEX('aXXbXXc', NULL, 1)", None),
        ("SUBSTRING_INDEX('é.🦀.x', '.', 2)", "é.🦀"),
        ("SUBSTRING_INDEX('a.b', '.', -9223372036854775808)", "a.b"),
        ("SUBSTRING_INDEX('a1b', CONCAT(NOT ('a')), 1)", "a"),
        ("'abc\\\\' LIKE 'abc\\\\'", 1),
        ("'abc' LIKE 'abc\\\\'", 0),
        ("'abc\\\\' LIKE 'abc\\\\\\\\'", 1),
        ("'a|' LIKE 'a|' ESCAPE '|'", 1),
        ("'a|' LIKE 'a||' ESCAPE '|'", 1),
        ("'a|' LIKE 'a|||' ESCAPE '|'", 0),
        ("'a' NOT LIKE 'a' ESCAPE ''", 0),
        ("CONV(1, 18446744073709551615, 1)", None),
        ("CONV(5, 37, 2)", None),
        ("CONV('ff', 16, -10)", "255"),
        ("REGEXP_SUBSTR('a', '_', 1, 18446744073709551615)", None),
        ("EXPORT_SET(5, 'Y', 'N', CONCAT('+', NOT ('a')), 4)", "Y+1N+1Y+1N"),
        ("EXPORT_SET(5, 'Y', 'N', ',', 0)", ""),
        ("EXPORT_SET(6, '1', '0', ',', 10)", "0,1,1,0,0,0,0,0,0,0"),
        ("EXPORT_SET(5, 'Y', 'N', NULL, 4)", None),
    ],
)
async def test_an_odd_argument_gets_the_answer(
    service: QueryService, expression: str, answers: str | int | None
) -> None:
    ((found,),) = await answer(service, f"SELECT {expression}")
    assert found == answers


async def test_what_is_worked_out_for_each_row_may_stand_for_a_delimiter_or_a_pattern(
    service: QueryService,
) -> None:
    rows = await answer(service, f"SELECT SUBSTRING_INDEX(s, d, 2), s LIKE CONCAT(d, '%'), s LIKE s {PARTS}")
    assert rows == [("a.b", 0, 1), ("", 1, 1), ("", 0, 1)]


@pytest.mark.parametrize(
    "count", ["'2'", "1.5", "1e3", "-1", "@a", "NULL", "0x10", "18446744073709551616", "9" * 3_999, "1, 1.5"]
)
async def test_a_limit_is_a_whole_number(count: str) -> None:
    driver = FrontDriver()
    for words in ("", "SQL_CALC_FOUND_ROWS "):
        assert (await driver.error(f"SELECT {words}name FROM namespaces LIMIT {count}")).code == 1064


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT {}",
        "SELECT 1e{}",
        "SELECT 1e309 -- {}",
        "SELECT name FROM namespaces ORDER BY {}",
        "SELECT name FROM namespaces LIMIT {}",
        "SELECT ROUND(1, {})",
        "SELECT NTILE({}) OVER ()",
        "SET @a = {}",
        "SET max_execution_time = {}",
        "KILL {}",
        "SHOW WARNINGS LIMIT {}",
    ],
)
async def test_a_number_of_thousands_of_digits_is_refused(sql: str) -> None:
    assert (await FrontDriver().error(sql.format("9" * 5_000))).code == 1367


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    "form", ["'x' REGEXP '{}'", "REGEXP_REPLACE('x', '{}', 'b')", "REGEXP_INSTR('x', '{}')"]
)
async def test_a_pattern_that_is_none_is_told_as_mysql_tells_it(
    service: QueryService, form: str, pattern: str
) -> None:
    with pytest.raises(SqlError) as refused:
        await answer(service, f"SELECT {form.format(pattern)}")
    assert refused.value.code == PATTERNS[pattern]


async def test_a_replacement_with_a_group_that_is_not_there_is_refused(
    service: QueryService,
) -> None:
    with pytest.raises(SqlError) as refused:
        await answer(service, "SELECT REGEXP_REPLACE('abc', 'b', '$2')")
    assert refused.value.code == 3686
    assert await answer(service, "SELECT REGEXP_REPLACE('abc', 'b', '\\\\')") == [("ac",)]


async def test_no_function_reads_endless_digits_out_of_a_text(service: QueryService) -> None:
    with pytest.raises(SqlError) as refused:
        await answer(service, "SELECT NOW(" + "9" * 3_999 + ")")
    assert refused.value.code == 1426


@pytest.mark.parametrize("told", ["x", "[1]", '["a", 1, 2]', "{}", "null"])
async def test_an_error_that_quotes_a_clients_text_is_not_taken_for_ours(
    service: QueryService, told: str
) -> None:
    with pytest.raises(SqlError) as refused:
        await answer(service, f"SELECT 'a' REGEXP '(refused by z4: {told}'")
    assert refused.value.code == 3691
