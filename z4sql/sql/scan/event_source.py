"""Reads the events of tasks: each task of the ranges gives a row for every event that its record keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pyarrow as pa

from z4sql.sql.errors import Unsupported
from z4sql.sql.scan.columns import TYPES
from z4sql.sql.scan.request import ScanRequest, TableSource
from z4sql.tasks.events import EVENT_NAMES, EventKind, decode_events

_TASK_COLUMNS: Final = ("namespace", "id", "deliver_at", "created_at", "events")
_EVENT_TYPES: Final = {
    "namespace": TYPES["namespace"],
    "task_id": TYPES["id"],
    "deliver_at": TYPES["deliver_at"],
    "at": TYPES["created_at"],
    "kind": pa.string(),
    "attempt": pa.uint64(),
    "detail": pa.string(),
}


class EventSource:
    """A `TableSource` over one of tasks."""

    def __init__(self, tasks: TableSource) -> None:
        self._tasks = tasks

    def schema(self, columns: tuple[str, ...]) -> pa.Schema:
        return pa.schema([(name, _EVENT_TYPES[name]) for name in columns])

    def scan(self, request: ScanRequest) -> Iterator[pa.RecordBatch]:
        schema = self.schema(request.columns)
        for batch in self._tasks.scan(replace(request, columns=_TASK_COLUMNS)):
            tasks, at, kinds, attempts, details = _events(batch)
            taken = pa.array(tasks, pa.int64())
            arrays = {
                "namespace": batch.column("namespace").take(taken),
                "task_id": batch.column("id").take(taken),
                "deliver_at": batch.column("deliver_at").take(taken),
                "at": pa.array(at, pa.int64()).cast(_EVENT_TYPES["at"]),
                "kind": pa.array(kinds, pa.string()),
                "attempt": pa.array(attempts, pa.uint64()),
                "detail": pa.array(details, pa.string()),
            }
            yield pa.RecordBatch.from_arrays([arrays[name] for name in request.columns], schema=schema)

    def count(self, request: ScanRequest) -> int:
        raise Unsupported("events are not counted by keys")

    def first_and_last(self, request: ScanRequest) -> tuple[int, int] | None:
        raise Unsupported("events are not found by keys")


def _events(batch: pa.RecordBatch) -> tuple[list[int], list[int], list[str], list[int], list[str]]:
    """(task's row, at us, kind, attempt, detail) of every event, by task, oldest first."""
    tasks: list[int] = []
    at: list[int] = []
    kinds: list[str] = []
    attempts: list[int] = []
    details: list[str] = []
    created = batch.column("created_at").cast(pa.int64()).to_pylist()
    for row, (created_at_us, events) in enumerate(
        zip(created, batch.column("events").to_pylist(), strict=True)
    ):
        tasks.append(row)
        at.append(created_at_us)
        kinds.append(EVENT_NAMES[EventKind.CREATED])
        attempts.append(0)
        details.append("")
        for event in decode_events(events):
            tasks.append(row)
            at.append(event.at_us)
            kinds.append(EVENT_NAMES[event.kind])
            attempts.append(event.attempt)
            details.append(event.detail)
    return tasks, at, kinds, attempts, details
