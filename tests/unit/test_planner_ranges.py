"""Predicates become exact ranges of keys."""

from __future__ import annotations

from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from tests.planner_tables import NOW_US, every_range, only, ranges, us
from z4sql.sql.errors import BadTemporal, Unbounded
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN

DAY = 86_400_000_000
A, B = us("2022-04-16"), us("2022-04-17")
NOW = NOW_US // 1_000_000 * 1_000_000
TODAY = us("2022-04-20")
SELECT = "SELECT * FROM tasks WHERE namespace = 'a' AND "


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("deliver_at BETWEEN '2022-04-16' AND '2022-04-17'", [(A, B + 1)]),
        ("deliver_at >= '2022-04-16' AND deliver_at < '2022-04-17'", [(A, B)]),
        ("deliver_at > '2022-04-16' AND deliver_at <= '2022-04-17'", [(A + 1, B + 1)]),
        ("'2022-04-16' <= deliver_at AND '2022-04-17' > deliver_at", [(A, B)]),
        ("deliver_at = '2022-04-16'", [(A, A + 1)]),
        ("deliver_at <=> '2022-04-16'", [(A, A + 1)]),
        ("deliver_at IN ('2022-04-16', '2022-04-17')", [(A, A + 1), (B, B + 1)]),
        ("deliver_at < '2022-04-16'", [(INSTANT_MIN, A)]),
        ("deliver_at >= '2022-04-16'", [(A, INSTANT_MAX)]),
        ("deliver_at NOT BETWEEN '2022-04-16' AND '2022-04-17'", [(INSTANT_MIN, A), (B + 1, INSTANT_MAX)]),
        ("NOT (deliver_at < '2022-04-16' OR deliver_at >= '2022-04-17')", [(A, B)]),
        ("NOT (NOT (deliver_at BETWEEN '2022-04-16' AND '2022-04-17'))", [(A, B + 1)]),
        ("((deliver_at BETWEEN '2022-04-16' AND '2022-04-17')) IS TRUE", [(A, B + 1)]),
        ("(deliver_at < '2022-04-16' OR deliver_at > '2022-04-17') AND deliver_at < '2022-04-18'",
         [(INSTANT_MIN, A), (B + 1, B + DAY)]),
        ("deliver_at >= 20220416 AND deliver_at < 20220417000000", [(A, B)]),
        ("deliver_at >= '20220416' AND deliver_at < '2022-04-17 00:00:00.000000'", [(A, B)]),
        ("deliver_at >= TIMESTAMP'2022-04-16 00:00:00' AND deliver_at < DATE'2022-04-17'", [(A, B)]),
        ("deliver_at >= TIMESTAMP('2022-04-16') AND deliver_at < DATE('2022-04-17 10:00:00')", [(A, B)]),
        ("deliver_at >= CAST('2022-04-16' AS DATETIME) AND deliver_at < CONVERT('2022-04-17', DATE)",
         [(A, B)]),
        ("deliver_at >= CAST('2022-04-16 00:00:00.7' AS DATETIME) AND deliver_at < '2022-04-17'",
         [(A + 1_000_000, B)]),
        ("deliver_at >= '2022-04-16T00:00:00Z' AND deliver_at < '2022-04-17T02:00:00+02:00'", [(A, B)]),
        ("deliver_at > NOW() - INTERVAL 1 DAY AND deliver_at <= NOW()", [(NOW - DAY + 1, NOW + 1)]),
        ("deliver_at >= NOW(6) AND deliver_at < CURRENT_TIMESTAMP + INTERVAL '1:30' HOUR_MINUTE",
         [(NOW_US, NOW + 5_400_000_000)]),
        ("deliver_at >= DATE_SUB(NOW(), INTERVAL 1 HOUR) "
         "AND deliver_at < DATE_ADD(CURDATE(), INTERVAL 1 MONTH)",
         [(NOW - 3_600_000_000, us("2022-05-20"))]),
        ("deliver_at >= ADDDATE(UTC_TIMESTAMP(), -1) AND deliver_at < SYSDATE()", [(NOW - DAY, NOW)]),
        ("deliver_at >= '2022-01-31' + INTERVAL 1 MONTH AND deliver_at < INTERVAL 1 YEAR + '2022-04-16'",
         [(us("2022-02-28"), us("2023-04-16"))]),
        ("deliver_at >= NOW() - INTERVAL '1 12' DAY_HOUR AND deliver_at < NOW() + INTERVAL 1.5 SECOND",
         [(NOW - 36 * 3_600_000_000, NOW + 1_500_000)]),
        ("deliver_at >= TIMESTAMPADD(HOUR, -1, NOW()) AND deliver_at < LAST_DAY('2022-02-03')",
         []),
        ("deliver_at >= FROM_UNIXTIME(1650067200) AND deliver_at < FROM_UNIXTIME(1650067200.5)",
         [(A, A + 500_000)]),
        ("deliver_at >= STR_TO_DATE('16.04.2022', '%d.%m.%Y') AND deliver_at < '2022-04-17'", [(A, B)]),
        ("deliver_at >= DATE_FORMAT(NOW(), '%Y-%m-01') AND deliver_at < NOW()", [(us("2022-04-01"), NOW)]),
        ("DATE(deliver_at) = '2022-04-16'", [(A, B)]),
        ("CAST(deliver_at AS DATE) > '2022-04-16' AND DATE(deliver_at) <= CURDATE()", [(B, TODAY + DAY)]),
        ("DATE(deliver_at) BETWEEN '2022-04-16' AND '2022-04-17'", [(A, B + DAY)]),
        ("UNIX_TIMESTAMP(deliver_at) >= 1650067200 AND UNIX_TIMESTAMP(deliver_at) < 1650067200.000002",
         [(A, A + 2)]),
        ("UNIX_TIMESTAMP(deliver_at) BETWEEN UNIX_TIMESTAMP('2022-04-16') AND UNIX_TIMESTAMP('2022-04-17')",
         [(A, B + 1)]),
        ("deliver_at BETWEEN '2022-04-17' AND '2022-04-16'", []),
        ("deliver_at < '2022-04-17' AND deliver_at > NULL", []),
        ("deliver_at < '2022-04-17' AND 1 = 0", []),
        ("deliver_at < '2022-04-17' AND 1 = 1", [(INSTANT_MIN, B)]),
    ],
)  # fmt: skip
def test_time_bounds_are_exact_to_the_microsecond(predicate: str, expected: list[tuple[int, int]]) -> None:
    assert ranges(SELECT + predicate) == [("a", lo, hi) for lo, hi in expected]


