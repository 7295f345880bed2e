"""A query service over a store in this process: no copy, no wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import sqlglot
from sqlglot import exp

from raftcore.storage.kv import Store
from tests.planner_tables import NOW_US
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.context import StatementContext
from z4sql.sql.engine.engine import Engine
from z4sql.sql.query import QueryService, QuerySettings
from z4sql.sql.scan.segments import SegmentCache
from z4sql.tasks.machine import TaskMachine


@dataclass
class DirectView:
    store: Store
    applied_index: int
    segments: SegmentCache | None


@dataclass
class DirectCopy:
    """Reads the machine's own store; counts who holds it."""

    machine: TaskMachine
    readers: int = 0
    read_indexes: int = 0
    waited_for: int = 0
    told: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    @contextmanager
    def acquire(self) -> Iterator[DirectView]:
        self.readers += 1
        try:
            observer = self.machine.observer
            segments = observer if isinstance(observer, SegmentCache) else None
            yield DirectView(self.machine.store, self.machine.applied_index, segments)
        finally:
            self.readers -= 1

    async def read_index(self, timeout_s: float) -> int:
        self.read_indexes += 1
        return self.machine.applied_index

    async def wait_for(self, index: int, timeout_s: float) -> None:
        self.waited_for = index

    async def ask(self, table: str, timeout_s: float) -> list[dict[str, object]]:
        return self.told.get(table, [])


def service_over(
    machine: TaskMachine, settings: QuerySettings | None = None
) -> tuple[QueryService, DirectCopy]:
    copy = DirectCopy(machine)
    return QueryService(copy, Engine(), Z4Catalog(), settings), copy


async def answer(
    service: QueryService, sql: str, context: StatementContext | None = None
) -> list[tuple[object, ...]]:
    """All rows of a query."""
    query = sqlglot.parse_one(sql, read="mysql")
    assert isinstance(query, exp.Expression)
    result = await service.run(query, sql, context or StatementContext(NOW_US))
    batches: list[pa.RecordBatch] = [batch async for batch in result.batches]
    return [
        row
        for batch in batches
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]
