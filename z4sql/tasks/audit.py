"""Comparing a task store with itself: what hangs on a task is there, and nothing hangs on none."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final

from raftcore.core.errors import InvariantViolation
from raftcore.storage.kv import Store
from z4sql.tasks.counters import decoded_counts
from z4sql.tasks.events import decode_events
from z4sql.tasks.keys import (
    COUNTER,
    DUE,
    FINISH,
    MOVED,
    NAMESPACE,
    PAYLOAD,
    SUFFIX_BYTES,
    TASK,
    TIME_BYTES,
    index_key,
    split_index_key,
    unpack_place,
)
from z4sql.tasks.record import FINISHED, NONE, Record, State, due_value
from z4sql.tasks.table import id_place_of

DIFFERENCES_MAX: Final = 1_000


def audit(store: Store, *, with_due_index: bool = True) -> list[str]:
    """Every difference between records, due and finish index, payloads, moved keys and counters, in words.

    At most `DIFFERENCES_MAX`; none for a sound store. Reads all of it, in bounded memory: for stores that are
    not being written. ``with_due_index`` is that of the machine whose store it is.
    """
    return list(islice(_differences(store, with_due_index), DIFFERENCES_MAX))


def _differences(store: Store, indexed: bool) -> Iterator[str]:
    counts: Counter[tuple[bytes, int]] = Counter()
    for key, data in _all(store, TASK):
        place = key[1:]
        record = _read(data)
        if record is None:
            yield f"{_named(place)}: its record cannot be read"
            continue
        counts[place[:-SUFFIX_BYTES], record.state] += 1
        for difference in _of_task(store, place, data, record, indexed=indexed):
            yield f"{_named(place)}: {difference}"
    yield from _of_indexes(store, indexed)
    yield from _of_payloads_and_moves(store)
    yield from _of_counters(store, counts)


def _of_task(store: Store, place: bytes, data: bytes, record: Record, *, indexed: bool) -> Iterator[str]:
    yield from _of_record(data, record)
    origin = id_place_of(place, record)
    if origin != place and store.get(MOVED + origin) != place[-SUFFIX_BYTES:-TIME_BYTES]:
        yield "it was moved, and no key leads from its id to it"
    if record.apart:
        payload = store.get(PAYLOAD + origin)
        if payload is None or len(payload) != record.payload_length:
            yield f"its payload of {record.payload_length} bytes is not there"
    if not indexed:
        return
    if record.state in FINISHED:
        if store.get(index_key(FINISH, place, record.finished_at_us)) is None:
            yield "it is finished, and not in the finish index"
    else:
        value = store.get(index_key(DUE, place, record.stands_at_us))
        if value is None:
            yield "it is unfinished, and not in the due index"
        elif value != due_value(data):
            yield "the due index tells another lease or expire_at"


def _of_record(data: bytes, record: Record) -> Iterator[str]:
    if record.encode() != data:
        yield "its record is not what its parts make"
    inline = 0 if record.apart else record.payload_length
    if len(record.payload) != inline:
        yield f"its record ends with {len(record.payload)} bytes of payload, not {inline}"
    leased = record.state == State.LEASED
    tokened = record.lease_token != 0 and record.state != State.DONE
    if leased != tokened or leased != (record.lease_until_us != NONE):
        yield "its state and its lease contradict each other"
    if not leased and record.lease_owner:
        yield "it has a lease's owner and no lease"
    finished = record.state in FINISHED
    if finished != (record.finished_at_us != NONE) or finished == (record.next_attempt_at_us != NONE):
        yield "its state and its times contradict each other"


def _of_indexes(store: Store, indexed: bool) -> Iterator[str]:
    for kind, name in ((DUE, "due"), (FINISH, "finish")):
        for key, _ in _all(store, kind):
            place, time_us = split_index_key(key)
            if not indexed:
                yield f"{_named(place)}: it stands in the {name} index, which this store has not"
                continue
            data = store.get(TASK + place)
            if data is None:
                yield f"{_named(place)}: the {name} index names it, and there is no such task"
                continue
            record = _read(data)
            if record is None:
                continue
            if (record.state in FINISHED) != (kind == FINISH) or record.stands_at_us != time_us:
                yield f"{_named(place)}: it stands at a second place, {time_us}, in the {name} index"


def _of_payloads_and_moves(store: Store) -> Iterator[str]:
    for key in store.keys(PAYLOAD, _behind(PAYLOAD)):
        origin = key[1:]
        place = _moved_to(origin, store.get(MOVED + origin))
        record = _read(store.get(TASK + place))
        if record is None or not record.apart or id_place_of(place, record) != origin:
            yield f"{_named(origin)}: a payload lies here without a task"
    for key, moved in _all(store, MOVED):
        origin = key[1:]
        place = _moved_to(origin, moved)
        record = _read(store.get(TASK + place))
        if place == origin or record is None or id_place_of(place, record) != origin:
            yield f"{_named(origin)}: a moved key leads to {_named(place)}, where its task is not"


def _of_counters(store: Store, counts: Counter[tuple[bytes, int]]) -> Iterator[str]:
    names = {name for name, _ in counts} | {key[1:] for key in store.keys(COUNTER, _behind(COUNTER))}
    for name in sorted(names):
        shown = name[1:].decode(errors="replace")
        if store.get(NAMESPACE + name) is None:
            yield f"{shown}: it has tasks or counters and no settings"
        counted = decoded_counts(store.get(COUNTER + name))
        for state in State:
            there = counts[name, state]
            if counted[state] != there:
                yield f"{shown}: {there} tasks are {state.name.lower()}, counted as {counted[state]}"


def _read(data: bytes | None) -> Record | None:
    """The record, if there is one that can be read."""
    if data is None:
        return None
    try:
        record = Record(data)
        decode_events(record.events)
    except (InvariantViolation, ValueError, struct.error, IndexError):
        return None
    return record


def _moved_to(origin: bytes, moved: bytes | None) -> bytes:
    return origin if moved is None else origin[:-SUFFIX_BYTES] + moved + origin[-TIME_BYTES:]


def _named(place: bytes) -> str:
    deliver_at_us, sequence = unpack_place(place[-SUFFIX_BYTES:])
    return f"{place[1:-SUFFIX_BYTES].decode(errors='replace')} {deliver_at_us} {sequence}"


def _all(store: Store, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    return store.scan(kind, _behind(kind))


def _behind(kind: bytes) -> bytes:
    return bytes([kind[0] + 1])
