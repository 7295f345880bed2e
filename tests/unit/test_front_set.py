"""SET: what is obeyed, what is refused, and that a refused SET changes nothing."""

from __future__ import annotations

import time
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


async def test_the_timestamp_is_the_time_of_the_statement() -> None:
    context = await context_after()
    assert context.variable is not None and context.variable("timestamp") == NOW_US / 1_000_000
    driver = FrontDriver()
    before_s = time.time()
    ((shown,),) = await driver.rows("SELECT @@timestamp")
    assert isinstance(shown, float) and before_s <= shown <= time.time()
    await driver.run("SET timestamp = 1000.5")
    assert await driver.rows("SELECT @@timestamp") == [(1000.5,)]


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
        ("SET warning_count = 0", 1238),
        ("SET @@max_allowed_packet = 1", 1621),
        ("SET SESSION max_connections = 1", 1229),
        ("SET innodb_strict_mode = 2", 1231),
        ("SET wait_timeout = 10 / 2", 1232),
        ("SET wait_timeout = 99999999999999999999999999", 1232),
        ("SET time_zone = 0", 1232),
        ("SET completion_type = 'sometimes'", 1231),
        ("SET completion_type = 3", 1231),
        ("SET session_track_gtids = 'sometimes'", 1231),
        ("SET default_storage_engine = 'nosuch'", 1286),
        ("SET sql_mode = 16777216000", 1231),
        ("SET lc_time_names = 'nosuch'", 1649),
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
        ("SET autocommit = (SELECT id FROM tasks)", 1064),
        ("SET timestamp = 1e300", 1231),
        ("SET timestamp = -1", 1231),
        ("SET @a = 1e400", 1367),
        ("SET @a = 1e300 * 1e300", 1690),
        ("SET @a = 9223372036854775807 * 9223372036854775807", 1690),
        ("SET @a = 99999999999999999999 * 99999999999999999999", 1690),
        ("SET @a = " + "9" * 5000, 1367),
        ("SET STATEMENT nonsense = 1 FOR SELECT 1", 1193),
        ("SET STATEMENT version = 'x' FOR SELECT 1", 1238),
        ("SET STATEMENT time_zone = '+01:00'", 1064),
        ("SET STATEMENT FOR SELECT 1", 1064),
        ("SET STATEMENT autocommit = 0 FOR SET autocommit = 1", 1064),
        ("SET STATEMENT autocommit = 0 FOR DELETE FROM tasks", 1290),
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
    await driver.run("SET sql_mode = concat(@@sql_mode, ',PAD_CHAR_TO_FULL_LENGTH'), wait_timeout = @a")
    assert str(driver.session.variable("sql_mode")).endswith(",PAD_CHAR_TO_FULL_LENGTH")
    assert driver.session.wait_timeout_s == 7


@pytest.mark.parametrize(
    "setting",
    [
        "sql_mode = 'HIGH_NOT_PRECEDENCE'",
        "sql_mode = 'NO_UNSIGNED_SUBTRACTION'",
        "sql_mode = 'ALLOW_INVALID_DATES'",
        "sql_mode = 'TIME_TRUNCATE_FRACTIONAL'",
        "sql_mode = 'REAL_AS_FLOAT'",
        "div_precision_increment = 10",
        "default_week_format = 3",
        "lc_time_names = 'de_DE'",
    ],
)
async def test_a_setting_that_answers_would_not_follow_is_refused(setting: str) -> None:
    assert (await FrontDriver().error(f"SET {setting}")).code in (1231, 1649)
    await FrontDriver().run(
        "SET div_precision_increment = 4, default_week_format = 0, lc_time_names = 'en_GB'"
    )


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("completion_type = 1", "CHAIN"),
        ("transaction_isolation = 3", "SERIALIZABLE"),
        ("default_storage_engine = innodb", "InnoDB"),
        ("sql_mode = 'no_zero_date,STRICT_TRANS_TABLES'", "STRICT_TRANS_TABLES,NO_ZERO_DATE"),
        ("sql_mode = 2097184", "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES"),
        (
            "sql_mode = 'traditional'",
            "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
            "TRADITIONAL,NO_ENGINE_SUBSTITUTION",
        ),
    ],
)
async def test_words_are_kept_as_mysql_spells_them(setting: str, shown: str) -> None:
    """As MySQL 9.7 shows them."""
    driver = FrontDriver()
    await driver.run(f"SET {setting}")
    assert await driver.rows(f"SELECT @@{setting.partition(' ')[0]}") == [(shown,)]