@pytest.mark.parametrize(
    ("predicate", "names"),
    [
        ("namespace = 'a'", ["a"]),
        ("'a' = namespace", ["a"]),
        ("queue = 'a'", ["a"]),
        ("`NameSpace` = 'a'", ["a"]),
        ("namespace IN ('b', 'a', 'b')", ["a", "b"]),
        ("namespace = 'a' OR namespace = 'b'", ["a", "b"]),
        ("NOT (namespace <> 'a')", ["a"]),
        ("NOT namespace NOT IN ('a', 'b')", ["a", "b"]),
        ("namespace = 'a' AND namespace = 'b'", []),
        ("namespace IN ('a', 'b') AND namespace IN ('b', 'c')", ["b"]),
        ("namespace LIKE 'a'", ["a"]),
        ("namespace = 'it''s' AND namespace = 'it\\'s'", ["it's"]),
        ("namespace = 'żółw'", ["żółw"]),
        ("namespace IN ('aa', 'b')", ["b", "aa"]),
        ("(namespace, id) = ('a', 'x')", ["a"]),
        ("(namespace, state) IN (('a', 'x'), ('b', 'y'))", ["a", "b"]),
        ("namespace = @ns", ["mine"]),
    ],
)
def test_namespaces_are_found_however_they_are_written(predicate: str, names: list[str]) -> None:
    sql = f"SELECT 1 FROM tasks WHERE ({predicate}) AND deliver_at < '2022-04-16'"
    assert [name for name, _, _ in ranges(sql, variables={"ns": "mine"})] == names


def test_each_branch_of_or_keeps_its_own_time() -> None:
    assert ranges(
        "SELECT 1 FROM tasks WHERE (namespace = 'a' AND deliver_at < '2022-04-16') OR "
        "(namespace = 'b' AND deliver_at >= '2022-04-17') OR (namespace = 'a' AND deliver_at = '2022-04-17')"
    ) == [("a", INSTANT_MIN, A), ("a", B, B + 1), ("b", B, INSTANT_MAX)]


def test_a_literal_is_read_in_the_sessions_zone() -> None:
    zone = timezone(timedelta(hours=2))
    expected = [("a", A - 7_200_000_000, B - 7_200_000_000)]
    sql = SELECT + "deliver_at >= '2022-04-16' AND deliver_at < '2022-04-17'"
    assert ranges(sql, zone=zone) == expected
    assert ranges(SELECT + "DATE(deliver_at) = '2022-04-16'", zone=zone) == expected
    assert ranges(SELECT + "deliver_at = NOW(6)", zone=zone) == [("a", NOW_US, NOW_US + 1)]


