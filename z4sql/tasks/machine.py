"""The replicated task machine: entries in, keys and records out, the same on every replica.

What `TaskMachine.apply` is given becomes one RocksDB batch, which also stores the applied index: after any
crash the state is exactly a prefix of the log. What the batch holds is not readable before it is written, so
whatever a command looks up is also kept in memory until then (`NamespaceTable`, `RequestTable`, `TaskTable`);
the result of an entry never depends on how entries were cut into slices. Only tasks that are created are not
kept: a batch that holds some is written before an entry is applied that looks tasks up.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from google.protobuf.message import DecodeError

from raftcore.core.errors import Stalled, StorageError, require
from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from raftcore.storage.directory import replace_directory, settle_directory
from raftcore.storage.kv import Batch, Store
from z4sql.tasks import requests
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.changes import change_task, change_tasks
from z4sql.tasks.commands import COMMAND_VERSION, CREATED, ItemOutcome, Outcome, settings_result
from z4sql.tasks.counters import CounterTable
from z4sql.tasks.errors import InvalidTask, UnknownCommand
from z4sql.tasks.keys import DUE, PAYLOAD, SEQUENCE_BITS, TASK, namespace_part, sequence_of
from z4sql.tasks.leases import lease, settle
from z4sql.tasks.life import Changed, ChangeProblem, change_result
from z4sql.tasks.model import checked_namespace
from z4sql.tasks.namespaces import NamespaceTable
from z4sql.tasks.reader import APPLIED_KEY, FORMAT, FORMAT_KEY, MEMBER_PREFIX, POSITION
from z4sql.tasks.record import DUE_VALUE, EXPIRES_AT, NEVER, State, due_value
from z4sql.tasks.requests import RequestTable
from z4sql.tasks.retirement import retire
from z4sql.tasks.table import TaskTable

_SEQUENCE = struct.Struct(">Q")
_TASKS_MAX = 1 << SEQUENCE_BITS
_COMMANDS = int(EntryKind.COMMANDS)
_LOOKING_UP = frozenset({"lease", "settle", "change_task", "change_tasks", "retire"})
"""Commands that look tasks up."""
_UNWRITTEN_BYTES_MAX = 16 << 20
"""Changed tasks held in memory before they are written, at the end of an entry."""


class Observer(Protocol):
    """Learns which tasks change, before anybody can read the change."""

    def changing(self, places: Collection[bytes]) -> AbstractContextManager[None]:
        """Entered before the tasks at these places are written, left when they are or could not be."""
        ...


_SCANS_END_S = 10.0
"""How long those who still walk a state that was replaced may take to notice."""


class TaskMachine:
    """A `raftcore.host.machine.StateMachine` in the directory ``path``.

    ``with_due_index`` is off for a copy that only answers queries: it never delivers, and has neither the
    due nor the finish index. ``observer`` is told of every task that is created, changed, moved or removed.
    """

    syncs_while_applying = True

    def __init__(self, path: Path, *, with_due_index: bool = True, observer: Observer | None = None) -> None:
        self._path = path
        self._store: Store | None = None
        self.with_due_index = with_due_index
        self.observer = observer
        self.namespaces = NamespaceTable()
        self.requests = RequestTable()
        self.counters = CounterTable()
        self.applied_index = Index(0)
        self.applied_term = 0
        self.clock_us = 0
        """The newest stamp applied."""
        self.snapshot_at_s = 0.0
        """When a copy of the state was last made or taken over, by the wall clock; 0: not since the start."""

    @property
    def is_open(self) -> bool:
        """Whether there is a `store`."""
        return self._store is not None

    @property
    def store(self) -> Store:
        require(self._store is not None, "the machine is open")
        assert self._store is not None
        return self._store

    def open(self, *, patience_s: float = 0.0) -> Index:
        """Open the state; its applied index. ``patience_s`` as for a `Store`. :raises StorageError:"""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        settle_directory(self._path)
        self._store = Store.open(self._path, wal=False, patience_s=patience_s)
        self._read_position()
        return self.applied_index

    def apply(self, entries: Sequence[Entry]) -> list[list[bytes]]:
        """Apply entries in order; for each, one result per command.

        When the store takes no more for now, only those that it took are answered; the others can be given
        again. When this raises anything else, ``applied_index`` tells what is applied.

        :raises Stalled: the store took none.
        :raises UnknownCommand: the log is of a newer version: halt.
        """
        former, results = self.applied_index, []
        try:
            application = _Slice(self)
            for entry in entries:
                results.append(application.entry(entry))
            application.write()
        except BaseException as error:
            # Memory is ahead of the store, which has taken nothing of what failed.
            self._read_position()
            if isinstance(error, Stalled) and self.applied_index > former:
                return results[: self.applied_index - former]
            raise
        return results

    def counts(self, namespace: str) -> Mapping[State, int]:
        """How many tasks of a namespace are in each state. Exact, for what is applied.

        :raises InvalidTask: when the namespace cannot exist.
        """
        return self.counters.counts(namespace_part(checked_namespace(namespace)))

    def sync(self) -> Index:
        """Make the state durable; the applied index that is. May be called from another thread."""
        index = self.applied_index
        self.store.flush()
        return index

    def checkpoint(self, path: Path) -> Index:
        """Copy the state by hard links into the new directory ``path``; its applied index."""
        index = self.applied_index
        self.store.checkpoint(path)
        self.snapshot_at_s = time.time()
        return index

    def install(self, path: Path) -> Index:
        """Replace the state by the checkpoint at ``path``, which is taken over; its applied index.

        Meanwhile there is no `store`. :raises StorageError: :raises OSError:
        """
        self.close()
        replace_directory(path, self._path)
        self.snapshot_at_s = time.time()
        return self.open(patience_s=_SCANS_END_S)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _read_position(self) -> None:
        """Stand where the store stands."""
        position = self.store.get(APPLIED_KEY)
        if position is not None and self.store.get(FORMAT_KEY) != FORMAT:
            raise StorageError(f"{self._path}: state of another version of z4; open it with that version")
        index, self.applied_term, self.clock_us = POSITION.unpack(position) if position else (0, 0, 0)
        self.applied_index = Index(index)
        self.namespaces.open(self.store)
        self.requests.open(self.store)
        self.counters.open(self.store)


class _Slice:
    """Entries being applied: their batch, and where the state will stand when it is written."""

    __slots__ = (
        "_batch",
        "_blind",
        "_clock_us",
        "_counters",
        "_created",
        "_index",
        "_looked_up",
        "_machine",
        "_made",
        "_namespaces",
        "_requests",
        "_tasks",
        "_term",
    )

    def __init__(self, machine: TaskMachine) -> None:
        self._machine = machine
        self._namespaces = machine.namespaces
        self._requests = machine.requests
        self._counters = machine.counters
        self._tasks = TaskTable(machine.store, machine.counters, indexed=machine.with_due_index)
        self._index = machine.applied_index
        self._term = machine.applied_term
        self._made = 0
        self._clock_us = machine.clock_us
        self._begin()

    def _begin(self) -> None:
        self._batch = Batch()
        self._created: list[bytes] = []
        """Places of created tasks, for the observer."""
        self._tasks.begin(self._batch)
        self._blind = False
        """The batch holds created tasks that cannot be looked up."""
        self._looked_up = False
        """Tasks created by the present entry may be looked up by its later commands."""

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
            kinds = [command.WhichOneof("kind") for command in commands]
            looked_up = not _LOOKING_UP.isdisjoint(kinds)
            # Expiry walks the store: it must find there what earlier entries did, however they were sliced.
            newest_us = max((command.stamp_us for command in commands), default=0)
            if self._pending and (
                (looked_up and self._blind)
                or self._tasks.unwritten_bytes > _UNWRITTEN_BYTES_MAX
                or self._requests.due(max(self._clock_us, newest_us))
            ):
                self.write()
                self._begin()
            self._looked_up = looked_up
            self._made = 0
            first = sequence_of(entry.index, 0)
            results = [
                self._command(command, kind, first) for command, kind in zip(commands, kinds, strict=True)
            ]
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
        if machine.applied_index == 0:
            self._batch.put(FORMAT_KEY, FORMAT)
        self._counters.write(self._batch)
        self._batch.put(APPLIED_KEY, POSITION.pack(self._index, self._term, self._clock_us))
        if machine.observer is None:
            machine.store.write(self._batch)
        else:
            with machine.observer.changing([*self._created, *self._tasks.changed]):
                machine.store.write(self._batch)
        machine.applied_index = self._index
        machine.applied_term = self._term
        machine.clock_us = self._clock_us
        self._requests.written()
        self._namespaces.written()
        self._counters.written()

    def _command(self, command: pb.Command, kind: str | None, first: int) -> bytes:
        clock_us = self._clock_us = max(self._clock_us, command.stamp_us)
        if self._requests.due(clock_us):
            self._requests.expire(self._batch, clock_us, len(command.create_tasks.requests))
        match kind:
            case "create_tasks":
                return self._create_once(command, first)
            case "lease":
                token = first + self._take_sequences(len(command.lease.places))
                return lease(self._tasks, command.lease, clock_us, token)
            case "settle":
                return settle(self._tasks, command.settle, clock_us)
            case "change_task":
                return self._change_once(command)
            case "change_tasks":
                return change_tasks(self._tasks, command.change_tasks, clock_us)
            case "retire":
                return retire(self._tasks, command.retire, clock_us)
            case "register_member":
                member = command.register_member
                self._batch.put(MEMBER_PREFIX + member.name.encode(), member.SerializeToString())
                return b""
            case "set_namespace":
                return self._set_once(command)
            case _:
                raise UnknownCommand("command of an unknown kind")

    def _set_once(self, command: pb.Command) -> bytes:
        """Set a namespace, unless the command's request id says that it was done."""
        if not command.request_id:
            return self._set_namespace(command)
        table, key = self._requests, requests.command_key(command.request_id)
        known = table.find(key, self._clock_us)
        if known is not None:
            same = known.fingerprint == command.fingerprint
            return known.result if same else settings_result(None)
        result = self._set_namespace(command)
        table.remember(self._batch, key, self._clock_us, command.fingerprint, result)
        return result

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

    def _change_once(self, command: pb.Command) -> bytes:
        """Change a task, unless the command's request id says that it was done."""
        if not command.request_id:
            return change_task(self._tasks, command.change_task, self._clock_us)
        table, key = self._requests, requests.command_key(command.request_id)
        known = table.find(key, self._clock_us)
        if known is not None:
            same = known.fingerprint == command.fingerprint
            return known.result if same else change_result(Changed(None, ChangeProblem.CONFLICT))
        result = change_task(self._tasks, command.change_task, self._clock_us)
        table.remember(self._batch, key, self._clock_us, command.fingerprint, result)
        return result

    def _take_sequences(self, count: int) -> int:
        """Numbers of the entry for tasks or leases; the first of them."""
        require(self._made + count < _TASKS_MAX, "an entry makes no more than sequences have room for")
        first = self._made
        self._made += count
        return first

    def _create(self, command: pb.Command, first: int) -> bytes:
        create = command.create_tasks
        places, records = list(create.places), list(create.records)
        count = len(places)
        first += self._take_sequences(count)
        if create.requests:
            return self._create_each_once(command, first)
        put, pack = self._batch.put, _SEQUENCE.pack
        keys = [place + pack(sequence) for sequence, place in enumerate(places, first)]
        for key, record in zip(keys, records, strict=True):
            put(TASK + key, record)
        if self._machine.with_due_index:
            for place, key, record in zip(places, keys, records, strict=True):
                put(DUE + place + key[-16:], b"" if record[EXPIRES_AT] == NEVER else record[DUE_VALUE])
        for position, payload in create.payloads.items():
            put(PAYLOAD + keys[position], payload)
        if self._machine.observer is not None:
            self._created += keys
        if self._looked_up:
            self._tasks.know(keys, records)
        else:
            self._blind = True
        names = [place[:-8] for place in places]
        # Hashing each of them costs more than comparing them with the first.
        one = count > 0 and names.count(names[0]) == count
        self._count({names[0]: count} if one else Counter(names), command.stamp_us)
        return CREATED.pack(Outcome.DONE, first, command.stamp_us)

    def _create_each_once(self, command: pb.Command, first: int) -> bytes:
        """As `_create`, for tasks of which some carry a request id of their own."""
        create, table, batch = command.create_tasks, self._requests, self._batch
        parts = [CREATED.pack(Outcome.MIXED, first, command.stamp_us)]
        created: Counter[bytes] = Counter()
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
            created[place[:-8]] += 1
            self._created.append(place + suffix)
            batch.put(TASK + place + suffix, record)
            if self._machine.with_due_index:
                batch.put(DUE + place + made, due_value(record))
            if position in create.payloads:
                batch.put(PAYLOAD + place + suffix, create.payloads[position])
            if self._looked_up:
                self._tasks.know([place + suffix], [record])
        self._blind = self._blind or not self._looked_up
        self._count(created, command.stamp_us)
        return b"".join(parts)

    def _count(self, created: Mapping[bytes, int], stamp_us: int) -> None:
        """So many tasks were created in each of these namespaces."""
        self._namespaces.know(self._batch, created.keys(), stamp_us)
        for name, count in created.items():
            self._counters.created(name, count)


def _parse(data: bytes) -> pb.Command:
    try:
        command = pb.Command.FromString(data)
    except DecodeError as error:
        raise UnknownCommand(f"command that cannot be read: {error}") from error
    if command.version != COMMAND_VERSION:
        raise UnknownCommand(f"command of version {command.version}; this program knows {COMMAND_VERSION}")
    return command
