"""A refused query is told what is missing, where, and how it would be accepted."""

from __future__ import annotations

import pytest

from tests.planner_tables import planned
from z4sql.sql.errors import Unbounded

TIME = "deliver_at BETWEEN NOW() - INTERVAL 1 DAY AND NOW()"
NAME = "namespace = 'my_namespace'"


def refusal(sql: str) -> str:
    with pytest.raises(Unbounded) as caught:
        planned(sql)
    assert (caught.value.code, caught.value.state) == (1104, "42000")
    return caught.value.message


@pytest.mark.parametrize(
    ("sql", "start", "corrected"),
    [
        (
            "SELECT * FROM tasks WHERE namespace = 'welcome_emails'",
            f"Query on 'tasks' must bound deliver_at: add e.g. \"AND {TIME}\"",
            f"SELECT * FROM tasks WHERE namespace = 'welcome_emails' AND {TIME}",
        ),
        (
            "select * from `z4`.`tasks` where deliver_at > '2022-01-01' order by id limit 3;",
            f"Query on 'tasks' must bound namespace: add e.g. \"AND {NAME}\"",
            f"select * from `z4`.`tasks` where deliver_at > '2022-01-01' AND {NAME} order by id limit 3",
        ),
        (
            "SELECT COUNT(*) FROM tasks",
            f"Query on 'tasks' must bound namespace and deliver_at: add e.g. \"WHERE {NAME} AND {TIME}\"",
            f"SELECT COUNT(*) FROM tasks WHERE {NAME} AND {TIME}",
        ),
        (
            "SELECT state, COUNT(*) FROM tasks\nGROUP BY state",
            "Query on 'tasks' must bound namespace and deliver_at",
            f"SELECT state, COUNT(*) FROM tasks WHERE {NAME} AND {TIME}\nGROUP BY state",
        ),
        (
            "SELECT * FROM tasks WHERE namespace = 'a' AND id > 'x' OR namespace = 'b'",
            "Query on 'tasks' must bound deliver_at",
            f"SELECT * FROM tasks WHERE (namespace = 'a' AND id > 'x' OR namespace = 'b') AND {TIME}",
        ),
        (
            "SELECT 1 FROM tasks t JOIN namespaces n ON n.name = t.namespace WHERE t.namespace = 'a'",
            "Query on 'tasks' (as 't') must bound deliver_at",
            "SELECT 1 FROM tasks t JOIN namespaces n ON n.name = t.namespace WHERE t.namespace = 'a' "
            f"AND t.{TIME}",
        ),
        (
            "SELECT 1 FROM namespaces n LEFT JOIN tasks t ON n.name = t.namespace AND t.namespace = 'a' "
            "WHERE n.paused",
            "Query on 'tasks' (as 't') must bound deliver_at",
            "SELECT 1 FROM namespaces n LEFT JOIN tasks t ON n.name = t.namespace AND t.namespace = 'a' "
            f"AND t.{TIME} WHERE n.paused",
        ),
        (
            "SELECT 1 FROM (SELECT id FROM tasks WHERE namespace = 'a' LIMIT 9) d WHERE id > 'x'",
            "Query on 'tasks' must bound deliver_at",
            f"SELECT 1 FROM (SELECT id FROM tasks WHERE namespace = 'a' AND {TIME} LIMIT 9) d WHERE id > 'x'",
        ),
        (
            "SELECT 1 FROM namespaces WHERE name IN (SELECT namespace FROM tasks)",
            "Query on 'tasks' must bound namespace and deliver_at",
            f"SELECT 1 FROM namespaces WHERE name IN (SELECT namespace FROM tasks WHERE {NAME} AND {TIME})",
        ),
    ],
)
def test_the_error_shows_the_users_own_query_corrected(sql: str, start: str, corrected: str) -> None:
    message = refusal(sql)
    assert message.startswith(start)
    assert message.endswith(f". Corrected: {corrected}")
    if "my_namespace" not in corrected or "SELECT 1" not in corrected:
        planned(corrected)


def test_the_branch_of_or_that_is_open_is_named() -> None:
    message = refusal(
        "SELECT * FROM tasks WHERE (namespace = 'a' AND deliver_at > '2022-01-01') OR namespace = 'b' "
        "OR id > 'x'"
    )
    assert message.startswith(
        "Query on 'tasks' must bound namespace and deliver_at in every branch of OR; not bounded: "
        "\"namespace = 'b'\", \"id > 'x'\""
    )


