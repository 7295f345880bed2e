"""Reading the task store: single tasks, namespaces, members, and a hash of all of it."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from raftcore.core.errors import require
from raftcore.storage.kv import Store
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.counters import decoded_counts
from z4sql.tasks.encoding import decode, decode_without_payload, payload_apart, payload_within
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.ids import format_id, parse_id
from z4sql.tasks.keys import (
    COUNTER,
    DUE,
    FINISH,
    META,
    MOVED,
    NAMESPACE,
    PAYLOAD,
    SUFFIX_BYTES,
    TASK,
    namespace_part,
    place,
    time_bytes,
    unpack_place,
)
from z4sql.tasks.model import MemberAddresses, NamespaceSettings, Task, checked_namespace
from z4sql.tasks.record import Record, State
from z4sql.tasks.settings import decode_settings
from z4sql.tasks.table import id_place_of

APPLIED_KEY = META + b"applied"
FORMAT_KEY = META + b"format"
FORMAT = b"2"
"""Of the keys and values of a store; another one is another version's."""
MEMBER_PREFIX = META + b"member/"
POSITION = struct.Struct("<QQq")
"""Applied index, its term, the newest stamp."""

EXAMINED_MAX = 10_000
"""Tasks that are looked at for one page."""

_INSTANT_MAX = (1 << 63) - 1
_HASHED_IN_ONE_GO = 64


@dataclass(slots=True, frozen=True)
class Page:
    """Tasks in the order of their keys; ``after`` asks for the next page, None at the end."""

    tasks: list[Task]
    after: str | None


def task_bounds(namespace: str, from_us: int, to_us: int) -> tuple[bytes, bytes]:
    """The keys ``[lo, hi)`` of a namespace's tasks with deliver_at in ``[from_us, to_us)``."""
    prefix = TASK + namespace_part(namespace.encode())
    high = prefix + time_bytes(to_us) if to_us <= _INSTANT_MAX else prefix + b"\xff" * 9
    return prefix + time_bytes(max(from_us, -_INSTANT_MAX)), high


