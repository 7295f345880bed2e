"""What tools and drivers send of their own accord, and what kind of answer they get."""

from __future__ import annotations

import pytest

from tests.front_driver import FrontDriver

STATEMENTS = [
    # mysql and mariadb command lines, and their dump
    ("select @@version_comment limit 1", "rows"),
    ("select DATABASE(), USER() limit 1", "rows"),
    ("select @@character_set_client, @@character_set_connection, @@character_set_server limit 1", "rows"),
    ("/*!40100 SET @@SQL_MODE='' */", "ok"),
    ("/*!40103 SET TIME_ZONE='+00:00' */", "ok"),
    ("/*M!100100 SET @@MAX_STATEMENT_TIME=0.000000 */", "ok"),
    ("/*M!100100 SET WAIT_TIMEOUT=DEFAULT */", "ok"),
    ("set optimizer_switch='semijoin=off'", "ok"),
    ("LOCK TABLES `tasks` READ /*!32311 LOCAL */", "ok"),
    ("UNLOCK TABLES", "ok"),
    ("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "ok"),
    ("START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */", "ok"),
    ("SAVEPOINT sp", "ok"),
    ("ROLLBACK TO SAVEPOINT sp", "ok"),
    ("RELEASE SAVEPOINT sp", "ok"),
    ("SET SQL_QUOTE_SHOW_CREATE=1", "ok"),
    ("SET SESSION character_set_results = 'binary'", "ok"),
    ("show create table `tasks`", "rows"),
    ("show fields from `tasks`", "rows"),
    ("SELECT /*!40001 SQL_NO_CACHE */ `id` FROM `tasks`", "runner"),
    ("SHOW TRIGGERS LIKE 'tasks'", "rows"),
    ("show table status like 'tasks'", "rows"),
    ("show /*!32332 FULL */ columns from `tasks`", "rows"),
    ("SHOW /*!50002 FULL*/ TABLES", "rows"),
    ("CHECK TABLE `tasks`", "rows"),
    ("show /*!40003 GLOBAL */ variables", "rows"),
    ("show /*!50002 GLOBAL */ status", "rows"),
    ("show processlist", "rows"),
    # Python drivers and SQLAlchemy
    ("SET AUTOCOMMIT = 0", "ok"),
    ("SET NAMES utf8mb4", "ok"),
    ("SET NAMES 'utf8mb4' COLLATE 'utf8mb4_0900_ai_ci'", "ok"),
    ("SET @@session.autocommit = OFF", "ok"),
    ("SELECT @@session.autocommit", "rows"),
    ("SELECT @@transaction_isolation", "rows"),
    ("SHOW FULL TABLES FROM `z4`", "rows"),
    ("DESCRIBE `z4`.`tasks`", "rows"),
    # Java drivers
    (
        "/* mysql-connector-j-8.3.0 */SELECT @@session.auto_increment_increment AS auto_increment_increment, "
        "@@character_set_client AS character_set_client, @@collation_server AS collation_server, "
        "@@init_connect AS init_connect, @@license AS license, @@max_allowed_packet AS max_allowed_packet, "
        "@@performance_schema AS performance_schema, @@sql_mode AS sql_mode, @@time_zone AS time_zone, "
        "@@system_time_zone AS system_time_zone, @@wait_timeout AS wait_timeout",
        "rows",
    ),
    ("SET character_set_results = NULL", "ok"),
    ("SET sql_select_limit=DEFAULT", "ok"),
    ("SET SESSION TRANSACTION READ ONLY", "ok"),
    ("SET SESSION time_zone='Europe/Berlin'", "ok"),
    ("set autocommit=1, sql_mode = concat(@@sql_mode,',STRICT_TRANS_TABLES')", "ok"),
    (
        "set session_track_schema=1, SESSION_TRACK_SYSTEM_VARIABLES= IF(@@session_track_system_variables = "
        "'*', '*', CONCAT(@@session_track_system_variables,',autocommit'))",
        "ok",
    ),
    ("SHOW VARIABLES WHERE Variable_name in ('max_allowed_packet','time_zone')", "rows"),
    ("SET SESSION SQL_AUTO_IS_NULL=0", "ok"),
    ("SELECT WORD FROM INFORMATION_SCHEMA.KEYWORDS WHERE RESERVED=1 ORDER BY WORD", "runner"),
    # DBeaver, Grafana, Metabase, phpMyAdmin, Adminer, Workbench, HeidiSQL, DataGrip, Superset
    ("/* ApplicationName=DBeaver 24.0 - Metadata */ SHOW ENGINES", "rows"),
    ("SHOW CHARSET", "rows"),
    ("SHOW COLLATION", "rows"),
    ("SHOW PLUGINS", "rows"),
    ("SHOW FULL TABLES FROM `z4` WHERE `Tables_in_z4` LIKE 'tasks' AND Table_type <> 'SEQUENCE'", "rows"),
    ("use `z4`", "ok"),
    ("SHOW CREATE DATABASE `z4`", "rows"),
    ("EXPLAIN FORMAT=JSON SELECT 1", "runner"),
    ("EXPLAIN EXTENDED SELECT 1", "runner"),
    ("SHOW PRIVILEGES", "rows"),
    ("SHOW GRANTS FOR 'root'@'localhost'", "rows"),
    ("SHOW GRANTS FOR CURRENT_USER()", "rows"),
    ("SHOW GRANTS;", "rows"),
    ("SELECT 1", "rows"),
    ("SELECT CURRENT_USER();", "rows"),
    ("SELECT CURRENT_ROLE();", "rows"),
    ("SHOW MASTER LOGS", "error 1227"),
    ("SHOW WARNINGS", "rows"),
    ("SHOW COUNT(*) WARNINGS", "rows"),
    ("show character set where charset = 'utf8mb4'", "rows"),
    ("SHOW SESSION STATUS LIKE 'Ssl_cipher'", "rows"),
    ("SET @@SESSION.wait_timeout=610", "ok"),
    ("SHOW PROCEDURE STATUS WHERE Db='z4'", "rows"),
    ("SHOW FUNCTION STATUS WHERE LOWER(Db) = LOWER('z4')", "rows"),
    ("SHOW KEYS FROM `tasks` FROM `z4`", "rows"),
    ("SHOW OPEN TABLES FROM `z4` WHERE `in_use`!=0", "rows"),
    ("SHOW GLOBAL STATUS LIKE 'Com\\_%'", "rows"),
    ("set session transaction read write", "ok"),
    ("select version(), @@version_comment, database()", "rows"),
    ("SELECT t.* FROM z4.tasks t LIMIT 501", "runner"),
    ("SELECT CONNECTION_ID()", "rows"),
    ("KILL CONNECTION 2", "ok"),
    ("KILL QUERY 99", "error 1094"),
    ("(SELECT id FROM tasks) UNION (SELECT id FROM tasks)", "runner"),
    ("VALUES ROW(1,2)", "rows"),
    ("VALUES ROW(1,2), ROW(3,4)", "runner"),
    ("VALUES ROW(1,2), ROW(3)", "error 1136"),
    ("HELP 'SELECT'", "rows"),
    ("HELP", "error 1064"),
    ("DO 1 + 1, @a", "runner"),
    ("TABLE tasks", "runner"),
    ("SELECT a FROM tasks LOCK IN SHARE MODE", "runner"),
    ("SELECT a FROM tasks FOR UPDATE", "runner"),
    ("DO SLEEP(0)", "ok"),
    ("SELECT SLEEP(0)", "rows"),
    ("# nothing", "ok"),
    ("", "error 1065"),
    (";", "error 1065"),
    ("SELECT 1;", "rows"),
    ("select @@nonsense", "error 1193"),
    ("SHOW TABLES FROM nowhere", "error 1049"),
    ("DESCRIBE nothing", "error 1146"),
    ("SHOW NONSENSE", "error 1064"),
    ("SHOW CREATE PROCEDURE p", "error 1305"),
    ("USE nowhere", "error 1049"),
]


@pytest.mark.parametrize(("sql", "expected"), STATEMENTS, ids=[sql[:60] for sql, _ in STATEMENTS])
async def test_statement_of_a_tool_gets_its_kind_of_answer(sql: str, expected: str) -> None:
    assert await FrontDriver().outcome(sql) == expected


@pytest.mark.parametrize(("sql", "expected"), STATEMENTS, ids=[sql[:60] for sql, _ in STATEMENTS])
async def test_prepared_statement_gets_the_same_answer(sql: str, expected: str) -> None:
    driver = FrontDriver()
    if expected == "error 1065":
        return
    try:
        statement = await driver.front.prepare(driver.session, sql)
        await driver.front.execute_prepared(driver.session, statement, ())
    except Exception as error:
        assert expected == f"error {getattr(error, 'code', error)}"
    else:
        assert not expected.startswith("error")
