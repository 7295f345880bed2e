"""Whoever reads one member of the metadata leaves the others too, where their values repeat themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.task_stores import add_tasks
from z4sql.sql.engine.engine import Engine
from z4sql.sql.scan.cached_source import CachedSource
from z4sql.sql.scan.members import member_column
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, ScanRequest, TimeRange
from z4sql.sql.scan.segments import SegmentCache, SegmentSettings
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

ROWS = 2_000
EVERYTHING = (TimeRange("shop", INSTANT_MIN, INSTANT_MAX),)


@pytest.fixture
def cache() -> SegmentCache:
    return SegmentCache()


@pytest.fixture
def machine(tmp_path: Path, cache: SegmentCache) -> Iterator[TaskMachine]:
    made = TaskMachine(tmp_path, with_due_index=False, observer=cache)
    made.open()
    tasks = [
        NewTask("shop", {"region": f"r{n % 3}", "tenant": f"t{n % 50}", "order": f"{n:08d}"}, b"", 10**15 + n)
        for n in range(ROWS)
    ]
    add_tasks(made, tasks)
    yield made
    made.close()


def read(machine: TaskMachine, cache: SegmentCache, *columns: str) -> tuple[pa.Table, int]:
    """The rows, and how many of them came from memory."""
    engine = Engine()
    extractor = engine.members()
    before = cache.rows_found
    try:
        source = CachedSource(machine.store, None, cache, extractor)
        table = pa.Table.from_batches(source.scan(ScanRequest(EVERYTHING, columns)))
    finally:
        extractor.close()
        engine.close()
    return table, cache.rows_found - before


def test_other_members_and_the_state_are_there_without_reading(
    machine: TaskMachine, cache: SegmentCache
) -> None:
    _, from_memory = read(machine, cache, member_column("region"))
    assert from_memory == 0
    table, from_memory = read(machine, cache, member_column("tenant"), "state", "deliver_at")
    assert from_memory == ROWS
    assert table.column(0).to_pylist() == [f"t{n % 50}" for n in range(ROWS)]
    assert set(table.column(1).to_pylist()) == {"scheduled"}


def test_a_member_whose_values_do_not_repeat_is_kept_only_when_asked_for(
    machine: TaskMachine, cache: SegmentCache
) -> None:
    read(machine, cache, member_column("region"))
    assert all(member_column("order") not in segment.columns for segment in cache.segments)
    read(machine, cache, member_column("order"))
    assert any(member_column("order") in segment.columns for segment in cache.segments)


def test_nothing_is_guessed_when_memory_is_scarce(machine: TaskMachine) -> None:
    scarce = SegmentCache(SegmentSettings(bytes_max=0))
    read(machine, scarce, member_column("region"))
    assert not scarce.has_room
