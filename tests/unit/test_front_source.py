"""How the text of a statement is read: comments, limits, and syntax errors as MySQL words them."""

from __future__ import annotations

import random
import time
from decimal import Decimal

import pytest

from tests.front_driver import FrontDriver
from tests.unit.test_front_client_statements import STATEMENTS
from z4sql.sql.errors import SqlError
from z4sql.sql.front.source import NESTING_MAX, TEXT_BYTES_MAX, Part, read_source, unescape


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT/*c*/1", "SELECT 1"),
        ("SELECT 1 -- c\n+ 1", "SELECT 1 + 1"),
        ("SELECT 1 # c", "SELECT 1"),
        ("SELECT /*! 1 */", "SELECT 1"),
        ("SELECT /*!80036 1 */", "SELECT 1"),
        ("SELECT 1 /*!80037 + 1 */", "SELECT 1"),
        ("SELECT 1 /*!99999 + 1 /* inner */ + 2 */", "SELECT 1"),
        ("SELECT 1 /*M! + 1 */", "SELECT 1"),
        ("SELECT 1 /*M!100100 + 1 */", "SELECT 1"),
        ("SELECT '/* no */', \"# no\", `-- no`", "SELECT '/* no */', \"# no\", `-- no`"),
        ("SELECT /*!40101 '*/' */", "SELECT '*/'"),
        ("SELECT 5--1", "SELECT 5- -1"),
        ("SELECT 5 --\t1", "SELECT 5"),
        ("SELECT 'it\\'s', 'it''s'; ;", "SELECT 'it\\'s', 'it''s'"),
    ],
)
def test_comments_vanish_or_become_code(sql: str, words: str) -> None:
    assert " ".join(read_source(sql).text.split()) == words


async def test_minus_minus_is_arithmetic_unless_a_blank_follows() -> None:
    driver = FrontDriver()
    await driver.run("SELECT 5--1 FROM namespaces")
    assert driver.runner.queries[-1].sql("mysql") == "SELECT 5 - -1 FROM namespaces"


@pytest.mark.parametrize(
    ("sql", "near", "line"),
    [
        ("SELECT id FROM tasks WHERE", "", 1),
        ("SELECT id\nFROM tasks\nWHERE x y z", "y z", 3),
        ("SELECT 1; SELECT 2", "SELECT 2", 1),
        ("FOO BAR", "FOO BAR", 1),
        ("SELECT 'abc", "'abc", 1),
        ("SELECT 1 /* open", "/* open", 1),
        ("SHOW\nNONSENSE x", "NONSENSE x", 2),
        ("SET autocommit 1", "1", 1),
    ],
)
async def test_syntax_errors_say_where(sql: str, near: str, line: int) -> None:
    error = await FrontDriver().error(sql)
    assert error.code == 1064
    assert error.message.startswith("You have an error in your SQL syntax; check the manual that")
    assert error.message.endswith(f"at line {line}")
    assert f"near '{near}" in error.message
    assert "\x1b" not in error.message


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "SELECT " + "NOT " * 5000 + "1",
        "SELECT " + "- " * 5000 + "1",
        "SELECT " + "~" * 5000 + "1",
        "SELECT " + "CASE WHEN 1 THEN " * 5000 + "1" + " END" * 5000,
        "SELECT " + "IF(1," * 5000 + "1" + ")" * 5000,
        "SELECT * FROM " + "(SELECT * FROM " * 3000 + "t" + ")" * 3000,
        "EXPLAIN " * 5000 + "SELECT 1",
    ],
    ids=lambda sql: sql[:20],
)
async def test_too_deep_nesting_is_a_syntax_error(sql: str) -> None:
    assert (await FrontDriver().error(sql)).code == 1064


@pytest.mark.parametrize(
    "opening",
    ["DATE(", "YEAR(", "TIMESTAMP(", "CHAR(", "(BINARY ", "BINARY f(", "(SELECT 1 LIMIT ", "DECIMAL("],
)
async def test_what_the_parser_would_read_again_and_again_is_refused(opening: str) -> None:
    """It tries these words as types first, and the alternatives multiply."""
    driver = FrontDriver()
    started = time.perf_counter()
    nested = opening * 40 + "id" + ")" * 40
    assert (await driver.error(f"SELECT {nested} FROM tasks")).code == 1436
    assert (await driver.error(f"SET @a = {nested}")).code == 1436
    assert time.perf_counter() - started < 1
    assert await driver.outcome("SELECT " + "DATE(" * 8 + "id" + ")" * 8 + " FROM tasks") == "runner"


