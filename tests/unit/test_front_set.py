"""SET: what is obeyed, what is refused, and that a refused SET changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.front_driver import NOW_US, FrontDriver
from z4sql.sql.context import Consistency, StatementContext


async def context_after(*statements: str, query: str = "SELECT id FROM tasks") -> StatementContext:
    driver = FrontDriver()
    for statement in statements:
        await driver.run(statement)
    await driver.run(query)
    return driver.runner.contexts[-1]


async def test_context_follows_the_session() -> None:
    context = await context_after(
        "SET sql_select_limit = 5, max_execution_time = 1500, time_zone = '+05:30'",
        "SET z4_consistency = 'linearizable', @limit := 3",
        "SET sql_mode = 'ONLY_FULL_GROUP_BY'",
    )
    assert context.limits.select_limit == 5
    assert context.limits.execution_time_ms == 1500
    assert context.time_zone.utcoffset(None) == timedelta(hours=5, minutes=30)
    assert context.consistency is Consistency.LINEARIZABLE
    assert context.user_variables == {"limit": 3}
    assert context.sql_mode == {"ONLY_FULL_GROUP_BY"}
    assert context.now_us == NOW_US


async def test_default_context() -> None:
    context = await context_after()
    assert context.limits.select_limit == 0
    assert context.limits.execution_time_ms == 30_000
    assert context.consistency is Consistency.LOCAL
    assert context.variable is not None and context.variable("version") == "8.0.36-z4"
    assert context.database == "z4"


async def test_timestamp_fixes_the_clock_until_default() -> None:
    assert (await context_after("SET timestamp = 1000.5")).now_us == 1_000_500_000
    assert (await context_after("SET timestamp = 1000", "SET timestamp = DEFAULT")).now_us == NOW_US


async def test_hint_limits_the_time() -> None:
    context = await context_after(query="SELECT /*+ MAX_EXECUTION_TIME(250) */ id FROM tasks")
    assert context.limits.execution_time_ms == 250


async def test_no_statement_may_run_longer_than_the_server_allows() -> None:
    assert (await context_after("SET max_execution_time = 999999999")).limits.execution_time_ms == 30_000


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SET nonsense = 1", 1193),
        ("SET @@session.nonsense = 1", 1193),
        ("SET version = 'x'", 1238),
        ("SET @@max_allowed_packet = 1", 1238),
        ("SET autocommit = 2", 1231),
        ("SET z4_consistency = 'eventual'", 1231),
        ("SET sql_mode = 'ANSI_QUOTES'", 1231),
        ("SET sql_mode = 'ansi'", 1231),
        ("SET sql_mode = 'STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES'", 1231),
        ("SET sql_mode = 'PIPES_AS_CONCAT'", 1231),
        ("SET sql_mode = 'NO_SUCH_MODE'", 1231),
        ("SET sql_select_limit = 'x'", 1232),
        ("SET time_zone = 'Nowhere/Land'", 1298),
        ("SET time_zone = '../../etc/passwd'", 1298),
        ("SET time_zone = '+15:00'", 1298),
        ("SET NAMES klingon", 1115),
        ("SET NAMES utf8mb4 COLLATE nonsense", 1273),
        ("SET collation_connection = nonsense", 1273),
        ("SET autocommit", 1064),
        ("SET autocommit =", 1064),
        ("SET", 1064),
        ("SET autocommit = 1,", 1064),
        ("SET @a = (SELECT id FROM tasks)", 1064),
        ("SET STATEMENT max_statement_time=1 FOR SELECT 1", 1064),
        ("SET TRANSACTION ISOLATION LEVEL NONE", 1064),
    ],
)
async def test_wrong_settings_are_refused(sql: str, code: int) -> None:
    assert (await FrontDriver().error(sql)).code == code


async def test_a_refused_list_changes_nothing() -> None:
    driver = FrontDriver()
    await driver.error("SET autocommit = 0, @x = 1, nonsense = 1")
    assert driver.session.autocommit
    assert await driver.rows("SELECT @@autocommit") == [(1,)]
    assert driver.session.user_variables == {}


async def test_values_are_expressions_over_variables() -> None:
    driver = FrontDriver()
    await driver.run("SET @a = 2 * 3 + 1, @b = 'it''s', @c = NULL, @d = -1.5")
    assert driver.session.user_variables["a"] == 7
    assert driver.session.user_variables["b"] == "it's"
    assert driver.session.user_variables["c"] is None
    await driver.run("SET sql_mode = concat(@@sql_mode, ',HIGH_NOT_PRECEDENCE'), wait_timeout = @a")
    assert str(driver.session.variable("sql_mode")).endswith(",HIGH_NOT_PRECEDENCE")
    assert driver.session.wait_timeout_s == 7


async def test_switches_take_every_spelling() -> None:
    driver = FrontDriver()
    for off in ("0", "OFF", "false", "'off'"):
        await driver.run(f"SET autocommit = {off}")
        assert not driver.session.autocommit
        await driver.run("SET autocommit = ON")
        assert driver.session.autocommit


async def test_names_set_character_sets_and_collation() -> None:
    driver = FrontDriver()
    await driver.run("SET NAMES latin1")
    sql = "SELECT @@character_set_client, @@character_set_results, @@collation_connection"
    assert await driver.rows(sql) == [("latin1", "latin1", "latin1_swedish_ci")]


async def test_isolation_is_remembered_under_both_names() -> None:
    driver = FrontDriver()
    await driver.run("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY")
    assert await driver.rows("SELECT @@transaction_isolation, @@tx_isolation") == [("SERIALIZABLE",) * 2]


async def test_reset_forgets_settings() -> None:
    driver = FrontDriver()
    await driver.run("SET autocommit = 0, time_zone = '+01:00', @a = 1")
    driver.front.reset_session(driver.session)
    assert driver.session.autocommit
    assert driver.session.variable("time_zone") == "+00:00"
    assert driver.session.user_variables == {}


async def test_summer_time_zones_are_known() -> None:
    context = await context_after("SET time_zone = 'Europe/Berlin'")
    assert str(context.time_zone) == "Europe/Berlin"
    await context_after("SET time_zone = SYSTEM")
