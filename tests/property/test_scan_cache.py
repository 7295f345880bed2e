"""Scans through segments give what scans of the store give, whatever changes between and during them.

Some segments are read ahead, with changes and queries between its slices.

A seed is a history. One that fails: ``pytest "tests/property/test_scan_cache.py::NAME[SEED]"``.
"""

from __future__ import annotations

import json
import math
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.sql_service import DirectCopy, answer, service_over
from tests.task_life_history import NAMESPACES, SECOND_US, History
from tests.task_log import START_US, opened
from tests.task_stores import add_tasks
from z4sql.sql.context import Limits
from z4sql.sql.engine.engine import Engine
from z4sql.sql.scan.builder import BuilderSettings, SegmentBuilder
from z4sql.sql.scan.cached_source import CachedSource
from z4sql.sql.scan.columns import KEY_COLUMNS
from z4sql.sql.scan.limits import QueryLimits
from z4sql.sql.scan.members import is_member, leg_of, member_column
from z4sql.sql.scan.pieces import is_narrow
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, ScanRequest, TimeRange
from z4sql.sql.scan.segments import SegmentCache, SegmentSettings
from z4sql.sql.scan.task_source import TaskSource
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

KEYS = ("k", "x", "é", "none")
VALUES = ("", "v", "vv", "1", "2")
COLUMNS = (
    *("namespace", "id", "deliver_at", "created_at", "metadata", "state", "attempts", "next_attempt_at"),
    *("lease_owner", "lease_until", "last_error", "last_attempt_at", "finished_at", "request_id"),
    *("expire_at", "lease_token", "lateness_ms"),
)
Row = dict[str, object]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


@dataclass
class Pending:
    """A scan under way, and the rows of the store when it was opened."""

    request: ScanRequest
    needles: list[tuple[str, str]]
    batches: Iterator[pa.RecordBatch]
    expected: list[Row]
    rows: list[Row]


def observed(directory: Path, cache: SegmentCache) -> TaskMachine:
    machine = TaskMachine(directory, with_due_index=False, observer=cache)
    machine.open()
    return machine


def random_request(choose: random.Random, now_us: int) -> tuple[ScanRequest, list[tuple[str, str]]]:
    """A request, and the members that its needles ask for."""
    bounds = (INSTANT_MIN, START_US, now_us - 3 * SECOND_US, now_us, now_us + 3 * SECOND_US, INSTANT_MAX)
    ranges = []
    for namespace in sorted(choose.sample(NAMESPACES, choose.choice((1, 1, 2)))):
        lo, hi = sorted(choose.sample(bounds, 2))
        ranges.append(TimeRange(namespace, lo, hi))
    columns = tuple(choose.sample(COLUMNS, choose.randint(1, 4)))
    needles = [(choose.choice(KEYS), choose.choice(VALUES))] if choose.random() < 0.4 else []
    request = ScanRequest(
        tuple(ranges),
        columns,
        tuple(f'"{key}": "{value}"'.encode() for key, value in needles),
        descending=choose.random() < 0.3,
        batch_rows=choose.choice((1, 5, 16_384, 16_384)),
    )
    if CachedSource.picks(request):
        columns = (*columns, "metadata")
    else:
        members = {key for key, _ in needles} | set(choose.sample(KEYS, choose.choice((0, 1, 2))))
        columns = (*columns, *map(member_column, sorted(members)))
    return replace(request, columns=tuple(dict.fromkeys(columns))), needles


def rows_of(batches: Iterator[pa.RecordBatch]) -> Iterator[list[Row]]:
    for batch in batches:
        batch.validate(full=True)
        yield batch.to_pylist()


def wanted(rows: list[Row], needles: list[tuple[str, str]]) -> list[Row]:
    """The rows of which the needles' conditions are true."""

    def holds(row: Row) -> bool:
        document = json.loads(str(row["metadata"])) if "metadata" in row else None
        return all(
            (row[member_column(key)] if document is None else document.get(key)) == value
            for key, value in needles
        )

    return [row for row in rows if holds(row)]


def begin(
    plain: TaskSource, cached: CachedSource, request: ScanRequest, needles: list[tuple[str, str]]
) -> Pending:
    """Both scans as of one moment."""
    named = [name for name in request.columns if not is_member(name)]
    columns = tuple(dict.fromkeys((*named, "metadata")))
    batches = cached.scan(request)
    expected: list[Row] = []
    for found in rows_of(plain.scan(ScanRequest(request.ranges, columns, (), None, request.descending))):
        for row in found:
            document = json.loads(str(row["metadata"]))
            expected.append(
                {
                    name: document.get(leg_of(name)) if is_member(name) else row[name]
                    for name in request.columns
                }
            )
    return Pending(request, needles, batches, expected, [])


