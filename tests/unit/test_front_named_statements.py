"""PREPARE, EXECUTE and DEALLOCATE PREPARE, as MySQL answers them."""

from __future__ import annotations

import pytest
from sqlglot import exp

from tests.front_driver import COLUMN, FrontDriver
from z4sql.sql.errors import SqlError
from z4sql.sql.front.named_statements import STATEMENTS_MAX
from z4sql.sql.wire.statements import TEXTS_MAX


async def test_a_statement_runs_under_its_name_with_the_values_of_variables() -> None:
    driver = FrontDriver()
    await driver.run("PREPARE Late FROM 'SELECT id FROM tasks WHERE id = ? AND lateness > ? LIMIT ?'")
    await driver.run("SET @id = 'it''s', @least = 1.50, @most = 7")
    assert await driver.rows("EXECUTE late USING @id, @LEAST, @most") == [(1,)]
    query = driver.runner.queries[-1]
    assert query.sql("mysql") == "SELECT id FROM tasks WHERE id = 'it''s' AND lateness > 1.50 LIMIT 7"
    await driver.run("EXECUTE `LATE` USING @unset, @unset, @most")
    assert driver.runner.queries[-1].sql("mysql").count("NULL") == 2


async def test_the_text_may_be_that_of_a_variable() -> None:
    driver = FrontDriver()
    await driver.run("SET @text = 'SELECT ?'")
    await driver.run("PREPARE `a b` FROM @text")
    await driver.run("SET @text = 'SELECT 9', @four = 4")
    assert await driver.rows("EXECUTE `a b` USING @four") == [(4,)]


async def test_a_name_is_given_anew_and_lost_when_the_new_text_is_wrong() -> None:
    driver = FrontDriver()
    await driver.run("PREPARE s FROM 'SELECT 1'")
    await driver.run("PREPARE S FROM 'SELECT 2'")
    assert await driver.rows("EXECUTE s") == [(2,)]
    assert (await driver.error("PREPARE s FROM 'SELECT'")).code == 1064
    assert (await driver.error("EXECUTE s")).code == 1243


@pytest.mark.parametrize(
    "forget", ["DEALLOCATE PREPARE s", "DROP PREPARE S", "/* x */ deallocate prepare `s`;"]
)
async def test_deallocated_statements_are_unknown(forget: str) -> None:
    driver = FrontDriver()
    await driver.run("PREPARE s FROM 'SELECT 1'")
    assert await driver.outcome(forget) == "ok"
    error = await driver.error("EXECUTE s")
    assert (error.code, error.state) == (1243, "HY000")
    assert error.message == "Unknown prepared statement handler (s) given to EXECUTE"
    error = await driver.error(forget)
    assert (error.code, error.message.lower()) == (
        1243,
        "unknown prepared statement handler (s) given to deallocate prepare",
    )


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("EXECUTE one", 1210),
        ("EXECUTE one USING @a, @a", 1210),
        ("EXECUTE one USING", 1064),
        ("EXECUTE one USING 1", 1064),
        ("EXECUTE one USING @@version", 1064),
        ("EXECUTE one USING @a,", 1064),
        ("EXECUTE one @a", 1064),
        ("EXECUTE", 1064),
        ("EXECUTE IMMEDIATE 'SELECT 1'", 1064),
        ("EXECUTE rows_ USING @text", 1210),
        ("PREPARE", 1064),
        ("PREPARE s", 1064),
        ("PREPARE s FROM", 1064),
        ("PREPARE s FROM SELECT 1", 1064),
        ("PREPARE s FROM 'SELECT 1' x", 1064),
        ("PREPARE s FROM CONCAT('SELECT ', '1')", 1064),
        ("PREPARE s FROM @unset", 1064),
        ("PREPARE s FROM @a", 1064),
        ("PREPARE s FROM ''", 1065),
        ("PREPARE s FROM 'SELECT 1; SELECT 2'", 1064),
        ("PREPARE s FROM 'SELECT nothing FROM nowhere'", 1146),
        ("PREPARE s FROM 'PREPARE t FROM \\'SELECT 1\\''", 1295),
        ("PREPARE s FROM 'EXECUTE one'", 1295),
        ("PREPARE s FROM 'DEALLOCATE PREPARE one'", 1295),
        ("PREPARE s FROM 'DROP PREPARE one'", 1295),
        ("PREPARE s FROM 'SET STATEMENT max_statement_time = 1 FOR EXECUTE one'", 1295),
        ("PREPARE s FROM 'SET STATEMENT max_statement_time = ? FOR EXECUTE s'", 1295),
        ("DEALLOCATE one", 1064),
        ("DEALLOCATE PREPARE one, one", 1064),
        ("DROP PREPARE", 1064),
    ],
)
async def test_wrong_ones_are_refused(sql: str, code: int) -> None:
    driver = FrontDriver()
    await driver.run("PREPARE one FROM 'SELECT ?'")
    await driver.run("PREPARE rows_ FROM 'SELECT id FROM tasks LIMIT ?'")
    await driver.run("SET @a = 1, @text = 'many'")
    if code == 1146:
        driver.runner.error = SqlError("Table 'z4.nowhere' doesn't exist", code=1146)
    assert (await driver.error(sql)).code == code


