"""Reading the task store: single tasks, namespaces, members, and a hash of all of it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from hashlib import blake2b

from raftcore.storage.kv import Store
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.encoding import decode, payload_apart
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.ids import parse_id
from z4sql.tasks.keys import (
    META,
    MOVED,
    NAMESPACE,
    PAYLOAD,
    TASK,
    namespace_part,
    place,
    time_bytes,
)
from z4sql.tasks.model import MemberAddresses, NamespaceSettings, Task, checked_namespace

APPLIED_KEY = META + b"applied"
MEMBER_PREFIX = META + b"member/"
POSITION = struct.Struct("<QQq")
"""Applied index, its term, the newest stamp."""

_INSTANT_MAX = (1 << 63) - 1


def namespaces_in(store: Store) -> Iterator[bytes]:
    """Every namespace, as it stands in keys."""
    for key in store.keys(NAMESPACE, bytes([NAMESPACE[0] + 1])):
        yield key[1:]


def encode_settings(settings: NamespaceSettings) -> bytes:
    return json.dumps(settings.to_fields(), separators=(",", ":")).encode()


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
        payload = self._store.get(PAYLOAD + part + where) if payload_apart(record) else None
        return decode(namespace, where, record, payload)

    def count(self, namespace: str, from_us: int = 0, to_us: int = _INSTANT_MAX) -> int:
        """How many tasks of a namespace have deliver_at in ``[from_us, to_us)``."""
        return sum(1 for _ in self._store.keys(*task_bounds(namespace, from_us, to_us)))

    def namespaces(self) -> dict[str, NamespaceSettings]:
        """Every namespace and its settings, by name."""
        found = {}
        for key, value in self._store.scan(NAMESPACE, bytes([NAMESPACE[0] + 1])):
            found[key[2:].decode()] = NamespaceSettings(**json.loads(value))
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

    def state_hash(self) -> str:
        """A hash of every key and value: equal on all replicas at the same applied index."""
        state = blake2b(digest_size=16)
        for key, value in self._store.scan(b"", b"\xff"):
            state.update(len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value)
        return state.hexdigest()


def _member(value: bytes) -> MemberAddresses:
    fields = pb.RegisterMember.FromString(value)
    return MemberAddresses(
        name=fields.name,
        peer_address=fields.peer_address,
        service_address=fields.service_address,
        sql_address=fields.sql_address,
        metrics_address=fields.metrics_address,
    )
