"""SHOW, DESCRIBE and EXPLAIN: what they list, and how it is filtered."""

from __future__ import annotations

import pytest

from tests.front_driver import FrontDriver, rows_of
from z4sql.sql.errors import SqlError
from z4sql.sql.front.explain import _classic
from z4sql.sql.result import ResultSet
from z4sql.sql.types import Kind
from z4sql.sql.wire.connection import SSL_CIPHER, SSL_VERSION


async def headers(driver: FrontDriver, sql: str) -> list[str]:
    result = await driver.run(sql)
    assert isinstance(result, ResultSet)
    return [column.name for column in result.columns]


async def test_tables_of_the_database() -> None:
    driver = FrontDriver()
    assert await headers(driver, "SHOW FULL TABLES") == ["Tables_in_z4", "Table_type"]
    assert await driver.rows("SHOW FULL TABLES") == [
        (name, "BASE TABLE")
        for name in ("consumers", "leases", "members", "metrics", "namespaces", "task_events", "tasks")
    ]
    assert await driver.rows("SHOW TABLES FROM information_schema LIKE 'tab%\\_priv%'") == [
        ("TABLE_PRIVILEGES",)
    ]


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("SHOW DATABASES LIKE 'Z%'", ["z4"]),
        ("SHOW DATABASES WHERE `Database` = 'z4' OR Database LIKE 'sy_'", ["sys", "z4"]),
        ("SHOW TABLES WHERE Tables_in_z4 IN ('TASKS', 'other')", ["tasks"]),
        ("SHOW COLUMNS FROM tasks LIKE 'lease%'", ["lease_owner", "lease_until", "lease_token"]),
        ("SHOW COLUMNS FROM tasks FROM z4 WHERE Key = 'PRI' AND NOT Field = 'id'", ["namespace"]),
        (
            "SHOW COLUMNS IN z4.task WHERE `Null` = 'NO' AND type LIKE 'timestamp%'",
            ["deliver_at", "created_at"],
        ),
        ("SHOW VARIABLES LIKE 'lower_case_table_names'", ["lower_case_table_names"]),
        ("SHOW VARIABLES WHERE Value = 'utf8mb3'", ["character_set_system"]),
        ("SHOW CHARSET WHERE charset = 'utf8mb4'", ["utf8mb4"]),
        ("SHOW COLLATION WHERE Charset = 'utf8mb4' AND `Default` = 'Yes'", ["utf8mb4_0900_ai_ci"]),
        ("SHOW STATUS LIKE 'upt%'", ["Uptime", "Uptime_since_flush_status"]),
        ("DESC tasks deliver_at", ["deliver_at"]),
        ("DESCRIBE tasks '%attempt%'", ["attempts", "next_attempt_at", "last_attempt_at"]),
        ("EXPLAIN consumers", ["name", "namespace", "credit", "leases", "draining"]),
    ],
)
async def test_filters_apply_to_the_output(sql: str, first: list[str]) -> None:
    assert [row[0] for row in await FrontDriver().rows(sql)] == first


async def test_unknown_column_of_a_filter_is_told_even_without_rows() -> None:
    error = await FrontDriver().error("SHOW TRIGGERS WHERE nonsense = 1")
    assert (error.code, error.message) == (1054, "Unknown column 'nonsense' in 'where clause'")


async def test_describe_shows_the_definition() -> None:
    rows = await FrontDriver().rows("DESCRIBE tasks")
    assert rows[0] == ("namespace", "varchar(255)", "NO", "PRI", None, "")
    assert rows[2] == ("deliver_at", "timestamp(6)", "NO", "", None, "")


async def test_create_table_has_the_layout_of_mysql() -> None:
    ((name, text),) = await FrontDriver().rows("SHOW CREATE TABLE tasks")
    assert name == "tasks"
    lines = str(text).split("\n")
    assert lines[0] == "CREATE TABLE `tasks` ("
    assert lines[1] == (
        "  `namespace` varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL "
        "COMMENT 'the queue of the task',"
    )
    assert lines[-3] == "  PRIMARY KEY (`namespace`,`id`),"
    assert lines[-2] == "  KEY `deliver` (`namespace`,`deliver_at`)"
    assert lines[-1].startswith(") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")


