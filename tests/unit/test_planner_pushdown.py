"""What the scan is spared: rows without the bytes sought, the sort, everything but the keys."""

from __future__ import annotations

import pytest
from sqlglot import exp

from tests.planner_tables import only, planned
from z4sql.sql.planner.pushdown import Fact

WHERE = "WHERE namespace = 'a' AND deliver_at < '2022-04-16'"


@pytest.mark.parametrize(
    ("predicate", "needles"),
    [
        ("JSON_EXTRACT(metadata, '$.user_id') = 'new@x'", [b'"user_id": "new@x"']),
        ("metadata->'$.user_id' = 'v'", [b'"user_id": "v"']),
        ("'v' = metadata->'$.k'", [b'"k": "v"']),
        ("metadata->>'$.k' = 'v '", [b'"k": "v']),
        ("JSON_UNQUOTE(JSON_EXTRACT(metadata, '$.k')) = 'v'", [b'"k": "v']),
        ("metadata->>'$.k' IN ('v')", [b'"k": "v']),
        ("metadata->'$.k' = 'a\"b\\\\ż'", ['"k": "a\\"b\\\\ż"'.encode()]),
        ("metadata->'$.\"two words\"' = 'v'", [b'"two words": "v"']),
        ("(metadata->'$.k' = 'v' AND metadata->'$.l' = 'w')", [b'"k": "v"', b'"l": "w"']),
        ("metadata->>'$.k' = ''", [b'"k": "']),
        ("metadata->'$.k' = 3", []),
        ("metadata->>'$.k' = 3", []),
        ("metadata->'$.k.l' = 'v'", []),
        ("metadata->'$.*' = 'v'", []),
        ("metadata->'$[0]' = 'v'", []),
        ("metadata->'$.k' <> 'v'", []),
        ("metadata->'$.k' > 'v'", []),
        ("metadata->'$.k' IN ('v', 'w')", []),
        ("(metadata->'$.k' = 'v' OR metadata->'$.l' = 'w')", []),
        ("NOT metadata->'$.k' = 'v'", []),
        ("CAST(metadata->'$.k' AS CHAR) = 'v'", []),
        ("LOWER(metadata->>'$.k') = 'v'", []),
        ("JSON_EXTRACT(metadata, '$.k', '$.l') = 'v'", []),
        ("JSON_EXTRACT(payload, '$.k') = 'v'", []),
    ],
)
def test_needles_are_the_bytes_that_matching_metadata_has(predicate: str, needles: list[bytes]) -> None:
    assert list(only(f"SELECT * FROM tasks {WHERE} AND {predicate}").needles) == needles


def test_the_needle_of_an_outer_joins_condition_stays_on_its_side() -> None:
    made, _ = planned(
        "SELECT 1 FROM tasks x LEFT JOIN tasks y ON y.namespace = 'a' AND y.deliver_at < '2022-04-16' "
        "AND x.metadata->'$.k' = 'v' AND y.metadata->'$.l' = 'w' "
        "WHERE x.namespace = 'a' AND x.deliver_at < '2022-04-16'"
    )
    assert {table.alias: table.needles for table in made.references.values()} == {
        "x": (),
        "y": (b'"l": "w"',),
    }


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("ORDER BY deliver_at LIMIT 5", (True, False, False)),
        ("ORDER BY deliver_at ASC LIMIT 5 OFFSET 10", (True, False, False)),
        ("ORDER BY tasks.deliver_at DESC LIMIT 5", (True, True, False)),
        ("ORDER BY deliver_at, id LIMIT 5", (True, False, True)),
        ("ORDER BY deliver_at DESC, id DESC LIMIT 5", (True, True, True)),
        ("ORDER BY deliver_at DESC, id LIMIT 5", (False, False, False)),
        ("ORDER BY id LIMIT 5", (False, False, False)),
        ("ORDER BY deliver_at, state LIMIT 5", (False, False, False)),
        ("ORDER BY deliver_at + INTERVAL 1 DAY LIMIT 5", (False, False, False)),
        ("ORDER BY deliver_at", (False, False, False)),
        ("GROUP BY id, deliver_at ORDER BY deliver_at LIMIT 5", (False, False, False)),
    ],
)
def test_the_order_of_keys_answers_order_by_with_limit(order: str, expected: tuple[bool, bool, bool]) -> None:
    made, _ = planned(f"SELECT id, deliver_at FROM tasks {WHERE} {order}")
    (table,) = made.references.values()
    assert (made.sorted, table.descending, made.sorted_by_id) == expected
    assert (table.batch_rows == 128) == made.sorted


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM tasks WHERE namespace IN ('a', 'b') AND deliver_at < '2022-04-16' "
        "ORDER BY deliver_at LIMIT 5",
        f"SELECT DISTINCT deliver_at FROM tasks {WHERE} ORDER BY deliver_at LIMIT 5",
        f"SELECT created_at AS deliver_at FROM tasks {WHERE} ORDER BY deliver_at LIMIT 5",
        f"SELECT MAX(id) FROM tasks {WHERE} ORDER BY deliver_at LIMIT 5",
        f"SELECT ROW_NUMBER() OVER (ORDER BY id) FROM tasks {WHERE} ORDER BY deliver_at LIMIT 5",
        f"SELECT t.id FROM tasks t, namespaces n {WHERE} ORDER BY deliver_at LIMIT 5",
        f"SELECT id FROM tasks {WHERE} UNION SELECT 1 ORDER BY deliver_at LIMIT 5",
    ],
)
def test_the_sort_stays_where_keys_do_not_answer_it(sql: str) -> None:
    made, query = planned(sql)
    assert not made.sorted
    assert all(not table.descending for table in made.references.values())
    assert query.args.get("order") is not None


