"""The read-only wall: no write gets through, however it is dressed."""

from __future__ import annotations

import pytest
from sqlglot import exp

from tests.front_driver import FrontDriver

WRITES = [
    "INSERT INTO tasks VALUES (1)",
    "insert into tasks select * from tasks",
    "UPDATE tasks SET state = 'x'",
    "DELETE FROM tasks",
    "REPLACE INTO tasks VALUES (1)",
    "TRUNCATE TABLE tasks",
    "CREATE TABLE t (a int)",
    "CREATE TEMPORARY TABLE t SELECT 1",
    "CREATE DATABASE x",
    "DROP TABLE tasks",
    "ALTER TABLE tasks ADD COLUMN a int",
    "RENAME TABLE tasks TO t",
    "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE tasks",
    "GRANT ALL ON *.* TO root",
    "REVOKE ALL ON *.* FROM root",
    "CALL p()",
    "HANDLER tasks OPEN",
    "IMPORT TABLE FROM 'x'",
    "OPTIMIZE TABLE tasks",
    "REPAIR TABLE tasks",
    "ANALYZE TABLE tasks",
    "INSTALL PLUGIN p SONAME 'p.so'",
    "UNINSTALL PLUGIN p",
    "LOCK TABLES tasks WRITE",
    "LOCK TABLES tasks READ, namespaces WRITE",
    "SELECT * FROM tasks INTO OUTFILE '/tmp/x'",
    "SELECT 1 INTO DUMPFILE '/tmp/x'",
    "SELECT * INTO OUTFILE '/tmp/x' FROM tasks",
    "WITH a AS (SELECT 1) DELETE FROM tasks",
    "WITH a AS (SELECT 1) UPDATE tasks SET state = 1",
    "EXPLAIN DELETE FROM tasks",
    "EXPLAIN ANALYZE UPDATE tasks SET state = 1",
    "EXPLAIN FORMAT=JSON INSERT INTO tasks VALUES (1)",
    "DESC DELETE FROM tasks",
    "SET PASSWORD = 'x'",
    "XA START 'x'",
    "SET STATEMENT max_statement_time = 1 FOR DELETE FROM tasks",
    "{x DELETE FROM tasks}",
]
DISGUISES = [
    "{}",
    "  \n\t{}",
    "{};",
    "/* hello */ {}",
    "/*!40000 {} */",
    "/*! {} */",
    "# comment\n{}",
    "-- comment\n{}",
    "/*M! SELECT */ {}",
    "/*!99999 SELECT 1 */ {}",
]


@pytest.mark.parametrize("write", WRITES)
async def test_writes_are_refused_in_every_disguise(write: str) -> None:
    driver = FrontDriver()
    for disguise in DISGUISES:
        assert await driver.outcome(disguise.replace("{}", write)) == "error 1290", disguise
    assert not driver.runner.texts


@pytest.mark.parametrize("write", WRITES)
async def test_writes_are_refused_under_a_name_in_every_disguise(write: str) -> None:
    driver = FrontDriver()
    for disguise in DISGUISES:
        driver.session.user_variables["text"] = disguise.replace("{}", write)
        outcomes = [await driver.outcome("PREPARE s FROM @text"), await driver.outcome("EXECUTE s")]
        assert outcomes in (["error 1290", "error 1243"], ["ok", "error 1290"]), disguise
    assert not driver.runner.texts


@pytest.mark.parametrize("write", WRITES)
async def test_writes_are_refused_when_prepared_too(write: str) -> None:
    driver = FrontDriver()
    with pytest.raises(Exception) as caught:
        await driver.prepared_text(write)
    assert getattr(caught.value, "code", None) == 1290


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; DELETE FROM tasks",
        "SELECT 1 /*! ; DELETE FROM tasks */",
        "SELECT 1;;DELETE FROM tasks;",
        "BEGIN; DELETE FROM tasks",
        "COMMIT DELETE FROM tasks",
        "(DELETE FROM tasks)",
        "SELECT (DELETE FROM tasks)",
        "SELECT * FROM (DELETE FROM tasks) t",
        "SELECT * FROM (INSERT INTO tasks VALUES (1)) t",
        "DELETE/**/FROM",
        "SEL/**/ECT 1",
        "PRAGMA database_list",
        "COPY tasks TO 'x'",
        "ATTACH 'x'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM (SELECT * FROM glob('*')) t",
        "SELECT 1 UNION SELECT * FROM unnest('x')",
        "EXPLAIN SELECT * FROM read_text('/etc/passwd')",
        "DO (DELETE FROM tasks)",
        "DO 1; DELETE FROM tasks",
        "VALUES ROW((DELETE FROM tasks))",
        "SET STATEMENT sql_mode = '' FOR SELECT 1; DELETE FROM tasks",
        "MERGE INTO tasks USING x ON 1 WHEN MATCHED THEN DELETE",
    ],
)
async def test_nothing_hides_behind_or_inside_a_query(sql: str) -> None:
    driver = FrontDriver()
    assert await driver.outcome(sql) in ("error 1064", "error 1290")
    assert not driver.runner.texts


@pytest.mark.parametrize(
    "sql",
    [
        "FLUSH TABLES",
        "SET GLOBAL sql_mode = ''",
        "SET @@GLOBAL.sql_mode = ''",
        "SET PERSIST max_connections = 1",
        "SHOW MASTER STATUS",
        "SHOW BINARY LOGS",
        "SHOW SLAVE STATUS",
        "RESET MASTER",
        "PURGE BINARY LOGS TO 'x'",
        "START REPLICA",
        "SHUTDOWN",
        "LOCK INSTANCE FOR BACKUP",
        "SET GLOBAL TRANSACTION READ ONLY",
    ],
)
async def test_administration_lacks_the_privilege(sql: str) -> None:
    assert await FrontDriver().outcome(sql) == "error 1227"


async def test_values_of_prepared_statements_stay_values() -> None:
    driver = FrontDriver()
    attack = "x' OR 1=1; DELETE FROM tasks -- \\"
    text = await driver.prepared_text("SELECT * FROM tasks WHERE namespace = ?", attack)
    literal = driver.runner.queries[-1].find_all(exp.Literal)
    assert [node.this for node in literal] == [attack], text


async def test_question_marks_in_strings_and_comments_are_no_parameters() -> None:
    driver = FrontDriver()
    statement = await driver.front.prepare(
        driver.session, "SELECT '?', `a?`, \"?\" /* ? */ -- ?\n FROM tasks WHERE id = ? # ?"
    )
    assert statement.parameter_count == 1


async def test_who_tries_to_write_is_told_how_tasks_are_changed() -> None:
    error = await FrontDriver().error("UPDATE tasks SET state = 'done'")
    assert (error.code, error.state) == (1290, "HY000")
    assert error.message.startswith("The MySQL server is running with the --read-only option so it cannot")
    assert error.message.endswith("tasks are changed with the program z4t, or over gRPC")