def finish(pending: Pending) -> None:
    for rows in rows_of(pending.batches):
        pending.rows += rows
    found, expected = pending.rows, pending.expected
    if pending.needles:
        found, expected = wanted(found, pending.needles), wanted(expected, pending.needles)
    assert found == expected, f"{pending.request}"


def held_bytes(cache: SegmentCache) -> int:
    return sum(segment.held_bytes for segment in cache.segments)


@pytest.mark.parametrize("seed", range(12))
def test_scans_see_the_store_as_it_was_when_they_began(tmp_path: Path, engine: Engine, seed: int) -> None:
    check_history(tmp_path, engine, seed, steps=60)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_150))
def test_many_more_scans_see_the_store_as_it_was(tmp_path: Path, engine: Engine, seed: int) -> None:
    check_history(tmp_path, engine, seed, steps=300)


def check_history(directory: Path, engine: Engine, seed: int, steps: int) -> None:
    choose = random.Random(seed)
    bytes_max = choose.choice((5_000, 40_000, 1 << 20))
    cache = SegmentCache(
        SegmentSettings(bytes_max, choose.choice((4, 16)), choose.choice((1, 3)), 1, choose.choice((1, 8)))
    )
    witness, machine = opened(directory / "witness"), observed(directory / "copy", cache)
    history = History(seed, witness)
    extractor = engine.members()
    unhurried = QueryLimits(Limits(execution_time_ms=0))
    plain, cached = (
        TaskSource(machine.store, unhurried),
        CachedSource(machine.store, unhurried, cache, extractor),
    )
    under_way: list[Pending] = []
    builder = SegmentBuilder(
        DirectCopy(machine).acquire,
        engine.members,
        BuilderSettings(settled_s=0, rows_max=choose.choice((1, 20, 1_000)), busy_changes_s=math.inf),
    )
    ahead: list[Iterator[int]] = []
    for _ in range(steps):
        if choose.random() < 0.5:
            history.grow(choose.choice((1, 1, 4)))
            machine.apply(history.log.entries[machine.applied_index :])
        for _ in range(choose.choice((1, 1, 3))):
            request, needles = random_request(choose, history.log.now_us)
            pending = begin(plain, cached, request, needles)
            under_way.append(pending)
        for pending in choose.sample(under_way, min(len(under_way), 2)):
            pending.rows += next(rows_of(pending.batches), [])
        if choose.random() < 0.3:
            builder.visit()
        if choose.random() < 0.2:
            request, _ = random_request(choose, history.log.now_us)
            narrow = [name for name in request.columns if is_narrow(name) and name not in KEY_COLUMNS]
            ahead.append(cached.read_ahead(request.ranges, ("state", *narrow)))
        ahead = [slices for slices in ahead if choose.random() < 0.5 or next(slices, None) is not None]
        while under_way and (len(under_way) > 4 or choose.random() < 0.5):
            finish(under_way.pop(choose.randrange(len(under_way))))
        assert cache.held_bytes == held_bytes(cache) <= bytes_max
        assert_counts(choose, plain, cached, history.log.now_us)
    for pending in under_way:
        finish(pending)
    assert cache.rows_found > 0, "segments were of use"
    extractor.close()
    machine.close()
    witness.close()


def assert_counts(choose: random.Random, plain: TaskSource, cached: CachedSource, now_us: int) -> None:
    request, _ = random_request(choose, now_us)
    request = ScanRequest(request.ranges, ())
    assert cached.count(request) == plain.count(request)
    request = ScanRequest(request.ranges, ("namespace", "state"))
    found, expected = (
        Counter(
            tuple(row.values())
            for rows in rows_of(source.scan(replace(request, tallied=tallied)))
            for row in rows
        )
        for source, tallied in ((cached, True), (plain, False))
    )
    assert found == expected


def test_scans_of_threads_see_one_moment_each_while_tasks_change(tmp_path: Path, engine: Engine) -> None:
    cache = SegmentCache(SegmentSettings(1 << 20, 64, 8, 1, 8))
    witness, machine = opened(tmp_path / "witness"), observed(tmp_path / "copy", cache)
    history = History(7, witness)
    failures: list[BaseException] = []
    ended = threading.Event()

    def read(seed: int) -> None:
        choose, extractor = random.Random(seed), engine.members()
        plain, cached = TaskSource(machine.store), CachedSource(machine.store, None, cache, extractor)
        try:
            while not ended.is_set():
                request, needles = random_request(choose, history.log.now_us)
                with cache.reading():
                    pending = begin(plain, cached, request, needles)
                finish(pending)
        except BaseException as error:
            failures.append(error)
        finally:
            extractor.close()

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(150):
            history.grow(1)
            machine.apply(history.log.entries[machine.applied_index :])
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
    assert not failures, failures
    machine.close()
    witness.close()