def test_an_hour_that_the_zone_repeats_is_read_twice() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    sql = SELECT + "deliver_at BETWEEN '2022-10-30 02:30:00' AND '2022-10-30 02:40:00'"
    assert ranges(sql, zone=berlin) == [
        ("a", us("2022-10-30 00:30:00"), us("2022-10-30 01:40:00.000001")),
    ]
    assert not only(sql, zone=berlin).exact


@pytest.mark.parametrize("literal", ["'garbage'", "'2026-02-30'", "''", "5", "'2022-04-16 24:00:00'", "-1"])
def test_a_literal_that_is_no_instant_is_error_1525(literal: str) -> None:
    with pytest.raises(BadTemporal) as caught:
        ranges(SELECT + f"deliver_at > {literal}")
    assert caught.value.code == 1525


def test_every_reference_has_its_own_ranges() -> None:
    assert every_range(
        "SELECT * FROM tasks x JOIN tasks y ON x.id = y.id AND y.namespace = 'b' "
        "WHERE x.namespace = 'a' AND x.deliver_at < '2022-04-16' AND y.deliver_at < '2022-04-17'"
    ) == {"x": [("a", INSTANT_MIN, A)], "y": [("b", INSTANT_MIN, B)]}


def test_equal_columns_share_their_bounds() -> None:
    where = "WHERE x.namespace = 'a' AND x.deliver_at = '2022-04-16'"
    one = [("a", A, A + 1)]
    for join in (
        "JOIN tasks y USING (namespace, deliver_at)",
        "NATURAL JOIN tasks y",
        "LEFT JOIN tasks y ON y.namespace = x.namespace AND x.deliver_at = y.deliver_at",
        "JOIN tasks y ON (y.namespace = x.namespace) AND y.deliver_at BETWEEN x.deliver_at AND x.deliver_at"
        " AND y.deliver_at = x.deliver_at",
    ):
        assert every_range(f"SELECT 1 FROM tasks x {join} {where}") == {"x": one, "y": one}


def test_a_bound_on_the_other_table_carries_over() -> None:
    sql = "SELECT 1 FROM tasks t JOIN namespaces n ON n.name = t.namespace WHERE n.name = 'a' AND "
    assert ranges(sql + "deliver_at < '2022-04-16'") == [("a", INSTANT_MIN, A)]


def test_on_bounds_the_side_that_may_be_null_and_not_the_other() -> None:
    bound = "namespace = 'a' AND {0}.deliver_at < '2022-04-16'"
    x, y = "x." + bound.format("x"), "y." + bound.format("y")
    both = {"x": [("a", INSTANT_MIN, A)], "y": [("a", INSTANT_MIN, A)]}
    assert every_range(f"SELECT 1 FROM tasks x LEFT JOIN tasks y ON {y} WHERE {x}") == both
    assert every_range(f"SELECT 1 FROM tasks x LEFT JOIN tasks y ON 1 WHERE {x} AND {y}") == both
    assert every_range(f"SELECT 1 FROM tasks x RIGHT JOIN tasks y ON {x} WHERE {y}") == both
    with pytest.raises(Unbounded, match="as 'x'"):
        every_range(f"SELECT 1 FROM tasks x LEFT JOIN tasks y ON {x} AND {y}")
    with pytest.raises(Unbounded, match="as 'y'"):
        every_range(f"SELECT 1 FROM tasks x LEFT JOIN tasks y ON {y} OR y.id IS NULL WHERE {x}")


BOUND = "namespace = 'a' AND deliver_at < '2022-04-16'"
RENAMED = "n = 'a' AND at < '2022-04-16'"
READ = [("a", INSTANT_MIN, A)]


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM (SELECT * FROM tasks t WHERE {BOUND}) d",
        f"SELECT * FROM (SELECT * FROM tasks t) d WHERE {BOUND}",
        f"SELECT * FROM (SELECT t.* FROM tasks t ORDER BY id) d WHERE d.{BOUND}",
        f"SELECT * FROM (SELECT namespace n, id, deliver_at at FROM tasks t) d WHERE {RENAMED}",
        f"SELECT * FROM (SELECT namespace, deliver_at FROM tasks t) d (n, at) WHERE {RENAMED}",
        f"WITH c AS (SELECT * FROM tasks t) SELECT * FROM c WHERE {BOUND}",
        "WITH c AS (SELECT * FROM tasks t), d AS (SELECT * FROM c WHERE deliver_at < '2022-04-16') "
        "SELECT * FROM d WHERE namespace = 'a'",
        f"WITH tasks AS (SELECT * FROM tasks t WHERE {BOUND}) SELECT * FROM tasks x JOIN tasks y USING (id)",
        f"SELECT 1 WHERE EXISTS (SELECT 1 FROM tasks t WHERE {BOUND})",
        f"SELECT (SELECT COUNT(*) FROM tasks t WHERE {BOUND}) + 1",
        f"SELECT 1 FROM namespaces WHERE name IN (SELECT namespace FROM tasks t WHERE {BOUND})",
        "SELECT 1 FROM namespaces n WHERE name = 'a' AND EXISTS "
        "(SELECT 1 FROM tasks t WHERE t.namespace = n.name AND deliver_at < '2022-04-16')",
        f"(SELECT 1 FROM tasks t WHERE {BOUND}) UNION SELECT 2 ORDER BY 1",
        f"TABLE namespaces UNION SELECT 1, 2 FROM tasks t WHERE {BOUND}",
        f"SELECT 1 FROM (tasks t JOIN namespaces n ON n.name = t.namespace) WHERE {BOUND}",
        f"SELECT 1 FROM namespaces n LEFT JOIN (SELECT * FROM tasks t WHERE {BOUND}) d ON 1",
        f"SELECT 1 FROM namespaces n, LATERAL (SELECT * FROM tasks t WHERE {BOUND} LIMIT 1) d",
        f"SELECT 1 FROM z4.tasks AS t WHERE t.{BOUND}",
        f"SELECT 1 FROM task AS t WHERE t.{BOUND}",
    ],
)
def test_references_are_found_at_every_place(sql: str) -> None:
    assert every_range(sql) == {"t": READ}