async def test_sqlalchemy_understands_create_table() -> None:
    mysql = pytest.importorskip("sqlalchemy.dialects.mysql.reflection")
    base = pytest.importorskip("sqlalchemy.dialects.mysql.base")
    ((_, text),) = await FrontDriver().rows("SHOW CREATE TABLE tasks")
    dialect = base.MySQLDialect()
    parser = mysql.MySQLTableDefinitionParser(dialect, dialect.identifier_preparer)
    state = parser.parse(text, "utf8mb4")
    assert len(state.columns) == 18
    assert [key["columns"] for key in state.keys][0] == [("namespace", None, ""), ("id", None, "")]


async def test_grants_name_the_database_as_metabase_looks_for_it() -> None:
    rows = await FrontDriver("ann").rows("SHOW GRANTS FOR CURRENT_USER()")
    assert ("GRANT SELECT ON `z4`.* TO `ann`@`%`",) in rows


async def test_the_current_user_is_the_account_that_privileges_name() -> None:
    driver = FrontDriver("ann")
    assert await driver.rows("SELECT USER(), SESSION_USER(), CURRENT_USER(), CURRENT_USER") == [
        ("ann@localhost", "ann@localhost", "ann@%", "ann@%")
    ]


async def test_users_see_their_own_connections_administrators_all() -> None:
    assert [row[0] for row in await FrontDriver("ann").rows("SHOW PROCESSLIST")] == [2]
    assert [row[0] for row in await FrontDriver("root").rows("SHOW FULL PROCESSLIST")] == [1, 2]


async def test_status_tells_whether_this_connection_is_encrypted() -> None:
    front = FrontDriver().front
    encrypted = front.open_session(
        1, "root", "localhost", "z4", {SSL_CIPHER: "TLS_AES_256_GCM_SHA384", SSL_VERSION: "TLSv1.3"}
    )
    told = {}
    for scope in ("SESSION", "GLOBAL"):
        result = await front.execute(encrypted, f"SHOW {scope} STATUS LIKE 'Ssl\\_%'")
        assert isinstance(result, ResultSet)
        told[scope] = await rows_of(result)
    assert told == {
        "SESSION": [("Ssl_cipher", "TLS_AES_256_GCM_SHA384"), ("Ssl_version", "TLSv1.3")],
        "GLOBAL": [("Ssl_cipher", ""), ("Ssl_version", "")],
    }


async def test_kill_obeys_ownership() -> None:
    ann = FrontDriver("ann")
    assert (await ann.error("KILL 1")).code == 1095
    await ann.run("KILL QUERY 2")
    assert ann.connections.killed == [(2, True)]
    root = FrontDriver("root")
    await root.run("KILL CONNECTION_ID()")
    assert root.connections.killed == [(1, False)]


async def test_explain_shows_the_plan_in_each_format() -> None:
    driver = FrontDriver()
    classic = await driver.rows("EXPLAIN SELECT id FROM tasks")
    assert len(classic[0]) == 12 and classic[0][-1] == "analyze=False" and classic[0][2] == "tasks"
    assert await driver.rows("EXPLAIN ANALYZE SELECT id FROM tasks") == [("-> scan tasks: analyze=True\n",)]
    ((text,),) = await driver.rows("EXPLAIN FORMAT=json SELECT id FROM tasks")
    assert '"query_block"' in str(text)
    assert driver.runner.texts[-1] == "SELECT id FROM tasks"
    assert (await driver.error("EXPLAIN FORMAT=xml SELECT 1")).code == 1791


def test_the_classic_plan_has_a_row_for_each_table() -> None:
    steps = [("consistency", "local"), ("scan a", "one"), ("scan b", "two"), ("filter a", "id in [1]")]
    rows = _classic([*steps, ("scan a", "three")])
    assert [(row[2], row[-1]) for row in rows] == [
        ("a", "one; filter: id in [1]; three"),
        ("b", "two"),
        (None, "consistency: local"),
    ]