RANGE = "namespace = 'a' AND deliver_at >= '2022-04-15' AND deliver_at < '2022-04-16'"
QUERIES = (
    f"SELECT COUNT(*) FROM tasks WHERE {RANGE}",
    f"SELECT COUNT(*) FROM tasks WHERE {RANGE} AND JSON_EXTRACT(metadata, '$.user') = 'u3'",
    f"SELECT COUNT(*) FROM tasks t WHERE {RANGE} AND t.metadata->>'$.user' = 'u3 '",
    f"SELECT * FROM tasks WHERE {RANGE} AND JSON_EXTRACT(metadata, '$.user') = 'u3' ORDER BY id",
    f"SELECT id FROM tasks WHERE {RANGE} AND JSON_EXTRACT(metadata, '$.user') = 'u3'"
    " ORDER BY deliver_at DESC, id DESC LIMIT 7",
    f"SELECT JSON_UNQUOTE(JSON_EXTRACT(metadata, '$.region')) AS r, COUNT(*) FROM tasks WHERE {RANGE}"
    " GROUP BY r ORDER BY r",
    f"SELECT JSON_EXTRACT(metadata, '$.odd') AS r, COUNT(*) FROM tasks WHERE {RANGE} GROUP BY r ORDER BY r",
    f"SELECT metadata->>'$.odd' AS \"json_extract(x.metadata,'/odd')\" FROM tasks x WHERE {RANGE}"
    " ORDER BY id",
    f"SELECT metadata->>'$.missing', MAX(metadata->>'$.user') FROM tasks WHERE {RANGE} GROUP BY 1",
    f"SELECT state, COUNT(*), MIN(deliver_at) FROM tasks WHERE {RANGE} GROUP BY state",
    f"SELECT state, namespace, id FROM tasks WHERE {RANGE} AND state LIKE 's%' ORDER BY id LIMIT 5",
    f"SELECT DATE_FORMAT(deliver_at, '%H:%i') AS h, COUNT(*) FROM tasks WHERE {RANGE} GROUP BY h ORDER BY h",
    f"SELECT COUNT(*) FROM tasks WHERE {RANGE} AND metadata LIKE '%u1%'",
    f"SELECT DATE_FORMAT(deliver_at, '%Y-%m-%d %H:00:00') h, state, COUNT(*) FROM tasks WHERE {RANGE}"
    " GROUP BY h, state ORDER BY h",
    f"SELECT DATE_FORMAT(deliver_at, '%Y-%m-%d %H:%i:00') h, MAX(id) FROM tasks WHERE {RANGE}"
    " GROUP BY h ORDER BY h DESC LIMIT 3",
    f"SELECT DATE_FORMAT(deliver_at, '%Y-%m-%d') h, COUNT(*) FROM tasks WHERE {RANGE} AND state = 'SCHEDULED'"
    " GROUP BY h",
    f'SELECT COUNT(*) FROM tasks WHERE {RANGE} AND state = \'my_ci("tasks"."state")\'',
    f"SELECT id FROM tasks WHERE {RANGE} AND JSON_EXTRACT(metadata, '$.user') = 'u3'"
    " AND JSON_EXTRACT(metadata, '$.region') = 'x' LIMIT 3 OFFSET 2",
    f"SELECT id FROM tasks WHERE {RANGE} AND id IN (SELECT id FROM tasks WHERE {RANGE}"
    " AND metadata->>'$.region' = 'x') ORDER BY id",
)


@pytest.mark.parametrize("seed", range(2))
async def test_queries_answer_the_same_with_segments(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    cache = SegmentCache(SegmentSettings(rows_max=64, small_rows=8, kept_rows_min=1, picked_rows_max=4))
    machine = observed(tmp_path / "state", cache)
    odd = ("x ", "x", '"', "\\", "\n", "é", "😀", "</x>", "a/b", "\x01", "", " ", "null", "1", "ß")

    def made() -> NewTask:
        metadata = {"user": f"u{choose.randrange(9)}", "region": choose.choice("xyz")}
        if choose.random() < 0.7:
            metadata["odd"] = choose.choice(odd)
        return NewTask(
            "a", metadata, b"p" * choose.choice((3, 5000)), START_US + choose.randrange(3_600) * SECOND_US
        )

    add_tasks(machine, [made() for _ in range(400)])
    cached, _ = service_over(machine)
    for _ in range(3):
        for sql in choose.sample(QUERIES, len(QUERIES)):
            found = [await answer(cached, sql), await answer(cached, sql)]
            machine.observer = None
            expected = await answer(cached, sql)
            machine.observer = cache
            if "ORDER BY" not in sql:
                found, expected = [sorted(rows, key=repr) for rows in found], sorted(expected, key=repr)
            assert found == [expected, expected], f"seed {seed}: {sql}"
        add_tasks(machine, [made() for _ in range(5)])
    assert cache.rows_found > 0
    cached.close()
    machine.close()
