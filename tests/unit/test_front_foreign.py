"""What MySQL has no grammar for is error 1064, though the parser would take it from another dialect."""

from __future__ import annotations

import pytest

from tests.front_driver import FrontDriver
from z4sql.sql.catalog.keywords import RESERVED_KEYWORDS
from z4sql.sql.front.foreign import NEVER

FOREIGN = [
    ("SELECT 1 == 1", "= 1"),
    ("SELECT '5'::int", "::int"),
    ("SELECT deliver_at::date FROM tasks", "::date"),
    ("SELECT NOW() - INTERVAL '1 day'", ""),
    ("SELECT (NOW() - INTERVAL '1 day') + 1", ") + 1"),
    ("SELECT NOW() - INTERVAL 1 DAYS", "DAYS"),
    ("SELECT id FROM tasks WHERE deliver_at > NOW() - INTERVAL 90 MINUTES AND id = 'x'", "MINUTES AND"),
    ("SELECT id FROM tasks WHERE deliver_at > NOW() - INTERVAL '90 min' AND id = 'x'", "AND id"),
    ("SELECT DATE_ADD(NOW(), INTERVAL (1 + 2) HOURS)", "HOURS)"),
    ("SELECT TIMESTAMPDIFF(MINUTES, NOW(), NOW())", "MINUTES, NOW()"),
    ("SELECT TIMESTAMPADD('day', 1, NOW())", "'day', 1"),
    ("SELECT EXTRACT(EPOCH FROM NOW())", "EPOCH FROM"),
    ("SELECT name FROM namespaces FETCH FIRST 5 ROWS ONLY", "FETCH FIRST"),
    ("SELECT name FROM namespaces OFFSET 1", "1"),
    ("SELECT name FROM namespaces LIMIT ALL", "ALL"),
    ("SELECT name FROM namespaces LIMIT 1 PERCENT", "PERCENT"),
    ("SELECT name FROM namespaces LIMIT 1 BY name", "BY name"),
    ("SELECT name FROM namespaces LIMIT 2 OFFSET 1 ROWS", "ROWS"),
    ("SELECT DISTINCT ON (name) name FROM namespaces", "ON (name)"),
    ("SELECT name FROM namespaces ORDER BY name NULLS LAST", "NULLS LAST"),
    ("SELECT name FROM namespaces ORDER BY ALL", "ALL"),
    ("SELECT name FROM namespaces SORT BY name", "BY name"),
    ("SELECT name FROM namespaces QUALIFY ROW_NUMBER() OVER () = 1", "ROW_NUMBER()"),
    ("SELECT name FROM namespaces TABLESAMPLE (5)", "TABLESAMPLE"),
    ("SELECT name FROM namespaces WITH (NOLOCK)", "(NOLOCK)"),
    ("SELECT name FROM namespaces PIVOT (COUNT(name) FOR name IN ('a'))", "PIVOT"),
    ("SELECT name FROM z9.z4.namespaces", "z9.z4"),
    ("SELECT * FROM (FROM namespaces) x", "FROM namespaces"),
    ("SELECT * EXCEPT (name) FROM namespaces", "EXCEPT (name)"),
    ("SELECT n.* EXCLUDE (name) FROM namespaces n", "EXCLUDE"),
    ("SELECT * FROM generate_series(1, 5)", "(1, 5)"),
    ("WITH a AS MATERIALIZED (SELECT 1) SELECT * FROM a", "MATERIALIZED"),
    ("SELECT 1 UNION BY NAME SELECT 2", "BY NAME"),
    ("SELECT COUNT(*) FROM namespaces GROUP BY CUBE (name)", "CUBE"),
    ("SELECT COUNT(*) FROM namespaces GROUP BY ROLLUP (name)", "(name)"),
    ("SELECT COUNT(*) FROM namespaces GROUP BY GROUPING SETS ((name), ())", "SETS"),
    ("SELECT COUNT(*) FILTER (WHERE 1 = 1) FROM namespaces", "FILTER"),
    ("SELECT GROUP_CONCAT(name) WITHIN GROUP (ORDER BY name) FROM namespaces", "(ORDER BY"),
    ("SELECT name ILIKE 'a' FROM namespaces", "'a'"),
    ("SELECT 'a' SIMILAR TO 'a'", "TO 'a'"),
    ("SELECT name IS DISTINCT FROM 'a' FROM namespaces", "DISTINCT FROM"),
    ("SELECT name IS NOT DISTINCT FROM 'a' FROM namespaces", "DISTINCT FROM"),
    ("SELECT name FROM namespaces WHERE name NOTNULL", "NOTNULL"),
    ("SELECT 1 NOT NULL", "NOT NULL"),
    ("SELECT 'a' ~ 'a'", "~ 'a'"),
    ("SELECT 'a' ~~ 'a'", "~"),
    ("SELECT 2 ** 3", "* 3"),
    ("SELECT 5 // 2", "/ 2"),
    ("SELECT f(a => 1)", "> 1)"),
    ("SELECT x := 1", ":= 1"),
    ("SELECT ARRAY[1, 2]", "[1, 2]"),
    ("SELECT metadata->id FROM tasks", "id FROM"),
    ("SELECT JSON_OBJECT('a': 1)", ": 1"),
    ("SELECT 1 BETWEEN SYMMETRIC 2 AND 0", "SYMMETRIC"),
    ("SELECT 1 IN namespaces", "IN namespaces"),
    ("SELECT 1 = ANY (1, 2)", "ANY (1"),
    ("SELECT CAST('1' AS INT)", "INT)"),
    ("SELECT CAST(CAST('1' AS CHAR) AS VARCHAR(5))", "VARCHAR(5)"),
    ("SELECT CONVERT('1', BIGINT)", "BIGINT)"),
    ("SELECT TRY_CAST('1' AS SIGNED)", "('1' AS"),
    ("SELECT INT '5'", "'5'"),
    ("SELECT DATETIME '2020-01-01'", "'2020-01-01'"),
    ("SELECT IF 1 THEN 2 ELSE 3 END", "1 THEN"),
    ("SELECT 1 AS keys", "keys"),
    ("SET @x = 1::int", "::int"),
]
"""Statements, and what stands where MySQL stops to understand them."""

