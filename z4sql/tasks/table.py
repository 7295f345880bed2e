"""Tasks as commands see and change them, read through what is applied but not yet written.

A changed task is put into the batch with all keys that hang on it: its places in the due and finish indexes,
its payload, the key that leads from its id to where it lies, its namespace's counters. What a batch holds
cannot be read back, so changed records also stay in memory until it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import merge
from itertools import islice

from raftcore.storage.kv import Batch, Store
from z4sql.tasks.counters import CounterTable
from z4sql.tasks.keys import (
    DUE,
    FINISH,
    MOVED,
    PAYLOAD,
    SUFFIX_BYTES,
    TASK,
    TIME_BYTES,
    index_key,
    time_bytes,
    unpack_place,
)
from z4sql.tasks.record import DUE_VALUE, NONE, PAYLOAD_INLINE_BYTES_MAX, Record, State, due_value


class TaskTable:
    """``indexed`` is off for a copy that only answers queries: it has neither due nor finish index."""

    def __init__(self, store: Store, counters: CounterTable, *, indexed: bool) -> None:
        self._store = store
        self._counters = counters
        self._indexed = indexed
        self._batch: Batch
        self._records: dict[bytes, bytes | None] = {}
        self._moved: dict[bytes, bytes | None] = {}
        self.unwritten_bytes = 0
        """About how much of changed tasks is held in memory."""

    def begin(self, batch: Batch) -> None:
        """Put changes into ``batch`` from now on; the one before is written."""
        self._batch = batch
        self._records.clear()
        self._moved.clear()
        self.unwritten_bytes = 0

    @property
    def changed(self) -> Collection[bytes]:
        """Places of all tasks whose records the batch puts or deletes, but for those put otherwise."""
        return self._records.keys()

    def know(self, places: Sequence[bytes], records: Sequence[bytes]) -> None:
        """Tasks that were put into the batch otherwise: created ones."""
        self._records.update(zip(places, records, strict=True))
        self.unwritten_bytes += sum(map(len, records))

    def find(self, place: bytes) -> bytes | None:
        """The record of the task that lies at a place."""
        if place in self._records:
            return self._records[place]
        return self._store.get(TASK + place)

    def find_many(self, places: Sequence[bytes]) -> list[bytes | None]:
        """As `find`, all as of now."""
        if not self._records:
            return self._store.get_many([TASK + place for place in places])
        records = self._records
        missing = [place for place in places if place not in records]
        stored = dict(zip(missing, self._store.get_many([TASK + place for place in missing]), strict=True))
        return [records[place] if place in records else stored[place] for place in places]

    def located(self, id_place: bytes) -> bytes:
        """Where the task of an id lies, if it is there."""
        moved = self._moved[id_place] if id_place in self._moved else self._store.get(MOVED + id_place)
        return id_place if moved is None else id_place[:-SUFFIX_BYTES] + moved + id_place[-TIME_BYTES:]

    def walk(self, lo: bytes, hi: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """The first ``count`` tasks at places ``[lo, hi)`` and their records."""
        if lo >= hi:
            return []
        records = self._records
        changed = [
            (place, record) for place, record in records.items() if record is not None and lo <= place < hi
        ]
        changed.sort()
        scan = self._store.scan(TASK + lo, TASK + hi)
        try:
            stored = ((key[1:], record) for key, record in scan if key[1:] not in records)
            return list(islice(merge(stored, changed), count))
        finally:
            scan.close()

    def put(self, place: bytes, record: Record) -> None:
        """A changed record, at the place where it was found."""
        data = record.encode()
        self._batch.put(TASK + place, data)
        self._records[place] = data
        self.unwritten_bytes += len(data)
        if record.state != record.was_state:
            self._counters.moved(place[:-SUFFIX_BYTES], record.was_state, record.state)
        if self._indexed:
            at_us = record.stands_at_us
            kind = _index_of(record.state)
            if at_us != record.was_at_us or kind != _index_of(record.was_state):
                self._batch.delete(_standing(place, record))
            self._batch.put(index_key(kind, place, at_us), due_value(data) if kind == DUE else b"")

    def put_handed(self, place: bytes, data: bytes, stood_us: int, kind: bytes, stands: bytes) -> None:
        """A task that was leased or is done, by `z4sql.tasks.handover`, as `put` would.

        It stood in the due index at ``stood_us``, and stands in the one of ``kind`` at ``stands``, as keys
        have it. It remains to be counted: `count`.
        """
        batch = self._batch
        batch.put(TASK + place, data)
        self._records[place] = data
        self.unwritten_bytes += len(data)
        if self._indexed:
            part, tail = place[:-SUFFIX_BYTES], place[-SUFFIX_BYTES:]
            batch.delete(DUE + part + time_bytes(stood_us) + tail)
            batch.put(kind + part + stands + tail, data[DUE_VALUE] if kind == DUE else b"")

    def count(self, places: Sequence[bytes], before: State, after: State) -> None:
        """The tasks at these places went from one state to another."""
        parts = [place[:-SUFFIX_BYTES] for place in places]
        if parts and parts.count(parts[0]) == len(parts):
            self._counters.moved(parts[0], before, after, len(parts))
            return
        for part in parts:
            self._counters.moved(part, before, after)

    def move(self, place: bytes, record: Record, deliver_at_us: int) -> bytes:
        """A changed record, from the place where it was found to that of another time; its new place.

        The payload stays where it is, under the place of the id.
        """
        origin = id_place_of(place, record)
        target = place[:-SUFFIX_BYTES] + time_bytes(deliver_at_us) + place[-TIME_BYTES:]
        if target == place:
            self.put(place, record)
            return place
        self._batch.delete(TASK + place)
        self._records[place] = None
        if self._indexed:
            self._batch.delete(_standing(place, record))
        if target == origin:
            record.origin_us = NONE
            self._batch.delete(MOVED + origin)
            self._moved[origin] = None
        else:
            record.origin_us = unpack_place(origin[-SUFFIX_BYTES:])[0]
            self._moved[origin] = time_bytes(deliver_at_us)
            self._batch.put(MOVED + origin, time_bytes(deliver_at_us))
        self.put(target, record)
        return target

    def put_payload(self, place: bytes, record: Record, payload: bytes) -> None:
        """Another payload, in the record or apart; `put` the record afterwards."""
        apart = len(payload) > PAYLOAD_INLINE_BYTES_MAX
        if apart:
            self._batch.put(PAYLOAD + id_place_of(place, record), payload)
        elif record.apart:
            self._batch.delete(PAYLOAD + id_place_of(place, record))
        record.apart = apart
        record.payload = b"" if apart else payload
        record.payload_length = len(payload)

    def remove(self, place: bytes, record: Record) -> None:
        """Forget a task, as it was found, and all that hangs on it."""
        delete = self._batch.delete
        delete(TASK + place)
        self._records[place] = None
        origin = id_place_of(place, record)
        if record.apart:
            delete(PAYLOAD + origin)
        if origin != place:
            delete(MOVED + origin)
            self._moved[origin] = None
        if self._indexed:
            delete(_standing(place, record))
        self._counters.forgotten(place[:-SUFFIX_BYTES], record.was_state)


def id_place_of(place: bytes, record: Record) -> bytes:
    """The place that the id of a task carries; its payload, when apart, lies there."""
    if record.origin_us == NONE:
        return place
    return place[:-SUFFIX_BYTES] + time_bytes(record.origin_us) + place[-TIME_BYTES:]


def _index_of(state: int) -> bytes:
    return DUE if state <= State.LEASED else FINISH


def _standing(place: bytes, record: Record) -> bytes:
    """The key in an index under which the task was found."""
    return index_key(_index_of(record.was_state), place, record.was_at_us)
