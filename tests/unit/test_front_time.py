"""The time of a statement begins when it comes: reading and parsing a long text are part of it."""

from __future__ import annotations

import time

import pytest

from tests.front_driver import FrontDriver
from z4sql.sql.errors import TimedOut

LONG = "SELECT 1 IN (" + ", ".join(["1"] * 20_000) + ")"


async def test_a_long_text_is_out_of_time_before_it_is_read() -> None:
    driver = FrontDriver()
    await driver.run("SET max_execution_time = 1")
    with pytest.raises(TimedOut):
        await driver.run(LONG)
    with pytest.raises(TimedOut):
        await driver.front.prepare(driver.session, LONG)
    assert not driver.runner.texts
    await driver.run("SET max_execution_time = 0")
    await driver.run(LONG)


async def test_what_reading_took_is_taken_off_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FrontDriver()
    await driver.run("SET max_execution_time = 20000")
    await driver.run("SELECT id FROM namespaces")
    assert driver.runner.contexts[-1].limits.execution_time_ms == 20_000
    now_s = time.monotonic()
    driver.session.began_s = now_s - 2
    monkeypatch.setattr("z4sql.sql.front.session.time.monotonic", lambda: now_s)
    assert driver.session.context(0).limits.execution_time_ms == 18_000


async def test_a_session_that_waited_long_prepares_anew() -> None:
    driver = FrontDriver()
    await driver.run("SET max_execution_time = 20000")
    driver.session.began_s -= 3_600
    assert (await driver.front.prepare(driver.session, LONG)).parameter_count == 0
