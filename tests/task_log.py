"""A log of task commands: entries for machines, and what their results mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.replica.group import encode_group
from z4sql.tasks.commands import CommandBuilder, CreateCommand, Created
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

START_US = 1_650_000_000_000_000


def opened(path: Path, *, with_due_index: bool = True) -> TaskMachine:
    machine = TaskMachine(path, with_due_index=with_due_index)
    machine.open()
    return machine


class TaskLog:
    """Entries in the order in which they were made, and a leader's clock that the test moves."""

    def __init__(self) -> None:
        self.now_us = START_US
        self.entries: list[Entry] = []
        self.builder = CommandBuilder(lambda: self.now_us, lambda: 0)

    def add(self, *commands: bytes, kind: EntryKind = EntryKind.COMMANDS, term: int = 1) -> Entry:
        data = encode_group(commands) if kind is EntryKind.COMMANDS else b""
        entry = Entry(Term(term), Index(len(self.entries) + 1), kind, data)
        self.entries.append(entry)
        return entry

    def create(self, machine: TaskMachine, tasks: Sequence[NewTask], request_id: str = "") -> Created:
        """Create tasks in an entry of their own, applied at once."""
        command = self.builder.create_tasks(tasks, request_id)
        return command.outcome(self.apply(machine, command))

    def apply(self, machine: TaskMachine, command: CreateCommand) -> bytes:
        assert command.data is not None
        ((result,),) = machine.apply([self.add(command.data)])
        return result

    def carry_out(self, machine: TaskMachine, command: bytes) -> bytes:
        ((result,),) = machine.apply([self.add(command)])
        return result