async def test_what_was_brought_into_its_range_is_warned_of() -> None:
    driver = FrontDriver()
    await driver.run("SET wait_timeout = 0, group_concat_max_len = 1, sql_select_limit = 5")
    assert await driver.rows("SHOW WARNINGS") == [
        ("Warning", 1292, "Truncated incorrect wait_timeout value: '0'"),
        ("Warning", 1292, "Truncated incorrect group_concat_max_len value: '1'"),
    ]


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


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("wait_timeout = 0", 1),
        ("wait_timeout = 99999999999", 31_536_000),
        ("max_execution_time = -1", 0),
        ("max_sort_length = 1", 4),
        ("max_statement_time = 1e308", 31_536_000.0),
        ("max_statement_time = -5", 0.0),
        ("sql_select_limit = 18446744073709551615", 2**64 - 1),
        ("group_concat_max_len = 1", 4),
        ("wait_timeout = 10 - 5", 5),
    ],
)
async def test_numbers_are_brought_into_their_range(setting: str, kept: float) -> None:
    driver = FrontDriver()
    await driver.run(f"SET {setting}")
    assert await driver.rows(f"SELECT @@{setting.partition(' ')[0]}") == [(kept,)]
    assert await driver.outcome("SELECT id FROM tasks") == "runner"


async def test_exact_numbers_stay_exact() -> None:
    driver = FrontDriver()
    await driver.run("SET @a = 1 / 3, @b = 1.50 * 1.5, @c = 12345678901234567890.5 + 0.25, @d = 7 / 0")
    assert {name: str(value) for name, value in driver.session.user_variables.items()} == {
        "a": "0.3333",
        "b": "2.250",
        "c": "12345678901234567890.75",
        "d": "None",
    }


async def test_set_statement_holds_for_one_statement() -> None:
    driver = FrontDriver()
    await driver.run("SET time_zone = '+01:00', wait_timeout = 9")
    await driver.run("SET STATEMENT time_zone = '+03:00', max_statement_time = 2 FOR SELECT id FROM tasks")
    context = driver.runner.contexts[-1]
    assert context.time_zone.utcoffset(None) == timedelta(hours=3)
    assert context.limits.execution_time_ms == 2000
    await driver.run("SELECT id FROM tasks")
    context = driver.runner.contexts[-1]
    assert context.time_zone.utcoffset(None) == timedelta(hours=1)
    assert context.limits.execution_time_ms == 30_000
    assert driver.session.wait_timeout_s == 9


async def test_set_statement_is_undone_after_an_error() -> None:
    driver = FrontDriver()
    await driver.error("SET STATEMENT time_zone = '+03:00', autocommit = 0 FOR SHOW TABLES FROM nowhere")
    assert driver.session.variable("time_zone") == "+00:00"
    assert driver.session.autocommit


async def test_zone_names_are_known_in_either_case() -> None:
    context = await context_after("SET time_zone = 'europe/BERLIN'")
    assert str(context.time_zone) == "Europe/Berlin"


async def test_a_limit_of_no_rows_becomes_part_of_the_query() -> None:
    driver = FrontDriver()
    await driver.run("SET sql_select_limit = 0")
    await driver.run("SELECT id FROM tasks")
    assert driver.runner.queries[-1].sql("mysql") == "SELECT id FROM tasks LIMIT 0"
    await driver.run("SELECT id FROM tasks LIMIT 3")
    assert driver.runner.queries[-1].sql("mysql") == "SELECT id FROM tasks LIMIT 3"
