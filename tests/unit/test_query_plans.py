"""Plans are kept for statements that depend on nothing but their key; nobody sees more by them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from tests.planner_tables import NOW_US
from tests.sql_service import answer, service_over
from tests.task_stores import add_tasks
from z4sql.access.model import Grant
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.cheaper import cheaper
from z4sql.sql.context import StatementContext
from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.statement import lower
from z4sql.sql.planner.plan import plan
from z4sql.sql.plans import Watched
from z4sql.sql.scan.members import NeedleMember, with_member_columns
from z4sql.sql.scan.segments import SegmentCache
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

HOUR_US = 3_600_000_000
RANGE = "namespace = 'a' AND deliver_at >= '2000-01-01' AND deliver_at < '2100-01-01'"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[TaskMachine]:
    opened = TaskMachine(tmp_path / "state", with_due_index=False, observer=SegmentCache())
    opened.open()
    for namespace in ("a", "b"):
        add_tasks(
            opened, [NewTask(namespace, {"k": str(n % 3)}, b"", NOW_US + n * HOUR_US) for n in range(9)]
        )
    yield opened
    opened.close()


def lowered(sql: str, context: StatementContext) -> str:
    query = sqlglot.parse_one(sql, read="mysql")
    assert isinstance(query, exp.Expression)
    plan(query, sql, Z4Catalog(), context)
    return lower(query, sql, Z4Catalog(), context).sql


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        (f"SELECT id FROM tasks WHERE {RANGE}", True),
        (f"SELECT state, COUNT(*) FROM tasks WHERE {RANGE} GROUP BY state ORDER BY 2", True),
        (f"SELECT metadata->>'$.k' FROM tasks WHERE {RANGE} AND attempts > 1 + 1", True),
        (f"SELECT DATE_FORMAT(deliver_at, '%Y') y FROM tasks WHERE {RANGE} GROUP BY y", True),
        ("SELECT id FROM tasks WHERE namespace = 'a' AND deliver_at < NOW()", False),
        ("SELECT id FROM tasks WHERE namespace = 'a' AND deliver_at > UTC_TIMESTAMP()", False),
        ("SELECT id FROM tasks WHERE namespace = @n AND deliver_at < '2030-01-01'", False),
        (f"SELECT NOW(), id FROM tasks WHERE {RANGE}", False),
        (f"SELECT CURDATE(), id FROM tasks WHERE {RANGE}", False),
        (f"SELECT @mine, id FROM tasks WHERE {RANGE}", False),
        (f"SELECT @@sql_mode, id FROM tasks WHERE {RANGE}", False),
        (f"SELECT CONNECTION_ID(), id FROM tasks WHERE {RANGE}", False),
        (f"SELECT CURRENT_USER(), id FROM tasks WHERE {RANGE}", False),
        (f"SELECT UNIX_TIMESTAMP(), id FROM tasks WHERE {RANGE}", False),
    ],
)
def test_what_a_plan_depends_on_is_seen(sql: str, kept: bool) -> None:
    context = StatementContext(NOW_US, user_variables={"n": "a", "mine": 1}, variable=lambda name: "x")
    watched = Watched(context)
    lowered(sql, watched.as_context)
    assert watched.keyed is kept, watched.fields


async def test_a_kept_plan_does_not_let_anybody_in(machine: TaskMachine) -> None:
    service, _ = service_over(machine)
    only_b = StatementContext(NOW_US, user="eve", grant=Grant(("b",)))
    for select in ("SELECT id", "SELECT COUNT(*)", "SELECT state, COUNT(*)", "SELECT *"):
        for rest in ("", " AND JSON_EXTRACT(metadata, '$.k') = '1'"):
            sql = f"{select} FROM tasks WHERE {RANGE}{rest}"
            sql += " GROUP BY state" if "state" in select else ""
            for _ in range(2):
                assert await answer(service, sql)
            with pytest.raises(SqlError) as refused:
                await answer(service, sql, only_b)
            assert refused.value.code == 1142
            assert await answer(service, sql.replace("'a'", "'b'"), only_b)
    service.close()


async def test_a_kept_plan_follows_zone_clock_and_limit(machine: TaskMachine) -> None:
    service, _ = service_over(machine)
    hours = f"SELECT DATE_FORMAT(deliver_at, '%H:%i') FROM tasks WHERE {RANGE} ORDER BY deliver_at"
    past = "SELECT COUNT(*) FROM tasks WHERE namespace = 'a' AND deliver_at <= NOW(6)"
    for _ in range(2):
        utc = await answer(service, hours)
        east = await answer(service, hours, StatementContext(NOW_US, timezone(timedelta(minutes=90))))
        assert [row[0] for row in utc] != [row[0] for row in east]
        for passed in (0, 3):
            context = StatementContext(NOW_US + passed * HOUR_US)
            assert await answer(service, past, context) == [(passed + 1,)]
    service.close()


async def test_an_order_by_id_follows_the_data(machine: TaskMachine) -> None:
    """Whether the scan gives that order depends on moved tasks: both plans live side by side."""
    from tests.task_log import TaskLog
    from z4sql.tasks.life import ChangeKind, LifeCommands, TaskChange, id_place

    service, _ = service_over(machine)
    sql = f"SELECT id, deliver_at FROM tasks WHERE {RANGE} ORDER BY deliver_at, id LIMIT 20"
    before = await answer(service, sql)
    assert before == await answer(service, sql)
    log = TaskLog()
    log.entries = [None] * machine.applied_index  # type: ignore[list-item]  # applied by others
    where = id_place("a", str(before[0][0]))
    life = LifeCommands(lambda: NOW_US)
    change = TaskChange(where, ChangeKind.RESCHEDULE, deliver_at_us=NOW_US + 5 * HOUR_US)
    log.carry_out(machine, life.change_task(change))
    for _ in range(2):
        after = await answer(service, sql)
        assert [row[1] for row in after] == sorted(row[1] for row in after)  # type: ignore[type-var]
        assert after == sorted(after, key=lambda row: (row[1], row[0]))
        assert {row[0] for row in after} == {row[0] for row in before}
    service.close()


def test_members_become_columns_outside_of_text_and_names() -> None:
    sql = (
        """select json_extract_string("t"."metadata",'/a') as "json_extract(""t"".""metadata"",'/a')", """
        """json_extract("t"."metadata",'/b'), 'json_extract("t"."metadata",''/c'')' from "s" as "t" """
        """where json_extract_string(json_extract("t"."metadata",'/d'),'$') = 'x'"""
        """ and rtrim(json_extract_string("t"."metadata",'/e'),' ') = 'y'"""
    )
    changed, columns, metadata = with_member_columns(sql)
    assert changed == (
        """select "t"."metadata/a" as "json_extract(""t"".""metadata"",'/a')", """
        """to_json("t"."metadata/b"), 'json_extract("t"."metadata",''/c'')' from "s" as "t" """
        """where "t"."metadata/d" = 'x' and "t"."trimmed metadata/e" = 'y'"""
    )
    assert set(columns) == {"metadata/a", "metadata/b", "metadata/d", "trimmed metadata/e"}
    assert metadata, "a text that looks like a use is taken for one: the column is only read for nothing"


@pytest.mark.parametrize(
    ("needle", "text", "holds", "misses"),
    [
        (b'"k": "v"', "v", ("v",), ("vv", "", "w")),
        (b'"k": "v', "v", ("v", "vv", "v "), ("w", "")),
        (rb'"k": "a\"', 'a"', ('a"', 'a"b'), ("a",)),
        (rb'"k": "a\""', 'a"', ('a"',), ('a"b', "a")),
        ('"ké": "ü"'.encode(), "ü", ("ü",), ("u",)),
    ],
)
def test_a_needle_is_a_test_of_one_member(
    needle: bytes, text: str, holds: tuple[str, ...], misses: tuple[str, ...]
) -> None:
    member = NeedleMember.of(needle)
    assert member.text == text
    assert all(member.holds(value) for value in holds)
    assert not any(member.holds(value) for value in misses)


def test_dashboards_lower_to_what_is_cheap() -> None:
    """The lowering and its simplification know the same forms: otherwise refreshes are slow, not wrong."""
    context = StatementContext(NOW_US)
    hour = f"SELECT DATE_FORMAT(deliver_at, '%Y-%m-%d %H:00') h, COUNT(*) FROM tasks WHERE {RANGE}"
    sql = cheaper(lowered(f"{hour} GROUP BY h ORDER BY h", context))
    assert """group by date_trunc('hour',"tasks"."deliver_at") order by""" in sql
    sql = cheaper(lowered(f"SELECT state, COUNT(*) FROM tasks WHERE {RANGE} GROUP BY state", context))
    assert sql.endswith('group by "tasks"."state"')
    for key in ("JSON_UNQUOTE(JSON_EXTRACT(metadata, '$.k'))", "metadata->>'$.k'"):
        sql = lowered(f"SELECT {key} AS k, COUNT(*) FROM tasks WHERE {RANGE} GROUP BY k", context)
        changed, columns, metadata = with_member_columns(sql)
        assert changed.endswith('group by "tasks"."trimmed metadata/k"')
        assert not metadata and set(columns) == {"metadata/k", "trimmed metadata/k"}
    sql = lowered(f"SELECT 1 FROM tasks WHERE {RANGE} AND JSON_EXTRACT(metadata, '$.k') = 'v'", context)
    assert """("tasks"."metadata/k" = 'v')""" in with_member_columns(sql)[0]
