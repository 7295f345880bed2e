"""An answer that is kept is what the store holds, whatever happened to its tasks since, and whoever asks.

A seed is a history. One that fails: ``pytest "tests/property/test_kept_answers.py::NAME[SEED]"``.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from tests.sql_service import DirectCopy
from tests.task_life_history import NAMESPACES, SECOND_US, History
from tests.task_log import START_US, opened
from tests.task_stores import add_tasks
from tests.wire_raw import DEPRECATE_EOF, PLAIN, WITH_DATABASE, Raw, raw
from z4sql.access.model import Grant, Role, User
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.context import StatementContext
from z4sql.sql.engine.engine import Engine
from z4sql.sql.errors import SqlError
from z4sql.sql.front.answers import Answer, Answers
from z4sql.sql.front.front import Front
from z4sql.sql.front.session import Session
from z4sql.sql.query import QueryService
from z4sql.sql.result import ResultSet
from z4sql.sql.scan.basis import Basis
from z4sql.sql.scan.segments import SegmentCache
from z4sql.sql.temporal import naive_text
from z4sql.sql.wire.auth import NoAccounts
from z4sql.sql.wire.connections import ConnectionRegistry
from z4sql.sql.wire.server import WireServer
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

WHOLE = "namespace = '{n}' AND deliver_at >= '2000-01-01' AND deliver_at < '2100-01-01'"
PART = "namespace = '{n}' AND deliver_at >= '{lo}' AND deliver_at < '{hi}'"
FORMS = (
    f"SELECT id, deliver_at, state, attempts FROM tasks WHERE {PART} ORDER BY deliver_at, id LIMIT 20",
    f"SELECT * FROM tasks WHERE {PART}",
    f"SELECT state, COUNT(*), MAX(attempts) FROM tasks WHERE {WHOLE} GROUP BY state ORDER BY state",
    f"SELECT COUNT(*) FROM tasks WHERE {PART}",
    f"SELECT MIN(deliver_at), MAX(deliver_at) FROM tasks WHERE {PART}",
    f"SELECT COUNT(*) FROM tasks a JOIN tasks b USING (namespace, deliver_at) WHERE a.{PART}"
    " AND b.namespace = '{n}' AND b.deliver_at >= '2000-01-01' AND b.deliver_at < '2100-01-01'",
    f"SELECT attempt, kind, COUNT(*) FROM task_events WHERE {WHOLE} GROUP BY attempt, kind ORDER BY 1, 2",
    f"SELECT last_error, lease_owner FROM tasks WHERE {WHOLE} AND state = 'leased' ORDER BY id",
)
FIXED = "namespace = 'a' AND deliver_at >= '2022-04-15 05:00' AND deliver_at < '2022-04-15 06:00'"
FIXED_US = START_US
"""2022-04-15 05:20, within `FIXED`."""


class CountingService(QueryService):
    """``stood``: how many answers were given again; ``ran``: how many queries were not."""

    stood = 0
    ran = 0

    async def stands(self, basis: Basis, context: StatementContext) -> bool:
        found = await super().stands(basis, context)
        self.stood += found
        return found

    async def _admitted(self, *arguments: object) -> object:  # type: ignore[override]
        self.ran += 1
        return await super()._admitted(*arguments)  # type: ignore[arg-type]


@dataclass
class Asked:
    """A front end over a machine, and a session of root."""

    front: Front
    service: CountingService
    copy: DirectCopy
    session: Session

    async def rows(self, sql: str, session: Session | None = None) -> list[tuple[object, ...]]:
        result = await self.front.execute(session or self.session, sql)
        if not isinstance(result, ResultSet):
            return []
        batches: list[pa.RecordBatch] = [batch async for batch in result.batches]
        return [
            row
            for batch in batches
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        ]


USERS: dict[str, User] = {}


def asked(machine: TaskMachine, engine: Engine) -> Asked:
    copy = DirectCopy(machine)
    service = CountingService(copy, engine, Z4Catalog())
    user = USERS.get if USERS else lambda name: User(name, frozenset({Role.ADMIN}))
    front = Front(service, Z4Catalog(), ConnectionRegistry(), lambda: START_US, user=user)
    return Asked(front, service, copy, front.open_session(1, "root", "localhost", "z4", {}))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[TaskMachine]:
    made = TaskMachine(tmp_path / "state", with_due_index=False, observer=SegmentCache())
    made.open()
    add_tasks(made, [NewTask("a", {"k": "v"}, b"", FIXED_US + n * SECOND_US) for n in range(30)])
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(3))
async def test_a_kept_answer_is_what_the_store_holds(tmp_path: Path, engine: Engine, seed: int) -> None:
    choose = random.Random(seed)
    witness = opened(tmp_path / "witness")
    machine = TaskMachine(tmp_path / "copy", with_due_index=False, observer=SegmentCache())
    machine.open()
    history = History(seed, witness)
    again = asked(machine, engine)
    texts = []
    for form in FORMS:
        for namespace in NAMESPACES[:2]:
            # Most of a history is near its present; hours away, the buckets of time are others.
            lo = START_US + choose.choice((-86_400, -5, 0, 60)) * SECOND_US
            hi = lo + choose.choice((10, 600, 7 * 86_400)) * SECOND_US
            texts.append(form.format(n=namespace, lo=naive_text(lo, 6), hi=naive_text(hi, 6)))
    for _ in range(25):
        history.grow(choose.choice((0, 0, 1, 5)))
        machine.apply(history.log.entries[machine.applied_index :])
        for text in choose.sample(texts, 5):
            found = [await again.rows(text) for _ in range(choose.choice((1, 3)))]
            expected = await asked(machine, engine).rows(text)
            assert all(rows == expected for rows in found), f"seed {seed}: {text}"
    assert again.service.stood > 10
    machine.close()
    witness.close()


async def test_what_is_asked_a_third_time_is_not_run(machine: TaskMachine, engine: Engine) -> None:
    again = asked(machine, engine)
    sql = f"SELECT COUNT(*), MAX(id) FROM tasks WHERE {FIXED}"
    for _ in range(5):
        assert (await again.rows(sql))[0][0] == 30
    assert (again.service.ran, again.service.stood) == (2, 3)
    assert again.session.found_rows == 1


async def test_an_answer_ends_with_a_change_of_its_tasks_and_with_no_other(
    machine: TaskMachine, engine: Engine
) -> None:
    again = asked(machine, engine)
    sql = f"SELECT COUNT(*) FROM tasks WHERE {FIXED}"
    for _ in range(3):
        await again.rows(sql)
    add_tasks(
        machine, [NewTask("b", {}, b"", FIXED_US), NewTask("a", {}, b"", FIXED_US + 86_400 * SECOND_US)]
    )
    assert await again.rows(sql) == [(30,)]
    assert (again.service.ran, again.service.stood) == (2, 2)
    add_tasks(machine, [NewTask("a", {}, b"", FIXED_US)])
    assert await again.rows(sql) == [(31,)]
    assert (again.service.ran, again.service.stood) == (3, 2)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT RAND() FROM tasks WHERE {FIXED}",
        f"SELECT UUID(), id FROM tasks WHERE {FIXED}",
        f"SELECT id, NOW(6) FROM tasks WHERE {FIXED}",
        f"SELECT id, @v FROM tasks WHERE {FIXED}",
        f"SELECT id, CONNECTION_ID() FROM tasks WHERE {FIXED}",
        f"SELECT id, FOUND_ROWS() FROM tasks WHERE {FIXED}",
        f"SELECT z4_applied_index() FROM tasks WHERE {FIXED}",
        f"SELECT id, (SELECT COUNT(*) FROM namespaces) FROM tasks WHERE {FIXED}",
        f"SELECT id + 0 FROM tasks WHERE {FIXED}",
        f"SELECT /*+ MAX_EXECUTION_TIME(9000) */ id FROM tasks WHERE {FIXED}",
        f"SELECT SQL_CALC_FOUND_ROWS id FROM tasks WHERE {FIXED} LIMIT 2",
        "SELECT * FROM namespaces",
    ],
)
async def test_what_depends_on_more_than_its_tasks_is_always_run(
    machine: TaskMachine, engine: Engine, sql: str
) -> None:
    again = asked(machine, engine)
    for _ in range(4):
        await again.rows(sql)
    assert (again.service.ran, again.service.stood) == (4, 0)


@pytest.mark.parametrize(
    ("setting", "sql"),
    [
        ("SET time_zone = '+05:00'", f"SELECT FROM_UNIXTIME(0), MIN(deliver_at) FROM tasks WHERE {FIXED}"),
        ("SET sql_select_limit = 3", f"SELECT id FROM tasks WHERE {FIXED}"),
        ("SET sql_select_limit = 0", f"SELECT id FROM tasks WHERE {FIXED}"),
        ("SET group_concat_max_len = 8", f"SELECT GROUP_CONCAT(id) FROM tasks WHERE {FIXED}"),
        ("SET character_set_results = latin1", f"SELECT 'ä', COUNT(*) FROM tasks WHERE {FIXED}"),
    ],
)
async def test_other_settings_have_answers_of_their_own(
    machine: TaskMachine, engine: Engine, setting: str, sql: str
) -> None:
    again = asked(machine, engine)
    for _ in range(3):
        first = await again.rows(sql)
    other = again.front.open_session(2, "root", "localhost", "z4", {})
    await again.rows(setting, other)
    fresh = asked(machine, engine)
    await fresh.rows(setting)
    for _ in range(3):
        assert await again.rows(sql, other) == await fresh.rows(sql)
        assert await again.rows(sql) == first


async def test_an_answer_is_no_way_to_what_is_not_granted(machine: TaskMachine, engine: Engine) -> None:
    USERS.update(
        root=User("root", frozenset({Role.ADMIN})),
        ann=User("ann", frozenset({Role.READ}), Grant(("b",))),
    )
    try:
        again = asked(machine, engine)
        ann = again.front.open_session(2, "ann", "localhost", "z4", {})
        sql = f"SELECT COUNT(*) FROM tasks WHERE {FIXED}"
        for _ in range(3):
            assert await again.rows(sql) == [(30,)]
        with pytest.raises(SqlError, match="not granted"):
            await again.rows(sql, ann)
        USERS["root"] = User("root", frozenset({Role.PRODUCE}))
        with pytest.raises(SqlError, match="Access denied"):
            await again.rows(sql)
    finally:
        USERS.clear()


async def test_a_linearizable_answer_waits_for_what_was_acknowledged(
    machine: TaskMachine, engine: Engine
) -> None:
    again = asked(machine, engine)
    await again.rows("SET z4_consistency = 'linearizable'")
    for _ in range(4):
        await again.rows(f"SELECT COUNT(*) FROM tasks WHERE {FIXED}")
    assert again.service.stood == 2
    assert again.copy.read_indexes == 4


async def test_answers_of_a_store_end_with_it(machine: TaskMachine, engine: Engine, tmp_path: Path) -> None:
    again = asked(machine, engine)
    sql = f"SELECT COUNT(*) FROM tasks WHERE {FIXED}"
    for _ in range(3):
        await again.rows(sql)
    segments = machine.observer
    assert isinstance(segments, SegmentCache)
    segments.retire()
    other = TaskMachine(tmp_path / "other", with_due_index=False, observer=SegmentCache())
    other.open()
    again.copy.machine = other
    assert await again.rows(sql) == [(0,)]
    other.close()


@asynccontextmanager
async def served(front: Front) -> AsyncIterator[int]:
    """The port of a server on the running loop."""
    server = WireServer(front, NoAccounts(), connections=ConnectionRegistry())
    try:
        yield await server.start("127.0.0.1", 0)
    finally:
        await server.stop(0.2)


async def _reply(client: Raw, command: bytes) -> list[tuple[int, bytes]]:
    """All packets that answer a query or an execution: to the second EOF, or to the OK in their place."""
    client.send(command)
    packets = [await client.packet()]
    ends = 0
    while ends < (1 if client.capabilities & DEPRECATE_EOF else 2):
        packets.append(await client.packet())
        assert packets[-1][1][0] != 0xFF, packets
        ends += packets[-1][1][0] == 0xFE
    return packets


@pytest.mark.parametrize("capabilities", [PLAIN | WITH_DATABASE, PLAIN | WITH_DATABASE | DEPRECATE_EOF])
async def test_a_kept_answer_is_written_as_the_first_one_was(
    machine: TaskMachine, engine: Engine, capabilities: int
) -> None:
    sql = f"SELECT id, deliver_at, attempts, payload FROM tasks WHERE {FIXED} ORDER BY id".encode()
    again = asked(machine, engine)
    async with served(again.front) as port:
        async with raw(port) as other:
            await other.log_in(capabilities=capabilities ^ DEPRECATE_EOF, database=b"z4")
            for _ in range(3):
                await _reply(other, b"\x03" + sql)
        async with raw(port) as client:
            await client.log_in(capabilities=capabilities, database=b"z4")
            text = [await _reply(client, b"\x03" + sql) for _ in range(3)]
            statement = (await client.ask(b"\x16" + sql))[1:5]
            for _ in range(4 if capabilities & DEPRECATE_EOF else 5):
                await client.packet()
            execute = b"\x17" + statement + b"\0\1\0\0\0"
            binary = [await _reply(client, execute) for _ in range(3)]
    assert again.service.ran == 2
    fresh = asked(machine, engine)
    async with served(fresh.front) as port, raw(port) as client:
        await client.log_in(capabilities=capabilities, database=b"z4")
        assert [await _reply(client, b"\x03" + sql)] * 3 == text
    assert all(reply == binary[0] for reply in binary)
    assert [sequence for sequence, _ in binary[0]] == list(range(1, len(binary[0]) + 1))
    assert len(binary[0]) == len(text[0])
    assert binary[0] != text[0]


def test_answers_that_are_too_many_give_way_to_later_ones() -> None:
    answers, basis = Answers(), Basis((), SegmentCache(), 0)
    batch = pa.RecordBatch.from_pydict({"payload": [b"x" * (16 << 10)]})
    context = StatementContext(START_US)
    for n in range(2_000):
        answers.keep(f"SELECT {n}", context, Answer((), (batch,), basis))
        answers.find("SELECT 0", context)
    assert 100 < len(answers) < 600
    assert answers.find("SELECT 0", context) is not None
    assert answers.find("SELECT 1", context) is None
    assert answers.find("SELECT 1999", context) is not None