async def test_types_beside_each_other_cost_nothing() -> None:
    listed = ", ".join(f"DATE(BINARY CHAR({number}))" for number in range(500))
    assert await FrontDriver().outcome(f"SELECT {listed} FROM tasks") == "runner"


async def test_nesting_that_people_write_is_fine() -> None:
    depth = NESTING_MAX - 1
    driver = FrontDriver()
    assert await driver.outcome("SELECT " + "(" * depth + "id" + ")" * depth + " FROM tasks") == "runner"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM tasks WHERE " + " OR ".join(["id = 'x'"] * 10_000),
        "SELECT 1" + " UNION SELECT 1" * 10_000,
        "SELECT 1" + " + 1" * 20_000,
        "SET @a = 1" + " + 1" * 20_000,
        "SET @a = SLEEP(1" + " + 1" * 20_000 + ")",
    ],
    ids=lambda sql: sql[:20],
)
async def test_endless_chains_are_told_to_be_too_deep(sql: str) -> None:
    assert (await FrontDriver().error(sql)).code == 1436


async def test_an_endless_number_of_a_connection_is_refused() -> None:
    assert (await FrontDriver().error("KILL 1" + " + 1" * 5_000)).code == 1235


async def test_conditions_of_show_have_a_length() -> None:
    """They are worked out for each row, on the loop that serves everybody."""
    many = ",".join(f"'{number}'" for number in range(5_000))
    assert (await FrontDriver().error(f"SHOW VARIABLES WHERE Variable_name IN ({many})")).code == 1235
    few = ",".join(f"'{number}'" for number in range(500))
    assert await FrontDriver().outcome(f"SHOW VARIABLES WHERE Variable_name IN ({few})") == "rows"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT {d '2025-01-01'}, {T '10:00:00'}", "SELECT DATE '2025-01-01' , TIME '10:00:00'"),
        ("SELECT { ts '2025-01-01 00:00:00' }", "SELECT TIMESTAMP '2025-01-01 00:00:00'"),
        ("SELECT {fn CONCAT({fn USER()}, 'x')}", "SELECT CONCAT( USER() , 'x')"),
        ("SELECT '{d}', \"}\", `{`", "SELECT '{d}', \"}\", `{`"),
        ("SELECT 1\n FROM {oj\na LEFT JOIN b ON 1}", "SELECT 1 FROM a LEFT JOIN b ON 1"),
    ],
)
def test_clauses_of_odbc_become_plain(sql: str, words: str) -> None:
    source = read_source(sql)
    assert " ".join(source.text.split()) == words
    assert source.text.count("\n") == sql.count("\n")
    for piece in source.pieces:
        if piece.part is Part.WORD:
            assert source.text[piece.start : piece.end].upper() == piece.value


@pytest.mark.parametrize("sql", ["SELECT {", "SELECT 1}", "SELECT {d '2025-01-01'", "SELECT {}", "{{a b}}"])
def test_broken_clauses_of_odbc_are_syntax_errors(sql: str) -> None:
    with pytest.raises(SqlError) as caught:
        read_source(sql)
    assert caught.value.code == 1064


@pytest.mark.parametrize("sql", ["SELECT '\udc80'", "SHOW TABLES LIKE '\ud800'", "SET @a = '\udfff'"])
async def test_half_characters_are_refused(sql: str) -> None:
    assert (await FrontDriver().error(sql)).code == 1300


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 1e999", 1367),
        ("KILL 1e999", 1367),
        ("KILL '1e999'", 1094),
        ("KILL " + "9" * 30, 1094),
        ("KILL -1", 1094),
        ("SHOW TABLES WHERE " + "9" * 5000, 1367),
        ("SHOW TABLES WHERE 1e300 * 1e300", 1690),
    ],
)
async def test_numbers_out_of_range_are_errors_of_sql(sql: str, code: int) -> None:
    assert (await FrontDriver().error(sql)).code == code