async def test_without_a_database_none_is_guessed() -> None:
    driver = FrontDriver(database=None)
    assert (await driver.error("SHOW TABLES")).code == 1046
    assert await driver.rows("SELECT DATABASE()") == [(None,)]
    await driver.run("USE Z4")
    assert await driver.rows("SELECT DATABASE()") == [("z4",)]


async def test_field_list_knows_types() -> None:
    driver = FrontDriver()
    columns = driver.front.field_list(driver.session, "task")
    assert columns[0].name == "namespace" and columns[0].key == "PRI" and columns[0].table == "tasks"


_SYNTAX = (
    "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version"
    " for the right syntax to use near '{}' at line 1"
)
_DENIED = "Access denied; you need (at least one of) the {} privilege(s) for this operation"


@pytest.mark.parametrize(
    ("sql", "code", "message"),
    [
        ("SHOW FULL DATABASES", 1064, _SYNTAX.format("DATABASES")),
        ("SHOW FULL KEYS FROM tasks", 1064, _SYNTAX.format("KEYS FROM tasks")),
        ("SHOW EXTENDED TRIGGERS", 1064, _SYNTAX.format("TRIGGERS")),
        ("SHOW ENGINES LIKE 'x'", 1064, _SYNTAX.format("LIKE 'x'")),
        ("SHOW PLUGINS WHERE 1", 1064, _SYNTAX.format("WHERE 1")),
        ("SHOW PRIVILEGES LIKE 'x'", 1064, _SYNTAX.format("LIKE 'x'")),
        ("SHOW PROFILES LIMIT 1", 1064, _SYNTAX.format("LIMIT 1")),
        ("SHOW PROFILE CPU BLOCK IO", 1064, _SYNTAX.format("BLOCK IO")),
        ("SHOW PROFILE nonsense", 1064, _SYNTAX.format("nonsense")),
        ("SHOW PROFILE FOR QUERY", 1064, _SYNTAX.format("")),
        ("SHOW CREATE TRIGGER x", 1360, "Trigger does not exist"),
        ("SHOW CREATE EVENT x", 1539, "Unknown event 'x'"),
        ("SHOW CREATE PROCEDURE x", 1305, "PROCEDURE x does not exist"),
        ("SHOW CREATE USER bob", 1044, "Access denied for user 'ann'@'%' to database 'mysql'"),
        (
            "SHOW FUNCTION CODE x",
            1289,
            "The 'SHOW PROCEDURE|FUNCTION CODE' feature is disabled; you need MySQL built with"
            " '--with-debug' to have it working",
        ),
        ("SHOW ENGINE INNODB STATUS", 1227, _DENIED.format("PROCESS")),
        ("SHOW ENGINE nosuch STATUS", 1286, "Unknown storage engine 'nosuch'"),
        ("SHOW ENGINE INNODB", 1064, _SYNTAX.format("")),
        ("SHOW BINARY LOGS", 1227, _DENIED.format("SUPER, REPLICATION CLIENT")),
        ("SHOW BINARY LOG STATUS", 1227, _DENIED.format("SUPER, REPLICATION CLIENT")),
        ("SHOW REPLICA STATUS", 1227, _DENIED.format("SUPER, REPLICATION CLIENT")),
        ("SHOW REPLICAS", 1227, _DENIED.format("REPLICATION SLAVE")),
        ("SHOW BINLOG EVENTS", 1227, _DENIED.format("REPLICATION SLAVE")),
        ("SHOW RELAYLOG EVENTS", 1227, _DENIED.format("REPLICATION SLAVE")),
        ("SELECT @@session.port", 1238, "Variable 'port' is a GLOBAL variable"),
        ("SELECT @@global.warning_count", 1238, "Variable 'warning_count' is a SESSION variable"),
    ],
)
async def test_what_mysql_refuses_to_show_is_refused_alike(sql: str, code: int, message: str) -> None:
    """As MySQL 9.7 answers a user who may only SELECT."""
    error = await FrontDriver("ann").error(sql)
    assert (error.code, error.message) == (code, message)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SHOW SCHEMAS LIKE 'z%'", ["Database (z%)"]),
        ("SHOW PROFILES", ["Query_ID", "Duration", "Query"]),
        ("SHOW PROFILE", ["Status", "Duration"]),
        (
            "SHOW PROFILE SWAPS, BLOCK IO, CPU FOR QUERY 1 LIMIT 2 OFFSET 1",
            ["Status", "Duration", "CPU_user", "CPU_system", "Block_ops_in", "Block_ops_out", "Swaps"],
        ),
        ("SHOW CREATE USER CURRENT_USER()", ["CREATE USER for ann@%"]),
        ("SHOW CREATE SCHEMA z4", ["Database", "Create Database"]),
    ],
)
async def test_headers_are_those_of_mysql(sql: str, expected: list[str]) -> None:
    assert await headers(FrontDriver("ann"), sql) == expected


