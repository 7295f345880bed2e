"""The replicated task machine: entries in, keys and records out, the same on every replica.

What `TaskMachine.apply` is given becomes one RocksDB batch, which also stores the applied index: after any
crash the state is exactly a prefix of the log. What the batch holds is not readable before it is written, so
whatever a command looks up is also kept in memory until then (`NamespaceTable`, `RequestTable`); the result
of an entry never depends on how entries were cut into slices.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from raftcore.core.errors import require
from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from raftcore.storage.kv import Batch, Store
from z4sql.tasks import requests
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.commands import COMMAND_VERSION, CREATED, ItemOutcome, Outcome, settings_result
from z4sql.tasks.errors import InvalidTask, UnknownCommand
from z4sql.tasks.keys import DUE, PAYLOAD, SEQUENCE_BITS, TASK, namespace_part, sequence_of
from z4sql.tasks.namespaces import NamespaceTable
from z4sql.tasks.reader import APPLIED_KEY, MEMBER_PREFIX, POSITION
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
        self._store: Store | None = None
        self.with_due_index = with_due_index
        self.namespaces = NamespaceTable()
        self.requests = RequestTable()
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
        self._store = Store.open(self._path, wal=False)
        self._read_position()
        return self.applied_index

    def apply(self, entries: Sequence[Entry]) -> list[list[bytes]]:
        """Apply entries in order; for each, one result per command.

        When it raises, ``applied_index`` tells what is applied, and the entries behind it can be given again.

        :raises Stalled: the store refused to take more for now.
        :raises UnknownCommand: the log is of a newer version: halt.
        """
        try:
            application = _Slice(self)
            results = [application.entry(entry) for entry in entries]
            application.write()
        except BaseException:
            # Memory is ahead of the store, which has taken nothing of what failed.
            self._read_position()
            raise
        return results

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

    def _read_position(self) -> None:
        """Stand where the store stands."""
        position = self.store.get(APPLIED_KEY)
        index, self.applied_term, self.clock_us = POSITION.unpack(position) if position else (0, 0, 0)
        self.applied_index = Index(index)
        self.namespaces.open(self.store)
        self.requests.open(self.store)


class _Slice:
    """Entries being applied: their batch, and where the state will stand when it is written."""

    __slots__ = ("_batch", "_clock_us", "_index", "_machine", "_made", "_namespaces", "_requests", "_term")

    def __init__(self, machine: TaskMachine) -> None:
        self._machine = machine
        self._namespaces = machine.namespaces
        self._requests = machine.requests
        self._batch = Batch()
        self._index = machine.applied_index
        self._term = machine.applied_term
        self._made = 0
        self._clock_us = machine.clock_us

    def entry(self, entry: Entry) -> list[bytes]:
        require(
            entry.index == self._index + 1,
            "entries are applied in order, each once",
            index=entry.index,
            applied=self._index,
        )
        results: list[bytes] = []
        if entry.kind == _COMMANDS:
            commands = [_parse(bytes(data)) for data in decode_group(entry.data)]
            # Expiry walks the store: it must find there what earlier entries did, however they were sliced.
            newest_us = max((command.stamp_us for command in commands), default=0)
            if self._pending and self._requests.due(max(self._clock_us, newest_us)):
                self.write()
                self._batch = Batch()
            self._made = 0
            first = sequence_of(entry.index, 0)
            results = [self._command(command, first) for command in commands]
        self._index = entry.index
        self._term = entry.term
        return results

    @property
    def _pending(self) -> bool:
        return self._index != self._machine.applied_index

    def write(self) -> None:
        """Write what was applied so far, and the position with it."""
        if not self._pending:
            return
        machine = self._machine
        self._batch.put(APPLIED_KEY, POSITION.pack(self._index, self._term, self._clock_us))
        machine.store.write(self._batch)
        machine.applied_index = self._index
        machine.applied_term = self._term
        machine.clock_us = self._clock_us
        self._requests.written()
        self._namespaces.written()

    def _command(self, command: pb.Command, first: int) -> bytes:
        clock_us = self._clock_us = max(self._clock_us, command.stamp_us)
        if self._requests.due(clock_us):
            self._requests.expire(self._batch, clock_us, len(command.create_tasks.requests))
        match command.WhichOneof("kind"):
            case "create_tasks":
                return self._create_once(command, first)
            case "register_member":
                member = command.register_member
                self._batch.put(MEMBER_PREFIX + member.name.encode(), member.SerializeToString())
                return b""
            case "set_namespace":
                return self._set_namespace(command)
            case _:
                raise UnknownCommand("command of an unknown kind")

    def _set_namespace(self, command: pb.Command) -> bytes:
        message = command.set_namespace
        change = {field.name: value for field, value in message.ListFields() if field.name != "namespace"}
        name = namespace_part(message.namespace.encode())
        try:
            return settings_result(self._namespaces.change(self._batch, name, change, command.stamp_us))
        except InvalidTask as problem:
            return settings_result(problem)

    def _create_once(self, command: pb.Command, first: int) -> bytes:
        """Create, unless the command's request id says that it was done."""
        if not command.request_id:
            return self._create(command, first)
        table, key = self._requests, requests.command_key(command.request_id)
        known = table.find(key, self._clock_us)
        if known is not None:
            if known.fingerprint != command.fingerprint:
                return CREATED.pack(Outcome.CONFLICT, 0, command.stamp_us)
            return known.result
        result = self._create(command, first)
        table.remember(self._batch, key, self._clock_us, command.fingerprint, result)
        return result

    def _create(self, command: pb.Command, first: int) -> bytes:
        create = command.create_tasks
        places, records = create.places, create.records
        count = len(places)
        require(self._made + count < _TASKS_MAX, "an entry makes fewer tasks than sequences have room for")
        sequence = first = first + self._made
        self._made += count
        if create.requests:
            return self._create_each_once(command, first)
        put, pack = self._batch.put, _SEQUENCE.pack
        if self._machine.with_due_index:
            for place, record in zip(places, records, strict=True):
                key = place + pack(sequence)
                put(TASK + key, record)
                put(DUE + place + key[-16:], b"")
                sequence += 1
        else:
            for place, record in zip(places, records, strict=True):
                put(TASK + place + pack(sequence), record)
                sequence += 1
        for position, payload in create.payloads.items():
            put(PAYLOAD + places[position] + pack(first + position), payload)
        self._namespaces.know(self._batch, {place[:-8] for place in places}, command.stamp_us)
        return CREATED.pack(Outcome.DONE, first, command.stamp_us)

    def _create_each_once(self, command: pb.Command, first: int) -> bytes:
        """As `_create`, for tasks of which some carry a request id of their own."""
        create, table, batch = command.create_tasks, self._requests, self._batch
        parts = [CREATED.pack(Outcome.MIXED, first, command.stamp_us)]
        for position, (place, record) in enumerate(zip(create.places, create.records, strict=True)):
            suffix = _SEQUENCE.pack(first + position)
            made = place[-8:] + suffix
            outcome = ItemOutcome.CREATED
            if position in create.requests:
                request = create.requests[position]
                key = requests.task_key(place[:-8], request.id)
                known = table.find(key, self._clock_us)
                if known is None:
                    table.remember(batch, key, self._clock_us, request.fingerprint, made)
                else:
                    same = known.fingerprint == request.fingerprint
                    outcome = ItemOutcome.KNOWN if same else ItemOutcome.CONFLICT
                    made = known.result
            parts += (bytes((outcome,)), made)
            if outcome is not ItemOutcome.CREATED:
                continue
            batch.put(TASK + place + suffix, record)
            if self._machine.with_due_index:
                batch.put(DUE + place + made, b"")
            if position in create.payloads:
                batch.put(PAYLOAD + place + suffix, create.payloads[position])
        self._namespaces.know(batch, {place[:-8] for place in create.places}, command.stamp_us)
        return b"".join(parts)


def _parse(data: bytes) -> pb.Command:
    try:
        command = pb.Command.FromString(data)
    except DecodeError as error:
        raise UnknownCommand(f"command that cannot be read: {error}") from error
    if command.version != COMMAND_VERSION:
        raise UnknownCommand(f"command of version {command.version}; this program knows {COMMAND_VERSION}")
    return command