async def test_large_numbers_are_decimals() -> None:
    driver = FrontDriver()
    assert await driver.rows("SELECT 18446744073709551615, -9223372036854775808") == [(2**64 - 1, -(2**63))]
    (row,) = await driver.rows("SELECT 18446744073709551616, -9223372036854775809, 0.1")
    assert row == (Decimal(2**64), Decimal(-(2**63) - 1), Decimal("0.1"))
    assert await driver.outcome("SELECT " + "9" * 60) == "runner"


async def test_long_lists_are_fine() -> None:
    items = ",".join(f"'{number}'" for number in range(20_000))
    assert await FrontDriver().outcome(f"SELECT id FROM tasks WHERE id IN ({items})") == "runner"
    chain = " OR ".join(f"id='{number}'" for number in range(1_000))
    assert await FrontDriver().outcome(f"SELECT id FROM tasks WHERE {chain}") == "runner"


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT id FROM tasks WHERE id IN (" + ",".join(["1"] * 30_000) + ")", 3170),
        ("SET @a = " + " + ".join(["1"] * 30_000), 3170),
        ("SELECT " + ", ".join(["id"] * 4097) + " FROM tasks", 1117),
        ("SELECT GREATEST(" + ", ".join(["attempts"] * 4098) + ") FROM tasks", 3170),
        ("SELECT CASE attempts" + " WHEN 1 THEN 2" * 4097 + " END FROM tasks", 3170),
        ("SELECT 1 FROM tasks ORDER BY " + ", ".join(["id"] * 4097), 3170),
    ],
    ids=["values", "variables", "columns", "arguments", "branches", "keys"],
)
async def test_too_many_things_in_a_statement_are_refused(sql: str, code: int) -> None:
    driver = FrontDriver()
    assert (await driver.error(sql)).code == code
    with pytest.raises(SqlError) as refused:
        await driver.front.prepare(driver.session, sql)
    assert refused.value.code == code


async def test_too_long_a_statement_is_refused() -> None:
    assert (await FrontDriver().error("SELECT '" + "x" * TEXT_BYTES_MAX + "'")).code == 1153


def test_unescape() -> None:
    assert unescape(r"'a\n\0\\\'\%\_\x'") == "a\n\0\\'\\%\\_x"
    assert unescape("'it''s \"\"'") == 'it\'s ""'
    assert unescape('"say ""x"" it\'\'s"') == "say \"x\" it''s"


async def test_any_text_gives_an_answer_or_an_sql_error() -> None:
    """Random damage to known statements; nothing but `SqlError` may come out."""
    chance = random.Random(7)
    pieces = [
        "'",
        '"',
        "`",
        "(",
        ")",
        "/*",
        "*/",
        "/*!",
        "--",
        "\n",
        ";",
        ",",
        "?",
        "@",
        "@@",
        ".",
        "\\",
        "=",
        "\0",
        "é",
        "{",
        "}",
        "{ts ",
        "-",
        "9" * 25,
        "1e999",
        ".",
        "%",
        "SLEEP",
        "DO ",
        "EXPLAIN ",
        "SET STATEMENT ",
        " FOR ",
        "VALUES ROW(",
    ]
    for _ in range(3000):
        text = chance.choice(STATEMENTS)[0]
        for _ in range(chance.randint(1, 4)):
            at = chance.randint(0, len(text))
            match chance.randint(0, 2):
                case 0:
                    text = text[:at] + chance.choice(pieces) + text[at:]
                case 1:
                    text = text[:at] + text[at + chance.randint(1, 8) :]
                case _:
                    other = chance.choice(STATEMENTS)[0]
                    text = text[:at] + " " + other[chance.randint(0, len(other)) :]
        if "SLEEP" in text.upper() and any(digit in text for digit in "123456789"):
            continue
        driver = FrontDriver()
        try:
            statement = await driver.front.prepare(driver.session, text)
            values = ["x"] * statement.parameter_count
            await driver.front.execute_prepared(driver.session, statement, values)
        except SqlError:
            pass