def test_a_long_query_is_shown_around_the_correction() -> None:
    columns = ", ".join(f"metadata->>'$.column_{number}'" for number in range(100))
    message = refusal(f"SELECT {columns} FROM tasks WHERE namespace = 'a' ORDER BY {columns}")
    assert len(message) < 700
    assert f"FROM tasks WHERE namespace = 'a' AND {TIME} ORDER BY" in message


def test_the_first_open_reference_is_named_among_many() -> None:
    bound = "namespace = 'a' AND deliver_at < '2022-01-01'"
    message = refusal(
        f"SELECT 1 FROM tasks x WHERE {bound} UNION SELECT 1 FROM tasks y WHERE namespace = 'a'"
    )
    assert message.startswith("Query on 'tasks' (as 'y') must bound deliver_at")
    assert message.endswith(f"UNION SELECT 1 FROM tasks y WHERE namespace = 'a' AND {TIME}")


BOTH = f"{NAME} AND {TIME}"


def prefixed(alias: str) -> str:
    return f"{alias}.{NAME} AND {alias}.{TIME}"


@pytest.mark.parametrize(
    ("sql", "corrected"),
    [
        ("TABLE tasks", f"SELECT * FROM tasks WHERE {BOTH}"),
        ("TABLE z4.tasks ORDER BY id LIMIT 3", f"SELECT * FROM z4.tasks WHERE {BOTH} ORDER BY id LIMIT 3"),
        (
            "SELECT 1 FROM namespaces n LEFT JOIN tasks t USING (namespace) WHERE n.paused",
            f"SELECT 1 FROM namespaces n LEFT JOIN (SELECT * FROM tasks WHERE {BOTH}) t USING (namespace)"
            " WHERE n.paused",
        ),
        (
            "SELECT 1 FROM namespaces n LEFT JOIN tasks USING (a) JOIN namespaces m ON m.name = n.name",
            f"SELECT 1 FROM namespaces n LEFT JOIN (SELECT * FROM tasks WHERE {BOTH}) tasks USING (a)"
            " JOIN namespaces m ON m.name = n.name",
        ),
        (
            "SELECT 1 FROM tasks t NATURAL RIGHT JOIN namespaces n",
            f"SELECT 1 FROM (SELECT * FROM tasks WHERE {BOTH}) t NATURAL RIGHT JOIN namespaces n",
        ),
        (
            "SELECT 1 FROM namespaces n LEFT JOIN tasks t ON n.name = t.namespace OR n.paused WHERE n.paused",
            "SELECT 1 FROM namespaces n LEFT JOIN tasks t ON (n.name = t.namespace OR n.paused) AND"
            f" {prefixed('t')} WHERE n.paused",
        ),
        (
            "SELECT 1 FROM tasks a, tasks b",
            f"SELECT 1 FROM tasks a, tasks b WHERE {prefixed('b')} AND {prefixed('a')}",
        ),
        (
            "SELECT (SELECT 1 FROM tasks) FROM tasks a WHERE a.id = 'x' OR a.id = 'y' UNION TABLE tasks",
            f"SELECT (SELECT 1 FROM tasks WHERE {BOTH}) FROM tasks a"
            f" WHERE (a.id = 'x' OR a.id = 'y') AND {NAME}"
            f" UNION SELECT * FROM tasks WHERE {BOTH}",
        ),
    ],
)
def test_every_reference_is_corrected_and_the_result_is_accepted(sql: str, corrected: str) -> None:
    message = refusal(sql)
    assert message.endswith(f". Corrected: {corrected}")
    planned(corrected)


def test_an_outer_join_is_told_of_its_on_and_many_references_are_counted() -> None:
    outer = refusal("SELECT 1 FROM namespaces n LEFT JOIN tasks t ON n.name = t.namespace")
    assert f'add e.g. "AND {prefixed("t")}" to its ON. Corrected' in outer
    many = refusal(" UNION ALL ".join(["SELECT 1 FROM tasks"] * 200))
    assert many.endswith("; and for 196 more")
    assert len(many) < 1000
