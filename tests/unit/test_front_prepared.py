"""Values of prepared statements: literals that read back as what they were."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlglot import exp

from tests.front_driver import FrontDriver
from z4sql.sql.errors import SqlError, Unsupported
from z4sql.sql.front.prepared import literal
from z4sql.sql.result import Parameter


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "NULL"),
        (7, "7"),
        (-7, "-7"),
        (1.5, "1.5e0"),
        (1e300, "1e+300"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        ("it's", "'it\\'s'"),
        ("a\\b\n\0", "'a\\\\b\\n\\0'"),
        (b"\x00\xff", "x'00ff'"),
        (datetime(2025, 1, 2, 3, 4, 5), "'2025-01-02 03:04:05'"),
        (datetime(2025, 1, 2, 3, 4, 5, 60), "'2025-01-02 03:04:05.000060'"),
        (date(2025, 1, 2), "'2025-01-02'"),
        (timedelta(hours=30, seconds=1), "'30:00:01'"),
        (-timedelta(minutes=1, microseconds=5), "'-00:01:00.000005'"),
    ],
)
def test_literals(value: Parameter, written: str) -> None:
    assert literal(value) == written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN")])
def test_what_is_no_number_has_no_literal(value: Parameter) -> None:
    with pytest.raises(SqlError) as caught:
        literal(value)
    assert caught.value.code == 1367


async def test_negative_values_do_not_begin_comments() -> None:
    driver = FrontDriver()
    await driver.prepared_text("SELECT 5-? FROM namespaces WHERE name = ?", -1, "x")
    assert driver.runner.queries[-1].sql("mysql") == "SELECT 5 - -1 FROM namespaces WHERE name = 'x'"


async def test_random_strings_stay_one_literal() -> None:
    chance = random.Random(3)
    alphabet = "'\"\\`;-#/*!?%_ \n\r\0\x1aaé\U0001f600"
    driver = FrontDriver()
    statement = await driver.front.prepare(driver.session, "SELECT id FROM tasks WHERE id = ?")
    for _ in range(500):
        value = "".join(chance.choices(alphabet, k=chance.randint(0, 12)))
        await driver.front.execute_prepared(driver.session, statement, [value])
        (found,) = driver.runner.queries[-1].find_all(exp.Literal)
        assert found.this == value
        assert found.is_string


async def test_counts_and_columns() -> None:
    driver = FrontDriver()
    statement = await driver.front.prepare(driver.session, "SELECT id FROM tasks WHERE id = ? LIMIT ?, ?")
    assert statement.parameter_count == 3
    assert [column.name for column in statement.columns] == ["n"]
    assert driver.runner.texts[-1].split()[-6:] == ["=", "NULL", "LIMIT", "1", ",", "1"]


@pytest.mark.parametrize("value", [5, 5.0, "5", Decimal("5"), Decimal("5.00"), True])
async def test_a_limit_takes_every_kind_of_whole_number(value: Parameter) -> None:
    """Node's mysql2 knows doubles only, PHP's emulation sends text."""
    driver = FrontDriver()
    await driver.prepared_text("SELECT id FROM tasks LIMIT ? OFFSET 2", value)
    limit = driver.runner.queries[-1].args["limit"].expression
    assert limit.sql("mysql") == ("1" if value is True else "5")


@pytest.mark.parametrize("value", [None, -1, 1.5, float("nan"), "5 OR 1", "", "５", b"5"])
async def test_a_limit_takes_nothing_else(value: Parameter) -> None:
    driver = FrontDriver()
    statement = await driver.front.prepare(driver.session, "SELECT id FROM tasks LIMIT ?, ?")
    with pytest.raises(SqlError) as caught:
        await driver.front.execute_prepared(driver.session, statement, [value, 1])
    assert caught.value.code == 1210


async def test_every_statement_with_rows_announces_its_columns() -> None:
    driver = FrontDriver()
    for sql, names in (
        ("CHECK TABLE tasks", ["Table", "Op", "Msg_type", "Msg_text"]),
        ("HELP 'x'", ["name", "is_it_category"]),
        ("SET STATEMENT time_zone = '+01:00' FOR SELECT @@version", ["@@version"]),
        ("SELECT SLEEP(?) AS s", ["s"]),
        ("DESCRIBE tasks", ["Field", "Type", "Null", "Key", "Default", "Extra"]),
    ):
        statement = await driver.front.prepare(driver.session, sql)
        assert [column.name for column in statement.columns] == names, sql


async def test_columns_are_empty_when_only_values_can_tell() -> None:
    driver = FrontDriver()
    driver.runner.error = Unsupported("NULL here")
    statement = await driver.front.prepare(driver.session, "SELECT id FROM tasks WHERE id = ?")
    assert statement.columns == ()
    driver.runner.error = SqlError("no column", code=1054, state="42S22")
    with pytest.raises(SqlError):
        await driver.front.prepare(driver.session, "SELECT nothing FROM tasks WHERE id = ?")


async def test_show_takes_parameters_too() -> None:
    driver = FrontDriver()
    statement = await driver.front.prepare(driver.session, "SHOW VARIABLES LIKE 'version'")
    assert [column.name for column in statement.columns] == ["Variable_name", "Value"]


async def test_set_takes_parameters_too() -> None:
    driver = FrontDriver()
    statement = await driver.front.prepare(driver.session, "SET @a = ?, time_zone = ?")
    await driver.front.execute_prepared(driver.session, statement, ["x'y", "+02:00"])
    assert driver.session.user_variables == {"a": "x'y"}
    assert driver.session.variable("time_zone") == "+02:00"


async def test_placeholders_need_a_prepared_statement() -> None:
    assert (await FrontDriver().error("SELECT id FROM tasks WHERE id = ?")).code == 1064


async def test_wrong_number_of_values() -> None:
    driver = FrontDriver()
    statement = await driver.front.prepare(driver.session, "SELECT id FROM tasks WHERE id = ?")
    with pytest.raises(SqlError) as caught:
        await driver.front.execute_prepared(driver.session, statement, [])
    assert caught.value.code == 1210