async def test_create_database_tells_how_it_was_asked_for() -> None:
    told = {
        sql: (await FrontDriver().rows(sql))[0][1]
        for sql in ("SHOW CREATE DATABASE IF NOT EXISTS z4", "SHOW CREATE DATABASE information_schema")
    }
    assert list(told.values()) == [
        "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `z4` /*!40100 DEFAULT CHARACTER SET utf8mb4 "
        "COLLATE utf8mb4_0900_ai_ci */ /*!80016 DEFAULT ENCRYPTION='N' */",
        "CREATE DATABASE `information_schema` /*!40100 DEFAULT CHARACTER SET utf8mb3 */ "
        "/*!80016 DEFAULT ENCRYPTION='N' */",
    ]


async def test_variables_have_the_types_of_mysql() -> None:
    names = ("autocommit", "max_allowed_packet", "ngram_token_size", "long_query_time", "version")
    result = await FrontDriver().run("SELECT " + ", ".join(f"@@{name}" for name in names))
    assert isinstance(result, ResultSet)
    kinds = [column.type.kind for column in result.columns]
    assert kinds == [Kind.INT, Kind.UINT, Kind.INT, Kind.DOUBLE, Kind.STRING]


async def test_variables_of_the_session_are_not_among_the_global_ones() -> None:
    driver = FrontDriver()
    of_session = {row[0] for row in await driver.rows("SHOW SESSION VARIABLES")}
    of_server = {row[0] for row in await driver.rows("SHOW GLOBAL VARIABLES")}
    assert of_server < of_session
    assert {"timestamp", "warning_count", "pseudo_thread_id", "rand_seed1"} <= of_session - of_server


async def test_probe_columns_are_named_as_typed() -> None:
    driver = FrontDriver()
    assert await headers(driver, "select @@Version_Comment, DATABASE( ), 'a', 1 AS one") == [
        "@@Version_Comment",
        "DATABASE( )",
        "a",
        "one",
    ]
    result = await driver.run("SELECT @@sql_select_limit")
    assert isinstance(result, ResultSet)
    assert await rows_of(result) == [(18446744073709551615,)]


async def test_warnings_tell_the_last_error_until_the_next_statement() -> None:
    driver = FrontDriver()
    assert await driver.rows("SHOW WARNINGS") == []
    await driver.error("SELECT @@nonsense")
    expected = [("Error", 1193, "Unknown system variable 'nonsense'")]
    assert await driver.rows("SHOW WARNINGS") == expected
    assert await driver.rows("SHOW ERRORS LIMIT 0, 5") == expected
    assert await driver.rows("SHOW WARNINGS LIMIT 1, 5") == []
    assert await driver.rows("SHOW COUNT(*) ERRORS") == [(1,)]
    assert await driver.rows("SELECT @@warning_count, @@session.error_count") == [(1, 1)]
    await driver.run("SELECT 1")
    assert await driver.rows("SHOW WARNINGS") == []
    with pytest.raises(SqlError):
        await driver.front.prepare(driver.session, "SELEC 1")
    assert (await driver.rows("SHOW WARNINGS"))[0][1] == 1064
    driver.front.reset_session(driver.session)
    assert await driver.rows("SHOW WARNINGS") == []
    assert (await driver.error("SHOW WARNINGS nonsense")).code == 1064
