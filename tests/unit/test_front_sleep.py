"""SLEEP and DO: real waiting, ended by limits and by cancelling."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.front_driver import FrontDriver


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT SLEEP(0.05)",
        "SELECT sleep('0.05') AS nap",
        "DO SLEEP(0.05)",
        "SELECT SLEEP(0.02), SLEEP(0.03), 1",
    ],
)
async def test_sleeping_takes_its_time(sql: str) -> None:
    started = time.perf_counter()
    await FrontDriver().run(sql)
    assert time.perf_counter() - started >= 0.05


async def test_sleeping_gives_a_zero_beside_what_else_is_asked() -> None:
    driver = FrontDriver()
    await driver.run("SET @nap = 0")
    assert await driver.rows("SELECT SLEEP(0), 'a', @@version, SLEEP(@nap)") == [(0, "a", "8.0.36-z4", 0)]


@pytest.mark.parametrize("sql", ["SELECT SLEEP(-1)", "SELECT SLEEP(NULL)", "DO SLEEP(-0.5)"])
async def test_no_one_sleeps_for_less_than_nothing(sql: str) -> None:
    assert (await FrontDriver().error(sql)).code == 1210


@pytest.mark.parametrize(
    "before",
    ["SET max_execution_time = 20", "SET max_statement_time = 0.02", "SET @unused = 1"],
)
async def test_sleeping_ends_with_the_time_of_the_statement(before: str) -> None:
    driver = FrontDriver()
    await driver.run(before)
    hint = "/*+ MAX_EXECUTION_TIME(20) */" if "unused" in before else ""
    started = time.perf_counter()
    assert (await driver.error(f"SELECT {hint} SLEEP(60)")).code == 3024
    assert time.perf_counter() - started < 10


async def test_sleeping_can_be_cancelled() -> None:
    driver = FrontDriver()
    sleeping = asyncio.create_task(driver.run("SELECT SLEEP(20)"))
    await asyncio.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert await driver.rows("SELECT 1") == [(1,)]


async def test_do_works_expressions_out() -> None:
    driver = FrontDriver()
    await driver.run("DO 1 + 1, id")
    assert driver.runner.texts == ["SELECT 1 + 1, id"]
    assert (await driver.error("DO @@nonsense")).code == 1193
    assert (await driver.error("DO")).code == 1064


async def test_sleeping_once_for_each_row_is_left_to_the_engine() -> None:
    assert await FrontDriver().outcome("SELECT SLEEP(1) FROM tasks") == "runner"