def test_a_limit_without_order_reads_a_small_first_batch() -> None:
    assert only(f"SELECT * FROM tasks {WHERE} LIMIT 3").batch_rows == 128
    assert only(f"SELECT * FROM tasks {WHERE} LIMIT 1000").batch_rows == 1000
    assert only(f"SELECT * FROM tasks {WHERE}").batch_rows == 16_384
    assert only(f"SELECT MAX(id) FROM tasks {WHERE} LIMIT 3").batch_rows == 16_384


@pytest.mark.parametrize(
    ("shown", "facts"),
    [
        ("COUNT(*)", (Fact.COUNT,)),
        ("COUNT(1) AS n, MAX(deliver_at), MIN(tasks.deliver_at)", (Fact.COUNT, Fact.LAST, Fact.FIRST)),
        ("COUNT(id)", None),
        ("COUNT(DISTINCT deliver_at)", None),
        ("COUNT(NULL)", None),
        ("MIN(created_at)", None),
        ("COUNT(*) + 1", None),
        ("COUNT(*) OVER ()", None),
        ("1", None),
    ],
)
def test_counts_and_ends_come_from_keys(shown: str, facts: tuple[Fact, ...] | None) -> None:
    made, _ = planned(f"SELECT {shown} FROM tasks {WHERE}")
    assert (made.shortcut.facts if made.shortcut else None) == facts


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT COUNT(*) FROM tasks {WHERE} AND state = 'done'",
        f"SELECT COUNT(*) FROM tasks {WHERE} AND id = 'x'",
        f"SELECT COUNT(*) FROM tasks {WHERE} GROUP BY state",
        f"SELECT COUNT(*) FROM tasks {WHERE} LIMIT 0",
        f"SELECT COUNT(*) FROM tasks {WHERE} HAVING COUNT(*) > 1",
        f"SELECT COUNT(*) FROM tasks t, namespaces {WHERE}",
        f"SELECT COUNT(*) FROM tasks {WHERE} AND UNIX_TIMESTAMP(deliver_at) > 0",
        f"SELECT COUNT(*) FROM tasks {WHERE} AND (deliver_at > '2022-01-01' OR state = 'done')",
    ],
)
def test_keys_do_not_answer_for_other_predicates(sql: str) -> None:
    made, _ = planned(sql)
    assert made.shortcut is None


def test_ids_bound_the_time_and_are_looked_up() -> None:
    table = only("SELECT * FROM tasks WHERE namespace = 'a' AND id IN ('x', 'y') AND id <> 'z'")
    assert table.ids == frozenset({"x", "y"})
    assert only("SELECT * FROM tasks WHERE namespace = 'a' AND id = 'x' AND id = 'y'").ranges == ()
    assert only(f"SELECT * FROM tasks {WHERE} AND (id = 'x' OR state = 'done')").ids is None


def test_every_table_is_named_for_the_engine() -> None:
    made, query = planned(
        "WITH c AS (SELECT * FROM tasks WHERE namespace = 'a' AND deliver_at < '2022-04-16') "
        "SELECT (SELECT COUNT(*) FROM namespaces) FROM c JOIN c d USING (id)"
    )
    named = {
        str(table.meta.get("source")): table.name for table in query.find_all(exp.Table) if table.name != "c"
    }
    assert set(named.values()) == {"tasks", "namespaces"} and "None" not in named
    assert {named[source] for source in made.references} == {"tasks"}
