"""Stored tasks come out as Arrow columns: all of them, only what was asked for, within limits."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.replica.group import encode_group
from raftcore.storage.kv import Batch
from tests.task_stores import CREATED_US, add_tasks, open_machine
from z4sql.sql.context import Limits
from z4sql.sql.errors import Interrupted, LimitExceeded, SqlError, TimedOut
from z4sql.sql.scan.columns import TYPES
from z4sql.sql.scan.limits import QueryLimits
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, ScanRequest, TimeRange
from z4sql.sql.scan.task_source import TaskSource
from z4sql.tasks.ids import parse_id
from z4sql.tasks.keys import MOVED, TASK, namespace_part, place, time_bytes
from z4sql.tasks.life import ChangeKind, LifeCommands, TaskChange, id_place
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask
from z4sql.tasks.record import FLAG_MOVED, HEADER, HEADER_BYTES, NONE, RECORD_VERSION, State

EVERY = tuple(TYPES)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[TaskMachine]:
    opened = open_machine(tmp_path / "state")
    yield opened
    opened.close()


def whole(*namespaces: str) -> tuple[TimeRange, ...]:
    return tuple(TimeRange(name, INSTANT_MIN, INSTANT_MAX) for name in namespaces)


def rows(source: TaskSource, request: ScanRequest) -> list[dict[str, object]]:
    batches = list(source.scan(request))
    table = pa.Table.from_batches(batches, source.schema(request.columns))
    table.validate(full=True)
    listed: list[dict[str, object]] = table.to_pylist()
    return listed


def instant(us: int | None) -> datetime | None:
    return (
        None
        if us is None
        else datetime.fromtimestamp(us // 1_000_000, UTC).replace(tzinfo=None, microsecond=us % 1_000_000)
    )


def test_every_column_of_a_new_task(machine: TaskMachine) -> None:
    metadata = {"k": "v", "name": 'żółw "x"'}
    (task_id,) = add_tasks(
        machine, [NewTask("a", metadata, b"\x00\xff" * 20, 1_700_000_000_000_007, request_id="r" * 20)]
    )
    assert rows(TaskSource(machine.store), ScanRequest(whole("a"), EVERY)) == [
        {
            "namespace": "a",
            "id": task_id,
            "deliver_at": instant(1_700_000_000_000_007),
            "created_at": instant(CREATED_US),
            "metadata": '{"k": "v", "name": "żółw \\"x\\""}',
            "payload": b"\x00\xff" * 20,
            "state": "scheduled",
            "attempts": 0,
            "next_attempt_at": instant(1_700_000_000_000_007),
            "lease_owner": None,
            "lease_until": None,
            "last_error": None,
            "last_attempt_at": None,
            "finished_at": None,
            "request_id": "r" * 20,
            "expire_at": None,
            "lease_token": None,
            "events": b"",
            "lateness_ms": None,
        }
    ]


def test_the_short_parts_of_a_record_are_told_apart(machine: TaskMachine) -> None:
    store, batch = machine.store, Batch()
    for number, state in enumerate(State):
        owner, error, request = b"o" * number, b"e" * (number * 5), b"q" * 12
        header = HEADER.pack(
            RECORD_VERSION, state, 0, number, 1, 2, 3, 4, NONE, 2, number * 7, len(owner), len(error), 12,
            number * 3, number, 5,
        )  # fmt: skip
        record = header + b"{}" + owner + error + request + b"v" * (number * 3) + b"p" * (number * 7)
        batch.put(TASK + namespace_part(b"n") + place(number, 1), record)
    store.write(batch)
    found = rows(TaskSource(store), ScanRequest(whole("n"), EVERY))
    for number, (state, row) in enumerate(zip(State, found, strict=True)):
        assert row["state"] == state.name.lower()
        assert (row["attempts"], row["lease_until"], row["last_attempt_at"]) == (number, instant(3), None)
        assert row["lease_owner"] == ("o" * number or None)
        assert row["last_error"] == ("e" * number * 5 or None)
        assert (row["request_id"], row["payload"]) == ("q" * 12, b"p" * (number * 7))
        # What a done task was acknowledged under is no present lease.
        token = number if state is State.LEASED else None
        assert (row["lease_token"], row["expire_at"]) == (token, instant(5))
        assert row["events"] == b"v" * (number * 3)
    assert len(found) == len(State)


def test_a_moved_task_keeps_its_id_and_is_found_by_it(machine: TaskMachine) -> None:
    (task_id,) = add_tasks(machine, [NewTask("a", deliver_at_us=5_000)])
    made_for, sequence = parse_id(task_id)
    part, batch = namespace_part(b"a"), Batch()
    record = machine.store.get(TASK + part + place(made_for, sequence))
    assert record is not None
    fields = list(HEADER.unpack_from(record))
    fields[2] |= FLAG_MOVED
    moved = HEADER.pack(*fields) + record[HEADER_BYTES:] + made_for.to_bytes(8, "little", signed=True)
    batch.delete(TASK + part + place(made_for, sequence))
    batch.put(TASK + part + place(9_000, sequence), moved)
    batch.put(MOVED + part + place(made_for, sequence), time_bytes(9_000))
    machine.store.write(batch)

    source = TaskSource(machine.store)
    expected = [{"id": task_id, "deliver_at": instant(9_000), "payload": b""}]
    columns = ("id", "deliver_at", "payload")
    assert rows(source, ScanRequest(whole("a"), columns)) == expected
    assert rows(source, ScanRequest(whole("a"), columns, ids=frozenset({task_id}))) == expected
    early = (TimeRange("a", INSTANT_MIN, 9_000),)
    assert rows(source, ScanRequest(early, columns, ids=frozenset({task_id}))) == []
    assert source.any_moved(ScanRequest(whole("a"), columns))
    assert not source.any_moved(ScanRequest(whole("b"), columns))


def test_the_payload_of_a_moved_task_lies_where_its_id_says(machine: TaskMachine) -> None:
    ids = add_tasks(machine, [NewTask("a", {}, bytes([at]) * 5_000, 5_000 + at) for at in range(3)])
    life = LifeCommands(lambda: CREATED_US)
    for number, task_id in enumerate(ids[:2]):
        change = TaskChange(id_place("a", task_id), ChangeKind.RESCHEDULE, deliver_at_us=9_000 - number)
        entry = encode_group([life.change_task(change)])
        machine.apply([Entry(Term(1), Index(machine.applied_index + 1), EntryKind.COMMANDS, entry)])
    found = rows(TaskSource(machine.store), ScanRequest(whole("a"), ("id", "payload")))
    assert found == [{"id": ids[at], "payload": bytes([at]) * 5_000} for at in (2, 1, 0)], (
        "in the order of their present times"
    )


def test_ids_that_are_none_find_nothing(machine: TaskMachine) -> None:
    (task_id,) = add_tasks(machine, [NewTask("a", deliver_at_us=5_000)])
    ids = frozenset({"x", task_id.lower() + "", "Z" * 26, "é" * 26, ""})
    source = TaskSource(machine.store)
    assert rows(source, ScanRequest(whole("a", "b"), ("id",), ids=ids - {task_id})) == []
    assert len(rows(source, ScanRequest(whole("a", "b"), ("id",), ids=ids | {task_id}))) == 1


def test_ranges_are_half_open_and_read_either_way(machine: TaskMachine) -> None:
    add_tasks(machine, [NewTask(name, deliver_at_us=at) for name in ("a", "ab", "b") for at in range(10)])
    source = TaskSource(machine.store)
    wanted = (TimeRange("a", 2, 4), TimeRange("a", 8, 9), TimeRange("b", 9, INSTANT_MAX))
    request = ScanRequest(wanted, ("namespace", "deliver_at"), batch_rows=1)
    expected = [("a", 2), ("a", 3), ("a", 8), ("b", 9)]
    found = [(row["namespace"], row["deliver_at"].microsecond) for row in rows(source, request)]  # type: ignore[attr-defined]
    assert found == expected
    backwards = ScanRequest(wanted, ("namespace", "deliver_at", "id"), descending=True, batch_rows=1)
    found = [(row["namespace"], row["deliver_at"].microsecond) for row in rows(source, backwards)]  # type: ignore[attr-defined]
    assert found == expected[::-1]
    assert source.count(request) == 4
    assert source.first_and_last(request) == (2, 9)
    assert source.first_and_last(ScanRequest((TimeRange("a", 100, 200),), ())) is None


def test_batches_grow_from_the_size_asked_for(machine: TaskMachine) -> None:
    add_tasks(machine, [NewTask("a", deliver_at_us=at) for at in range(1_000)])
    source = TaskSource(machine.store)
    for columns in (("deliver_at",), ("metadata",)):
        sizes = [len(batch) for batch in source.scan(ScanRequest(whole("a"), columns, batch_rows=10))]
        assert sizes == [10, 40, 160, 640, 150]


def test_a_needle_leaves_the_rows_that_hold_it(machine: TaskMachine) -> None:
    add_tasks(machine, [NewTask("a", {"user": f"u{at % 3}"}, deliver_at_us=at) for at in range(30)])
    request = ScanRequest(whole("a"), ("metadata",), needles=(b'"user": "u1"',))
    assert rows(TaskSource(machine.store), request) == [{"metadata": '{"user": "u1"}'}] * 10


def test_payloads_that_lie_apart_are_read_only_when_asked(machine: TaskMachine) -> None:
    payloads = [bytes([at]) * (3 if at % 2 else 600_000) for at in range(80)]
    add_tasks(machine, [NewTask("a", {}, payload, at) for at, payload in enumerate(payloads)])
    source = TaskSource(machine.store)
    batches = list(source.scan(ScanRequest(whole("a"), ("payload",))))
    assert [cell for batch in batches for cell in batch["payload"].to_pylist()] == payloads
    assert len(batches) > 1, "a batch holds a bounded number of bytes"
    assert sum(batch.nbytes for batch in source.scan(ScanRequest(whole("a"), ("metadata",)))) < 100_000


def test_a_long_scan_loses_no_row_while_memory_is_reused(machine: TaskMachine) -> None:
    for start in range(0, 100_000, 20_000):
        add_tasks(
            machine, [NewTask("a", {"n": str(at)}, deliver_at_us=at) for at in range(start, start + 20_000)]
        )
    machine.sync()
    source = TaskSource(machine.store)
    for columns in (("deliver_at",), ("metadata", "id")):
        count, churn = 0, []
        for batch in source.scan(ScanRequest(whole("a"), columns, batch_rows=64)):
            count += len(batch)
            churn = [bytes(40) for _ in range(2_000)]
            gc.collect()
        assert (count, len(churn)) == (100_000, 2_000)


def test_limits_end_a_scan_at_the_next_batch(machine: TaskMachine) -> None:
    add_tasks(machine, [NewTask("a", deliver_at_us=at) for at in range(1_000)])
    request = ScanRequest(whole("a"), ("id",), batch_rows=10)
    for limits, kind in (
        (QueryLimits(Limits(scanned_rows_max=100)), LimitExceeded),
        (QueryLimits(Limits(execution_time_ms=1)), TimedOut),
        (QueryLimits(), Interrupted),
    ):
        batches = TaskSource(machine.store, limits).scan(request)
        if kind is not TimedOut:
            next(batches)
        else:
            while limits.remaining_s:
                pass
        if kind is Interrupted:
            limits.stop()
        with pytest.raises(kind):
            list(batches)
        with pytest.raises(kind):
            TaskSource(machine.store, limits).count(request)


def test_a_store_that_cannot_be_read_raises(machine: TaskMachine) -> None:
    add_tasks(machine, [NewTask("a", deliver_at_us=at) for at in range(100)])
    source = TaskSource(machine.store)
    batches = source.scan(ScanRequest(whole("a"), ("id",), batch_rows=1))
    next(batches)
    store = machine.store
    store.close()
    with pytest.raises(SqlError):
        list(source.scan(ScanRequest(whole("a"), ("id",))))


def test_a_scan_sees_the_moment_when_it_was_asked_for(machine: TaskMachine) -> None:
    add_tasks(machine, [NewTask("a", deliver_at_us=1), NewTask("b", deliver_at_us=1)])
    batches = TaskSource(machine.store).scan(ScanRequest(whole("a", "b"), ("deliver_at",)))
    add_tasks(machine, [NewTask("a", deliver_at_us=2), NewTask("b", deliver_at_us=2)])
    assert sum(len(batch) for batch in batches) == 2