class TaskReader:
    """Point reads of a store; each sees what is applied at its moment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, namespace: str, task_id: str) -> Task | None:
        """The task with that id. :raises InvalidTask: when the namespace or the id cannot exist."""
        part = namespace_part(checked_namespace(namespace))
        deliver_at_us, sequence = parse_id(task_id)
        if not -(1 << 63) <= deliver_at_us <= _INSTANT_MAX:
            raise InvalidTask("task_id", "holds a time out of range")
        where = place(deliver_at_us, sequence)
        moved = self._store.get(MOVED + part + where)
        if moved is not None:
            where = moved + where[8:]
        task = self.task_at(part + where)
        # Where a task was moved to is no id.
        return task if task is not None and task.id == format_id(deliver_at_us, sequence) else None

    def task_at(self, place: bytes) -> Task | None:
        """The task that lies at a place, which is not always that of its id."""
        record = self._store.get(TASK + place)
        return None if record is None else self._decode(place, record)

    def tasks_at(self, places: Sequence[bytes]) -> list[Task | None]:
        """As `task_at` for each of them, faster."""
        records = self._store.get_many([TASK + place for place in places])
        return [
            None if record is None else self._decode(place, record)
            for place, record in zip(places, records, strict=True)
        ]

    def records_at(self, places: Sequence[bytes]) -> list[bytes | None]:
        """The records of the tasks that lie at places, as they are stored."""
        return self._store.get_many([TASK + place for place in places])

    def payload_of(self, place: bytes, record: bytes) -> bytes:
        """The payload of the task with that record."""
        if not payload_apart(record):
            return payload_within(record)
        fields = Record(record)
        payload = self._store.get(PAYLOAD + id_place_of(place, fields))
        require(
            payload is not None and len(payload) == fields.payload_length,
            "a payload has the length that was written",
        )
        assert payload is not None
        return payload

    def page(
        self,
        namespace: str,
        from_us: int,
        to_us: int,
        *,
        limit: int,
        after: str | None = None,
        states: frozenset[State] = frozenset(State),
        with_payload: bool = True,
    ) -> Page:
        """At most ``limit`` tasks of a namespace with deliver_at in ``[from_us, to_us)``, earliest first.

        ``after`` is that of the page before: a place, which stays good when the task there is gone. Only
        tasks in one of ``states``; at most `EXAMINED_MAX` are looked at for one page, so that it can hold few
        or none and yet have a next one. Payloads are left empty unless ``with_payload``.

        :raises InvalidTask: when the namespace or ``after`` cannot exist.
        """
        part = namespace_part(checked_namespace(namespace))
        lo, hi = task_bounds(namespace, from_us, to_us)
        if after is not None:
            lo = max(lo, TASK + part + place(*parse_id(after)) + b"\0")
        tasks: list[Task] = []
        last: bytes | None = None
        scan = self._store.scan(lo, hi)
        try:
            for examined, (key, record) in enumerate(scan):
                if len(tasks) >= limit or examined >= EXAMINED_MAX:
                    return Page(tasks, format_id(*unpack_place(last)) if last is not None else None)
                last = key[-SUFFIX_BYTES:]
                if record[1] in states:
                    tasks.append(self._decode(key[1:], record, with_payload=with_payload))
        finally:
            scan.close()
        return Page(tasks, None)

    def count(self, namespace: str, from_us: int = 0, to_us: int = _INSTANT_MAX) -> int:
        """How many tasks of a namespace have deliver_at in ``[from_us, to_us)``."""
        return sum(1 for _ in self._store.keys(*task_bounds(namespace, from_us, to_us)))

    def counts(self, namespace: str) -> Mapping[State, int]:
        """How many tasks of a namespace are in each state. :raises InvalidTask: when it cannot exist."""
        return decoded_counts(self._store.get(COUNTER + namespace_part(checked_namespace(namespace))))

    def counts_of_namespaces(self) -> dict[str, Mapping[State, int]]:
        """As `counts`, for every namespace that ever had a task, by name."""
        counters = self._store.scan(COUNTER, bytes([COUNTER[0] + 1]))
        return {key[2:].decode(): decoded_counts(value) for key, value in counters}

    def namespaces(self) -> dict[str, NamespaceSettings]:
        """Every namespace and its settings, by name."""
        found = {}
        for key, value in self._store.scan(NAMESPACE, bytes([NAMESPACE[0] + 1])):
            found[key[2:].decode()] = decode_settings(value)
        return found

    def member(self, name: str) -> MemberAddresses | None:
        """Where a peer's listeners are; None when it has not registered."""
        value = self._store.get(MEMBER_PREFIX + name.encode())
        return None if value is None else _member(value)

    def members(self) -> list[MemberAddresses]:
        """Every registered peer, by name."""
        end = MEMBER_PREFIX[:-1] + bytes([MEMBER_PREFIX[-1] + 1])
        return [_member(value) for _, value in self._store.scan(MEMBER_PREFIX, end)]

    def applied(self) -> tuple[int, int, int]:
        """(index, term, newest stamp) of the last entry applied."""
        position = self._store.get(APPLIED_KEY)
        return (0, 0, 0) if position is None else POSITION.unpack(position)

    def settings(self, namespace: str) -> NamespaceSettings | None:
        """A namespace's settings; None when it was never used. :raises InvalidTask: when it cannot exist."""
        value = self._store.get(NAMESPACE + namespace_part(checked_namespace(namespace)))
        return None if value is None else decode_settings(value)

    def state_hash(self, *, with_due_index: bool = True) -> str:
        """A hash of every key and value: equal on all replicas at the same applied index.

        A follower copy keeps neither due nor finish index: compare without them.
        """
        return self.hashed_state(with_due_index=with_due_index)[1]

    def hashed_state(self, *, with_due_index: bool = True) -> tuple[int, str]:
        """(applied index, `state_hash`) of one moment, whatever is applied meanwhile. Slow: use a thread."""
        applied = 0
        state = blake2b(digest_size=16)
        for number, (key, value) in enumerate(self._store.scan(b"", b"\xff")):
            if not number % _HASHED_IN_ONE_GO:
                # Lets the event loop run, which would else wait for the interpreter's switch interval.
                time.sleep(0)
            if key == APPLIED_KEY:
                applied = POSITION.unpack(value)[0]
            if not with_due_index and key.startswith((DUE, FINISH)):
                continue
            state.update(len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value)
        return applied, state.hexdigest()

    def _decode(self, place: bytes, record: bytes, *, with_payload: bool = True) -> Task:
        namespace, where = place[1:-SUFFIX_BYTES].decode(), place[-SUFFIX_BYTES:]
        if not with_payload:
            return decode_without_payload(namespace, where, record)
        payload = None
        if payload_apart(record):
            payload = self._store.get(PAYLOAD + id_place_of(place, Record(record)))
        return decode(namespace, where, record, payload)


def _member(value: bytes) -> MemberAddresses:
    fields = pb.RegisterMember.FromString(value)
    return MemberAddresses(
        name=fields.name,
        peer_address=fields.peer_address,
        service_address=fields.service_address,
        sql_address=fields.sql_address,
        metrics_address=fields.metrics_address,
    )