MYSQL = [
    "SELECT 1 <=> NULL, 5<-1, 5 - -1, 5--1, 5 & ~1, 5<<1, 16>>2, 5 ^ 3, !1, NOT 1, ~~5, ~ -1, 5 MOD 3, 5*-1",
    "SELECT @a := 1, @`b c` := @a, @a.b:=2, @'d' := -1, @@autocommit",
    "SELECT DATE '2020-01-01', TIME'10:00:00', TIMESTAMP '2020-01-01 00:00:00', BINARY 'a', _utf8mb4'x'",
    "SELECT NOW() + INTERVAL 1 DAY, INTERVAL '1:30' HOUR_MINUTE + NOW(), NOW() - INTERVAL -1*2 MONTH",
    "SELECT DATE_ADD(NOW(), INTERVAL (1+2) HOUR), INTERVAL(23, 1, 15, 17), NOW() - INTERVAL @x day",
    "SELECT NOW() - INTERVAL CASE WHEN 1 AND 1 THEN 1 END MINUTE, NOW() + INTERVAL HOUR(NOW()) SECOND",
    "SELECT EXTRACT(DAY_HOUR FROM NOW()), TIMESTAMPDIFF(minute, NOW(), NOW()), TIMESTAMPADD(WEEK, 1, NOW())",
    "SELECT CAST('1' AS UNSIGNED INTEGER), CAST(1 AS DECIMAL(5, 2)), CONVERT('a' USING utf8mb4)",
    "SELECT CONVERT(1, CHAR), CONVERT(GREATEST(1, 2), SIGNED)",
    "SELECT CAST('1' AS char(5) CHARACTER SET utf8mb4) AS x, CAST((SELECT 1 AS y) AS SIGNED)",
    "SELECT name FROM namespaces n LIMIT 1 OFFSET 2",
    "SELECT name FROM namespaces LIMIT 1, 2 FOR UPDATE",
    "SELECT t.keys, t.fetch, `keys`, `to`, name AS 'fetch' FROM x t",
    "SELECT COUNT(*), COUNT(DISTINCT name) FROM namespaces GROUP BY name WITH ROLLUP",
    "SELECT FIRST_VALUE(name) RESPECT NULLS OVER (PARTITION BY name ORDER BY name) FROM namespaces",
    "SELECT a.* FROM namespaces a WHERE a.name IS NOT NULL AND a.name NOT IN ('a') AND 1 = ANY (SELECT 1)",
    "WITH split (a) AS (SELECT 1), median AS (SELECT 2) SELECT * FROM split, median",
    "SELECT metadata->'$.a', metadata->>'$.b' FROM tasks",
    "SELECT IF (1, 2, 3), ISNULL(1), 'a' 'b', GROUPING(name) FROM namespaces GROUP BY name WITH ROLLUP",
    "SELECT * FROM namespaces USE INDEX (PRIMARY) WHERE name NOT BETWEEN 'a' AND 'b' OR name NOT LIKE 'x'",
    "SELECT {fn NOW()}, {d '2020-01-01'}, 1 IS NOT TRUE, 1 IS UNKNOWN 'x', NULL 'y'",
    "SELECT * FROM namespaces UNION ALL (SELECT * FROM namespaces) EXCEPT SELECT * FROM namespaces",
]
"""What looks like it and is MySQL's."""


@pytest.mark.parametrize(("sql", "near"), FOREIGN, ids=[sql for sql, _ in FOREIGN])
async def test_other_dialects_are_a_syntax_error_where_they_begin(sql: str, near: str) -> None:
    error = await FrontDriver().error(sql)
    assert (error.code, error.state) == (1064, "42000")
    assert f"near '{near}" in error.message


@pytest.mark.parametrize(
    "call",
    ["NVL(NULL, 1)", "LEN('a')", "STRPOS('a', 'b')", "STRING_AGG('a', ',')", "date_trunc('day', NOW())"],
)
async def test_functions_of_other_servers_do_not_exist(call: str) -> None:
    error = await FrontDriver().error(f"SELECT {call}")
    assert (error.code, error.message) == (1305, f"FUNCTION z4.{call.partition('(')[0]} does not exist")


@pytest.mark.parametrize("sql", MYSQL)
async def test_what_mysql_has_is_let_through(sql: str) -> None:
    assert await FrontDriver().outcome(sql) in ("runner", "rows")


async def test_many_intervals_and_casts_in_each_other_are_read_once() -> None:
    nested = "NOW() + INTERVAL (" * 4 + "1" + ") DAY" * 4
    listed = ", ".join(["CAST(INTERVAL(1, 2) AS SIGNED)"] * 2000)
    assert await FrontDriver().outcome(f"SELECT {nested}, {listed}") == "runner"


def test_words_that_stand_in_no_query_are_reserved() -> None:
    assert NEVER <= RESERVED_KEYWORDS