def test_arms_of_a_union_are_bounded_from_outside() -> None:
    found = every_range(
        "SELECT * FROM (SELECT namespace AS n, deliver_at AS d FROM tasks x UNION ALL "
        "SELECT namespace, deliver_at FROM tasks y) u WHERE n = 'a' AND d < '2022-04-16'"
    )
    assert found == {"x": READ, "y": READ}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM (SELECT * FROM tasks LIMIT 3) d WHERE " + BOUND,
        "SELECT * FROM (SELECT namespace, deliver_at, COUNT(*) FROM tasks GROUP BY 1, 2) d WHERE " + BOUND,
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY id) FROM tasks) d WHERE " + BOUND,
        "SELECT * FROM (SELECT * FROM tasks UNION SELECT * FROM tasks LIMIT 1) d WHERE " + BOUND,
        "WITH c AS (SELECT * FROM tasks) SELECT * FROM c x JOIN c y USING (id) WHERE x." + BOUND,
        "SELECT * FROM namespaces n, LATERAL (SELECT * FROM tasks LIMIT 1) d WHERE " + BOUND,
        "SELECT MAX(deliver_at) FROM tasks HAVING MAX(deliver_at) < '2022-04-16'",
        "SELECT 1 FROM tasks WHERE " + BOUND + " OR id > 'x'",
        "SELECT 1 FROM tasks WHERE (" + BOUND + ") XOR id > 'x'",
        "SELECT 1 FROM tasks WHERE NOT (" + BOUND + ")",
        "SELECT 1 FROM tasks WHERE namespace = 'a' AND NOT (deliver_at <=> '2022-04-16')",
        "SELECT 1 FROM tasks WHERE namespace = 'a' AND deliver_at <> '2022-04-16'",
        "SELECT 1 FROM tasks WHERE namespace = 'a' AND (deliver_at < '2022-04-16' "
        "OR deliver_at >= '2022-04-16')",
        "SELECT 1 FROM tasks WHERE namespace = 'a' AND deliver_at < created_at",
        "SELECT 1 FROM tasks WHERE namespace = 'a' AND deliver_at < (SELECT NOW() LIMIT 1)",
        "SELECT 1 FROM tasks WHERE namespace LIKE 'a%' AND deliver_at < '2022-04-16'",
        "SELECT 1 FROM tasks WHERE namespace > 'a' AND deliver_at < '2022-04-16'",
        "SELECT 1 FROM tasks WHERE LOWER(namespace) = 'a' AND deliver_at < '2022-04-16'",
        "SELECT 1 FROM tasks WHERE COALESCE(namespace = 'a', 1) AND deliver_at < '2022-04-16'",
        "SELECT 1 FROM tasks x, tasks y WHERE x." + BOUND.replace("deliver_at", "x.deliver_at"),
        "SELECT 1 FROM namespaces WHERE EXISTS (SELECT 1 FROM tasks)",
        "SELECT 1 UNION SELECT id FROM tasks",
        "TABLE tasks",
        "SELECT 1 FROM tasks WHERE deliver_at < '2022-04-16' AND deliver_at >= '2022-04-16'",
    ],
)  # fmt: skip
def test_what_is_not_bounded_is_refused(sql: str) -> None:
    with pytest.raises(Unbounded) as caught:
        every_range(sql)
    assert (caught.value.code, caught.value.state) == (1104, "42000")
