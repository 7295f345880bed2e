"""Stores of tasks, filled by the replicated machine as a peer would fill them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.replica.group import encode_group
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

CREATED_US = 1_650_000_000_000_000


def open_machine(path: Path) -> TaskMachine:
    machine = TaskMachine(path, with_due_index=False)
    machine.open()
    return machine


def add_tasks(machine: TaskMachine, tasks: Sequence[NewTask], created_us: int = CREATED_US) -> list[str]:
    """Create tasks in one entry; their ids."""
    builder = CommandBuilder(lambda: created_us, lambda: 0)
    command = builder.create_tasks(tasks)
    assert command.data is not None and not command.invalid, command.invalid
    index = Index(machine.applied_index + 1)
    ((result,),) = machine.apply([Entry(Term(1), index, EntryKind.COMMANDS, encode_group([command.data]))])
    return command.outcome(result).ids
