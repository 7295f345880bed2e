"""Reading the task store: single tasks, namespaces, members, and a hash of all of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

from raftcore.storage.kv import Store
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.encoding import decode, payload_apart
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.ids import format_id, parse_id
from z4sql.tasks.keys import (
    DUE,
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
from z4sql.tasks.settings import decode_settings

APPLIED_KEY = META + b"applied"
MEMBER_PREFIX = META + b"member/"
POSITION = struct.Struct("<QQq")
"""Applied index, its term, the newest stamp."""

_INSTANT_MAX = (1 << 63) - 1


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
        record = self._store.get(TASK + part + where)
        if record is None:
            return None
        task = self._decode(namespace, part, where, record)
        # Where a task was moved to is no id.
        return task if task.id == format_id(deliver_at_us, sequence) else None

    def page(self, namespace: str, from_us: int, to_us: int, *, limit: int, after: str | None = None) -> Page:
        """At most ``limit`` tasks of a namespace with deliver_at in ``[from_us, to_us)``, earliest first.

        ``after`` is that of the page before: a place, which stays good when the task there is gone.

        :raises InvalidTask: when the namespace or ``after`` cannot exist.
        """
        part = namespace_part(checked_namespace(namespace))
        lo, hi = task_bounds(namespace, from_us, to_us)
        if after is not None:
            lo = max(lo, TASK + part + place(*parse_id(after)) + b"\0")
        scan = self._store.scan(lo, hi)
        try:
            items = list(islice(scan, limit + 1))
        finally:
            scan.close()
        tasks = [self._decode(namespace, part, key[-SUFFIX_BYTES:], record) for key, record in items[:limit]]
        more = len(items) > limit > 0
        return Page(tasks, format_id(*unpack_place(items[limit - 1][0][-SUFFIX_BYTES:])) if more else None)

    def count(self, namespace: str, from_us: int = 0, to_us: int = _INSTANT_MAX) -> int:
        """How many tasks of a namespace have deliver_at in ``[from_us, to_us)``."""
        return sum(1 for _ in self._store.keys(*task_bounds(namespace, from_us, to_us)))

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

        A follower copy keeps no due index: compare with one without it.
        """
        state = blake2b(digest_size=16)
        for key, value in self._store.scan(b"", b"\xff"):
            if not with_due_index and key.startswith(DUE):
                continue
            state.update(len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value)
        return state.hexdigest()

    def _decode(self, namespace: str, part: bytes, where: bytes, record: bytes) -> Task:
        payload = self._store.get(PAYLOAD + part + where) if payload_apart(record) else None
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
