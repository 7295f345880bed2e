"""Segments that are read ahead: what is read, when, within which memory; and that it gives way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sql_service import DirectCopy, DirectView, service_over
from tests.task_stores import add_tasks
from z4sql.sql.engine.engine import Engine
from z4sql.sql.scan.builder import BuilderSettings, SegmentBuilder
from z4sql.sql.scan.cached_source import CachedSource
from z4sql.sql.scan.members import member_column
from z4sql.sql.scan.pieces import rows_with
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, ScanRequest, TimeRange
from z4sql.sql.scan.segments import SegmentCache, SegmentSettings
from z4sql.tasks.keys import time_bytes
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

ROWS = 3_000
HOUR_US = 3_600 * 10**6
WAIT_S = 20.0
SETTLED = BuilderSettings(settled_s=0)
EVERYTHING = (TimeRange("shop", INSTANT_MIN, INSTANT_MAX),)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


def filled(directory: Path, cache: SegmentCache, rows: int = ROWS, namespace: str = "shop") -> TaskMachine:
    """A store with tasks one minute apart."""
    made = TaskMachine(directory, with_due_index=False, observer=cache)
    made.open()
    add(made, range(rows), namespace)
    return made


def add(machine: TaskMachine, numbers: range, namespace: str = "shop") -> None:
    tasks = [
        NewTask(namespace, {"region": f"r{n % 3}", "order": f"{n:08d}"}, b"p", 10**15 + n * HOUR_US // 60)
        for n in numbers
    ]
    add_tasks(machine, tasks)


def filled_from(number: int) -> bytes:
    """Where the place of a task begins."""
    return time_bytes(10**15 + number * HOUR_US // 60)


def builder_over(machine: TaskMachine, engine: Engine, settings: BuilderSettings = SETTLED) -> SegmentBuilder:
    return SegmentBuilder(DirectCopy(machine).acquire, engine.members, settings)


def built(builder: SegmentBuilder) -> int:
    """Visits until nothing is left to be read."""
    for visits in range(1_000):
        if not builder.visit():
            return visits
    raise AssertionError("it does not end")


def read(machine: TaskMachine, engine: Engine, *columns: str) -> tuple[pa.Table, int]:
    """The rows, and how many of them came from memory."""
    cache, extractor = machine.observer, engine.members()
    assert isinstance(cache, SegmentCache)
    before = cache.rows_found
    source = CachedSource(machine.store, None, cache, extractor)
    table = pa.Table.from_batches(source.scan(ScanRequest(EVERYTHING, columns)))
    extractor.close()
    return table, cache.rows_found - before


def test_a_first_query_reads_nothing(tmp_path: Path, engine: Engine) -> None:
    machine = filled(tmp_path, SegmentCache())
    assert built(builder_over(machine, engine)) > 0
    table, from_memory = read(machine, engine, member_column("region"), "state", "deliver_at")
    assert from_memory == ROWS
    assert table.column(0).to_pylist() == [f"r{n % 3}" for n in range(ROWS)]
    machine.close()


def test_what_was_asked_for_is_read_ahead_when_tasks_were_added(tmp_path: Path, engine: Engine) -> None:
    machine = filled(tmp_path, SegmentCache())
    builder = builder_over(machine, engine)
    read(machine, engine, "attempts", member_column("order"))
    built(builder)
    add(machine, range(ROWS, ROWS + 1_500))
    built(builder)
    _, from_memory = read(machine, engine, "attempts", member_column("order"))
    assert from_memory == ROWS + 1_500
    machine.close()


def test_what_is_being_written_is_left_alone(tmp_path: Path, engine: Engine) -> None:
    machine = filled(tmp_path, SegmentCache())
    builder = builder_over(machine, engine, BuilderSettings(settled_s=1_000))
    built(builder)
    _, from_memory = read(machine, engine, "state")
    assert from_memory == 0
    machine.close()


def test_only_buckets_that_change_are_left_out(tmp_path: Path, engine: Engine) -> None:
    cache = SegmentCache(SegmentSettings(rows_max=256, small_rows=16, kept_rows_min=16))
    filled(tmp_path, SegmentCache()).close()
    machine = TaskMachine(tmp_path, with_due_index=False, observer=cache)
    machine.open()
    add(machine, range(1_500, 1_501))
    built(builder_over(machine, engine, BuilderSettings(settled_s=1_000)))
    _, from_memory = read(machine, engine, "state")
    # A bucket has 2**32 us, and its neighbours are read.
    assert ROWS - 80 < from_memory < ROWS
    machine.close()


@pytest.mark.parametrize("bytes_max", [0, 20_000, 60_000])
def test_memory_is_bounded_and_nothing_is_dropped_for_it(
    tmp_path: Path, engine: Engine, bytes_max: int
) -> None:
    cache = SegmentCache(SegmentSettings(bytes_max=bytes_max, rows_max=64, small_rows=8, kept_rows_min=16))
    machine = filled(tmp_path, cache)
    extractor = engine.members()
    source = CachedSource(machine.store, None, cache, extractor)
    asked = TimeRange("shop", 10**15, 10**15 + 2 * HOUR_US)
    list(source.scan(ScanRequest((asked,), ("attempts",))))
    left = cache.segments
    built(builder_over(machine, engine))
    most_of_a_segment = 64 * 100 + 1_000
    assert cache.held_bytes <= bytes_max // 2 + most_of_a_segment
    assert not bytes_max or cache.held_bytes >= bytes_max // 2
    assert all(segment in cache.segments for segment in left if bytes_max)
    extractor.close()
    machine.close()


def test_one_visit_is_short_however_much_there_is(tmp_path: Path, engine: Engine) -> None:
    cache = SegmentCache(SegmentSettings(rows_max=128, small_rows=8, kept_rows_min=16))
    machine = filled(tmp_path, cache)
    builder = builder_over(machine, engine, BuilderSettings(settled_s=0, rows_max=256))
    assert builder.visit()
    assert 256 <= sum(segment.rows for segment in cache.segments) < 512
    read_first = min(segment.lo for segment in cache.segments)
    assert read_first > filled_from(ROWS - 512), "the latest tasks come first"
    assert built(builder) >= (ROWS - 512) // 256
    machine.close()


def test_it_waits_while_a_query_runs_and_ends_when_it_is_stopped(tmp_path: Path, engine: Engine) -> None:
    machine = filled(tmp_path, SegmentCache())
    builder = builder_over(machine, engine, BuilderSettings(settled_s=0, quiet_s=0.01, patience_s=WAIT_S))
    cache = machine.observer
    assert isinstance(cache, SegmentCache)
    with builder.turn.query():
        builder.start()
        time.sleep(0.2)
        assert len(cache) == 0
    await_segments(cache)
    builder.stop()
    machine.close()


def test_queries_that_never_end_do_not_stop_it_for_good(tmp_path: Path, engine: Engine) -> None:
    machine = filled(tmp_path, SegmentCache())
    builder = builder_over(machine, engine, BuilderSettings(settled_s=0, patience_s=0.01))
    cache = machine.observer
    assert isinstance(cache, SegmentCache)
    with builder.turn.query():
        builder.start()
        await_segments(cache)
    builder.stop()
    machine.close()


def await_segments(cache: SegmentCache) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while sum(segment.rows for segment in cache.segments) < ROWS:
        assert time.monotonic() < deadline_s, "nothing is read ahead"
        time.sleep(0.01)


def test_a_failure_does_not_end_it(engine: Engine) -> None:
    failed = threading.Event()

    def broken() -> AbstractContextManager[DirectView]:
        failed.set()
        raise ValueError("nothing to be read")

    builder = SegmentBuilder(broken, engine.members)
    builder.start()
    assert failed.wait(WAIT_S)
    assert [thread for thread in threading.enumerate() if thread.name == "segments"]
    builder.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "segments"]


def test_nothing_is_kept_of_a_store_that_was_replaced(tmp_path: Path, engine: Engine) -> None:
    cache = SegmentCache()
    machine = filled(tmp_path, cache)
    builder = builder_over(machine, engine)
    cache.retire()
    assert not builder.visit()
    assert len(cache) == 0
    assert cache.held_bytes == 0
    machine.close()


def test_rows_that_a_query_sifts_are_kept_when_it_asks_again(tmp_path: Path, engine: Engine) -> None:
    cache = SegmentCache()
    machine = filled(tmp_path, cache)
    extractor = engine.members()
    source = CachedSource(machine.store, None, cache, extractor)
    request = ScanRequest(EVERYTHING, ("deliver_at", member_column("region")), (b'"region": "r1"',))

    def regions() -> list[object]:
        found = pa.Table.from_batches(source.scan(request), source.schema(request.columns))
        return [value for value in found.column(1).to_pylist() if value == "r1"]

    assert len(regions()) == ROWS // 3
    assert len(cache) == 0
    assert len(regions()) == ROWS // 3
    before = cache.rows_found
    assert len(regions()) == ROWS // 3
    assert cache.rows_found == before + ROWS
    extractor.close()
    machine.close()


@given(
    st.lists(st.text("ab", max_size=6).map(str.encode), max_size=30),
    st.text("ab", min_size=1, max_size=4).map(str.encode),
)
def test_a_needle_is_found_in_whole_records_only(records: list[bytes], needle: bytes) -> None:
    expected = [row for row, record in enumerate(records) if needle in record]
    assert list(rows_with(needle, b"".join(records), records)) == expected


def test_segments_read_by_many_threads_at_once_are_whole(tmp_path: Path, engine: Engine) -> None:
    """Queries, changes and reading ahead at the same time: each answer has every task once."""
    cache = SegmentCache(SegmentSettings(rows_max=256, small_rows=16, kept_rows_min=16))
    machine = filled(tmp_path, cache)
    builder = builder_over(machine, engine, BuilderSettings(settled_s=0, quiet_s=0, patience_s=0.01))
    failures: list[BaseException] = []
    stopped = threading.Event()

    def query() -> None:
        try:
            while not stopped.is_set():
                with builder.turn.query():
                    table, _ = read(machine, engine, member_column("order"), "state")
                found = table.column(0).to_pylist()
                assert found == [f"{n:08d}" for n in range(len(found))]
                assert len(found) >= ROWS
        except BaseException as error:
            failures.append(error)

    builder.start()
    threads = [threading.Thread(target=query) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for n in range(20):
            add(machine, range(ROWS + n * 10, ROWS + n * 10 + 10))
            time.sleep(0.01)
    finally:
        stopped.set()
        for thread in threads:
            thread.join(WAIT_S)
        builder.stop()
    assert not failures, failures
    machine.close()


@pytest.mark.parametrize("bounds", [(0, ROWS), (10, ROWS - 10), (500, 1_500), (0, 1), (ROWS, ROWS + 1)])
def test_counts_of_nearly_all_and_of_a_part_are_exact(
    tmp_path: Path, engine: Engine, bounds: tuple[int, int]
) -> None:
    machine = filled(tmp_path, SegmentCache())
    add(machine, range(7), "other")
    from_us, to_us = (10**15 + number * HOUR_US // 60 for number in bounds)
    ranges = (TimeRange("nobody", INSTANT_MIN, INSTANT_MAX), TimeRange("other", from_us, to_us))
    request = ScanRequest((*ranges, TimeRange("shop", from_us, to_us)), ())
    extractor = engine.members()
    assert isinstance(machine.observer, SegmentCache)
    source = CachedSource(machine.store, None, machine.observer, extractor)
    expected = sum(max(0, min(bounds[1], rows) - min(bounds[0], rows)) for rows in (7, ROWS))
    assert [source.count(request) for _ in range(2)] == [expected] * 2
    extractor.close()
    machine.close()


def test_what_was_being_written_is_read_when_it_is_settled(tmp_path: Path, engine: Engine) -> None:
    machine = filled(tmp_path, SegmentCache())
    builder = builder_over(machine, engine, BuilderSettings(settled_s=0.2))
    built(builder)
    deadline_s = time.monotonic() + WAIT_S
    while not builder.visit():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    built(builder)
    _, from_memory = read(machine, engine, "state")
    assert from_memory == ROWS
    machine.close()


async def test_a_service_reads_ahead_from_its_start_to_its_end(tmp_path: Path) -> None:
    cache = SegmentCache()
    machine = filled(tmp_path, cache)
    service, _ = service_over(machine)
    service.start_building()
    await asyncio.to_thread(await_segments, cache)
    service.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "segments"]
    machine.close()
