"""The replicated task machine: entries in, keys and records out, the same on every replica.

One RocksDB batch per entry, which also stores the applied index: after any crash the state is exactly a
prefix of the log.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from raftcore.core.errors import require
from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from raftcore.storage.kv import Batch, Store
from z4sql.tasks import requests
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.commands import COMMAND_VERSION, CREATED, ItemOutcome, Outcome
from z4sql.tasks.errors import UnknownCommand
from z4sql.tasks.keys import DUE, NAMESPACE, PAYLOAD, SEQUENCE_BITS, TASK, sequence_of
from z4sql.tasks.model import NamespaceSettings
from z4sql.tasks.reader import (
    APPLIED_KEY,
    MEMBER_PREFIX,
    POSITION,
    encode_settings,
    namespaces_in,
)
from z4sql.tasks.requests import RequestTable

_SEQUENCE = struct.Struct(">Q")
_TASKS_MAX = 1 << SEQUENCE_BITS
_COMMANDS = int(EntryKind.COMMANDS)


class TaskMachine:
    """A `raftcore.host.machine.StateMachine` in the directory ``path``.

    ``with_due_index`` is off for a copy that only answers queries: it never delivers.
    """

    def __init__(self, path: Path, *, with_due_index: bool = True) -> None:
        self._path = path
        self._with_due_index = with_due_index
        self._store: Store | None = None
        self._namespaces: set[bytes] = set()
        self._requests = RequestTable()
        self.applied_index = Index(0)
        self.applied_term = 0
        self.clock_us = 0
        """The newest stamp applied."""

    @property
    def store(self) -> Store:
        require(self._store is not None, "the machine is open")
        assert self._store is not None
        return self._store

    def open(self) -> Index:
        """Open the state; its applied index. :raises StorageError:"""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        store = self._store = Store.open(self._path, wal=False)
        position = store.get(APPLIED_KEY)
        if position is not None:
            index, self.applied_term, self.clock_us = POSITION.unpack(position)
            self.applied_index = Index(index)
        self._namespaces = set(namespaces_in(store))
        self._requests.open(store)
        return self.applied_index

    def apply(self, entries: Sequence[Entry]) -> list[list[bytes]]:
        """Apply entries in order; for each, one result per command.

        :raises UnknownCommand: the log is of a newer version: halt.
        """
        return [self._apply_entry(entry) for entry in entries]

    def sync(self) -> Index:
        """Make the state durable; the applied index that is. May be called from another thread."""
        index = self.applied_index
        self.store.flush()
        return index

    def checkpoint(self, path: Path) -> Index:
        """Copy the state by hard links into the new directory ``path``; its applied index."""
        index = self.applied_index
        self.store.checkpoint(path)
        return index

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _apply_entry(self, entry: Entry) -> list[bytes]:
        require(
            entry.index == self.applied_index + 1,
            "entries are applied in order, each once",
            index=entry.index,
            applied=self.applied_index,
        )
        batch = Batch()
        results: list[bytes] = []
        clock_us = self.clock_us
        if entry.kind == _COMMANDS:
            application = _Application(self, batch, entry.index)
            for data in decode_group(entry.data):
                results.append(application.command(pb.Command.FromString(bytes(data))))
            clock_us = application.clock_us
        batch.put(APPLIED_KEY, POSITION.pack(entry.index, entry.term, clock_us))
        self.store.write(batch)
        self.applied_index = entry.index
        self.applied_term = entry.term
        self.clock_us = clock_us
        self._requests.written()
        return results


class _Application:
    """One entry being applied: its batch, and how many tasks it has made so far."""

    __slots__ = ("_batch", "_first", "_machine", "_made", "clock_us")

    def __init__(self, machine: TaskMachine, batch: Batch, index: Index) -> None:
        self._machine = machine
        self._batch = batch
        self._first = sequence_of(index, 0)
        self._made = 0
        self.clock_us = machine.clock_us

    def command(self, command: pb.Command) -> bytes:
        if command.version != COMMAND_VERSION:
            raise UnknownCommand(
                f"command of version {command.version}; this program knows {COMMAND_VERSION}"
            )
        self.clock_us = max(self.clock_us, command.stamp_us)
        self._machine._requests.expire(self._batch, self.clock_us)
        kind = command.WhichOneof("kind")
        if kind == "create_tasks":
            return self._create_once(command)
        if kind == "register_member":
            member = command.register_member
            self._batch.put(MEMBER_PREFIX + member.name.encode(), member.SerializeToString())
            return b""
        raise UnknownCommand("command of an unknown kind")

    def _create_once(self, command: pb.Command) -> bytes:
        """Create, unless the command's request id says that it was done."""
        if not command.request_id:
            return self._create(command)
        table, key = self._machine._requests, requests.command_key(command.request_id)
        known = table.find(self._machine.store, key, self.clock_us)
        if known is not None:
            if known.fingerprint != command.fingerprint:
                return CREATED.pack(Outcome.CONFLICT, 0, command.stamp_us)
            return known.result
        result = self._create(command)
        table.remember(self._batch, key, self.clock_us, command.fingerprint, result)
        return result

    def _create(self, command: pb.Command) -> bytes:
        create = command.create_tasks
        count = len(create.places)
        require(self._made + count < _TASKS_MAX, "an entry makes fewer tasks than sequences have room for")
        first = self._first + self._made
        self._made += count
        if create.requests:
            return self._create_each_once(command, first)
        put, due = self._batch.put, self._machine._with_due_index
        pack = _SEQUENCE.pack
        sequence = first
        for place, record in zip(create.places, create.records, strict=True):
            suffix = pack(sequence)
            put(TASK + place + suffix, record)
            if due:
                put(DUE + place + place[-8:] + suffix, b"")
            sequence += 1
        self._payloads(create, first)
        self._know_namespaces(create.places, command.stamp_us)
        return CREATED.pack(Outcome.DONE, first, command.stamp_us)

    def _create_each_once(self, command: pb.Command, first: int) -> bytes:
        """As `_create`, for tasks of which some carry a request id of their own."""
        create = command.create_tasks
        table, store, batch = self._machine._requests, self._machine.store, self._batch
        parts = [CREATED.pack(Outcome.MIXED, first, command.stamp_us)]
        for position, (place, record) in enumerate(zip(create.places, create.records, strict=True)):
            suffix = _SEQUENCE.pack(first + position)
            made = place[-8:] + suffix
            outcome = ItemOutcome.CREATED
            if position in create.requests:
                request = create.requests[position]
                key = requests.task_key(place[:-8], request.id)
                known = table.find(store, key, self.clock_us)
                if known is None:
                    table.remember(batch, key, self.clock_us, request.fingerprint, made)
                else:
                    same = known.fingerprint == request.fingerprint
                    outcome = ItemOutcome.KNOWN if same else ItemOutcome.CONFLICT
                    made = known.result
            parts += (bytes((outcome,)), made)
            if outcome is not ItemOutcome.CREATED:
                continue
            batch.put(TASK + place + suffix, record)
            if self._machine._with_due_index:
                batch.put(DUE + place + place[-8:] + suffix, b"")
            if position in create.payloads:
                batch.put(PAYLOAD + place + suffix, create.payloads[position])
        self._know_namespaces(create.places, command.stamp_us)
        return b"".join(parts)

    def _payloads(self, create: pb.CreateTasks, first: int) -> None:
        for position, payload in create.payloads.items():
            self._batch.put(PAYLOAD + create.places[position] + _SEQUENCE.pack(first + position), payload)

    def _know_namespaces(self, places: Sequence[bytes], stamp_us: int) -> None:
        """A namespace comes into being on first use, with the cluster's defaults."""
        known = self._machine._namespaces
        for part in {place[:-8] for place in places} - known:
            settings = NamespaceSettings(created_at_us=stamp_us)
            self._batch.put(NAMESPACE + part, encode_settings(settings))
            known.add(part)