@pytest.mark.parametrize(
    "sql", ["PREPARE s FROM 'SELECT 1'", "EXECUTE s", "DEALLOCATE PREPARE s", "DROP PREPARE s"]
)
async def test_the_binary_protocol_does_not_prepare_what_prepares(sql: str) -> None:
    driver = FrontDriver()
    with pytest.raises(SqlError) as caught:
        await driver.front.prepare(driver.session, sql)
    assert caught.value.code == 1295


async def test_warnings_of_the_statement_before_can_be_asked_for_by_name() -> None:
    driver = FrontDriver()
    await driver.run("PREPARE warned FROM 'SHOW WARNINGS'")
    await driver.run("PREPARE other FROM 'SELECT 1'")
    await driver.error("SELECT nonsense FROM")
    assert [row[1] for row in await driver.rows("EXECUTE warned")] == [1064]
    await driver.error("EXECUTE nobody")
    assert [row[1] for row in await driver.rows("EXECUTE warned")] == [1243]
    await driver.run("EXECUTE other")
    assert await driver.rows("EXECUTE warned") == []


async def test_every_kind_of_statement_can_have_a_name() -> None:
    driver = FrontDriver()
    await driver.run("SET @n = 6")
    for name, text in (("v", "SET @n = @n + 1"), ("d", "DO SLEEP(0)"), ("u", "USE information_schema")):
        await driver.run(f"PREPARE {name} FROM '{text}'")
        assert await driver.outcome(f"EXECUTE {name}") == "ok"
    assert driver.session.user_variables["n"] == 7
    assert driver.session.database == "information_schema"
    await driver.run("PREPARE nothing FROM '/* only a comment */'")
    assert await driver.outcome("EXECUTE nothing") == "ok"


async def test_an_optimizer_hint_reaches_the_prepared_query() -> None:
    driver = FrontDriver()
    hinted = "SELECT /*+ MAX_EXECUTION_TIME(1234) */ id FROM tasks WHERE id = ?"
    statement = await driver.front.prepare(driver.session, hinted)
    for _ in range(2):
        await driver.front.execute_prepared(driver.session, statement, ["a"])
        assert driver.runner.contexts[-1].limits.execution_time_ms == 1234


async def test_statements_are_the_sessions_own_and_end_with_it() -> None:
    driver = FrontDriver()
    await driver.run("PREPARE s FROM 'SELECT 1'")
    driver.front.reset_session(driver.session)
    assert (await driver.error("EXECUTE s")).code == 1243


async def test_a_session_has_so_many_statements_and_no_more() -> None:
    driver = FrontDriver()
    for at in range(STATEMENTS_MAX):
        await driver.run(f"PREPARE s{at} FROM 'SELECT 1'")
    error = await driver.error("PREPARE another FROM 'SELECT 1'")
    assert (error.code, error.state) == (1461, "42000")
    await driver.run("PREPARE s0 FROM 'SELECT 2'")
    await driver.run("DROP PREPARE s1")
    await driver.run("PREPARE another FROM 'SELECT 1'")


async def test_texts_of_a_session_have_so_many_characters_and_no_more() -> None:
    driver = FrontDriver()
    driver.session.user_variables["text"] = f"SELECT '{'x' * 999_000}'"
    driver.runner.error = None
    for at in range(TEXTS_MAX // 999_000):
        await driver.run(f"PREPARE s{at} FROM @text")
    assert (await driver.error("PREPARE another FROM @text")).code == 3170
    await driver.run("PREPARE s0 FROM @text")
    await driver.run("DEALLOCATE PREPARE s0")
    await driver.run("PREPARE another FROM @text")


async def test_long_texts_keep_no_pieces() -> None:
    driver = FrontDriver()
    many = ", ".join(["'a'"] * 20_000)
    statement = await driver.front.prepare(
        driver.session, f"SELECT id FROM tasks WHERE id IN ({many}) OR id = ?"
    )
    await driver.front.execute_prepared(driver.session, statement, ["b"])
    assert driver.runner.queries[-1].find(exp.EQ) is not None
    assert statement.columns == (COLUMN,)
    assert not statement.templates.source.pieces  # type: ignore[attr-defined]  # of the front end's own kind
