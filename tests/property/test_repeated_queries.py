"""A query whose shape came before, with other values, gives what it gives when it is planned anew."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.planner_tables import NOW_US
from tests.sql_service import DirectCopy
from tests.task_stores import add_tasks
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.context import StatementContext
from z4sql.sql.engine.engine import Engine
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.query import QueryService
from z4sql.sql.result import ResultSet
from z4sql.sql.scan.segments import SegmentCache
from z4sql.sql.shapes import Shaped
from z4sql.sql.wire.connections import ConnectionRegistry
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

FIRST_US = 1_893_456_000_000_000  # 2030-01-01
MINUTE_US = 60 * 10**6
NAMESPACE = st.sampled_from(
    ["shop", "Shop", "shop ", "other", "", "sh'op", "s\\hop", "läden", "a:=b", "/*x*/"]
)
INSTANT = st.one_of(
    st.builds("2030-01-01 0{}:{:02}:00".format, st.integers(0, 3), st.integers(0, 59)),
    st.sampled_from(
        [
            *(
                "2030-01-01",
                "2030-1-1 1:00",
                "2030-01-01T00:30:00",
                "2030-01-01 00:30:00.5",
                "20300101003000",
            ),
            *(
                "2030-01-01 00:30:00.1234567",
                "2030-02-30",
                "no time",
                "",
                " 2030-01-01",
                "2030-01-01 00:30 x",
            ),
            *("0000-00-00", "9999-12-31", "10000-01-01", "2030-01-01 00:30:00+02:00", "1", "2030-01-01\\0"),
        ]
    ),
)
REGION = st.sampled_from(["r0", "r1", "r 1", 'r"1', "r\\\\1", "%", "R1", "r1 "])
OTHER = st.sampled_from(["a", "b", "scheduled", "$.region", "2030-01-01"])
VALUES = {"n": NAMESPACE, "t": INSTANT, "r": REGION, "x": OTHER}
FORMS = [
    "SELECT * FROM tasks WHERE namespace = {n} AND deliver_at >= {t} AND deliver_at < {t}",
    "SELECT id, deliver_at FROM tasks t WHERE {n} = t.namespace AND t.deliver_at BETWEEN {t} AND {t}",
    "SELECT id, {x} FROM tasks WHERE namespace = {n} AND deliver_at >= {t} AND deliver_at < {t}",
    "SELECT id FROM tasks WHERE namespace = {n} AND deliver_at > {t} AND deliver_at < {t} LIMIT 3 OFFSET 1",
    "SELECT id AS {x} FROM tasks WHERE namespace IN ({n}, {n}) AND deliver_at > {t} AND deliver_at <= {t}",
    "SELECT id, state FROM tasks WHERE namespace = {n} AND deliver_at >= {t} AND deliver_at < {t}"
    " ORDER BY deliver_at DESC, id DESC LIMIT 5",
    "SELECT id FROM tasks WHERE namespace = {n} AND deliver_at >= {t} AND deliver_at < {t}"
    " AND JSON_EXTRACT(metadata, '$.region') = {r}",
    "SELECT id FROM tasks WHERE namespace = {n} AND deliver_at >= {t} AND deliver_at < {t}"
    " AND metadata->>{x} = {r}",
    "SELECT id FROM tasks WHERE namespace = {n} AND deliver_at >= {t} AND deliver_at < {t} AND state = {x}",
    "SELECT id FROM tasks WHERE namespace = {n} AND (deliver_at = {t} OR deliver_at = {t})",
    "SELECT id FROM tasks WHERE namespace = {n} AND deliver_at >= TIMESTAMP {t} AND deliver_at < {t}",
    "SELECT COUNT(*) FROM tasks WHERE namespace = {n} AND deliver_at >= {t} AND deliver_at < {t}",
    "SELECT id FROM tasks WHERE namespace = {n} AND deliver_at >= {t} AND id = {x}",
]
SETTINGS = [
    "SET time_zone = '+02:00'",
    "SET time_zone = 'Europe/Berlin'",
    "SET time_zone = 'UTC'",
    "SET sql_mode = 'ANSI_QUOTES'",
    "SET sql_mode = ''",
    "SET sql_select_limit = 2",
    "SET sql_select_limit = 0",
    "SET sql_select_limit = DEFAULT",
    "SET @x = 1",
]


class CountingService(QueryService):
    again = 0

    async def run_again(self, shaped: Shaped, context: StatementContext) -> ResultSet | None:
        result = await super().run_again(shaped, context)
        self.again += result is not None
        return result


@dataclass
class World:
    machine: TaskMachine
    engine: Engine

    def front(self) -> tuple[Front, CountingService]:
        service = CountingService(DirectCopy(self.machine), self.engine, Z4Catalog())
        return Front(service, Z4Catalog(), ConnectionRegistry(), lambda: NOW_US), service


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    machine = TaskMachine(
        Path(tmp_path_factory.mktemp("store")), with_due_index=False, observer=SegmentCache()
    )
    machine.open()
    for namespace in ("shop", "other"):
        add_tasks(
            machine,
            [NewTask(namespace, {"region": f"r{n % 3}"}, b"p", FIRST_US + n * MINUTE_US) for n in range(180)],
        )
    engine = Engine()
    yield World(machine, engine)
    engine.close()
    machine.close()


@st.composite
def _statements(draw: st.DrawFn) -> list[str]:
    """Statements of two forms, with settings between."""
    forms = draw(st.lists(st.sampled_from(FORMS), min_size=1, max_size=2))
    found = []
    for _ in range(draw(st.integers(3, 12))):
        if draw(st.integers(0, 5)) == 0:
            found.append(draw(st.sampled_from(SETTINGS)))
        text = draw(st.sampled_from(forms))
        for kind, values in VALUES.items():
            while f"{{{kind}}}" in text:
                value = draw(values).replace("'", "''")
                text = text.replace(f"{{{kind}}}", f"'{value}'", 1)
        found.append(text)
    return found


async def _outcome(front: Front, session: object, text: str) -> object:
    try:
        result = await front.execute(session, text)  # type: ignore[arg-type]  # sessions of this very front
        if not isinstance(result, ResultSet):
            return None
        rows = [row for batch in [one async for one in result.batches] for row in batch.to_pylist()]
        # Names of columns are not those of the result.
        return result.columns, [tuple(row.values()) for row in rows], result.warnings.count
    except SqlError as error:
        return error.code, str(error)


async def _compare(world: World, statements: list[str]) -> int:
    front, service = world.front()
    session = front.open_session(1, "root", "localhost", "z4", {})
    said: list[str] = []
    for text in statements:
        found = await _outcome(front, session, text)
        fresh, _ = world.front()
        other = fresh.open_session(1, "root", "localhost", "z4", {})
        for before in said:
            await _outcome(fresh, other, before)
        assert found == await _outcome(fresh, other, text), text
        if text.startswith("SET"):
            said.append(text)
        elif isinstance(found, tuple) and isinstance(found[0], tuple):
            assert session.found_rows == other.found_rows, text
    return service.again


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(statements=_statements())
def test_with_other_values_as_if_it_was_the_first(world: World, statements: list[str]) -> None:
    asyncio.run(_compare(world, statements))


@pytest.mark.parametrize("form", [FORMS[0], FORMS[1], FORMS[3], FORMS[5], FORMS[6]])
async def test_what_picks_rows_is_repeated_from_the_third_time_on(world: World, form: str) -> None:
    texts = [
        form.format(n="'shop'", r="'r1'", t="{t}")
        .replace("{t}", f"'2030-01-01 00:{minute:02}:00'", 1)
        .replace("{t}", "'2030-01-01 01:30'")
        for minute in range(10, 20)
    ]
    assert await _compare(world, texts) == len(texts) - 2
