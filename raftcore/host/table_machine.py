"""The part of a state machine over a table that is the same in every application."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from raftcore.core.errors import Stalled
from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from raftcore.storage.tables import RocksTable


class TableMachine(ABC):
    """A `raftcore.host.machine.StateMachine` over a table: the application says what a command does.

    What commands put is kept together with where the machine then stands, all or nothing.
    """

    def __init__(self, table: RocksTable) -> None:
        self.table = table
        self.applied = Index(0)
        """The entry that was applied last, or is being applied."""

    @abstractmethod
    def command(self, data: bytes) -> bytes:
        """Do one command of the entry ``applied``; its result. It may ask no clock and no random number."""

    @abstractmethod
    def save(self) -> None:
        """Put where the machine stands, ``applied`` with it."""

    @abstractmethod
    def load(self) -> Index:
        """Stand where `save` stood, whatever the machine remembers beside the table; ``applied`` of then."""

    def open(self) -> Index:
        self.table.open()
        return self._stand()

    def apply(self, entries: Sequence[Entry]) -> list[list[bytes]]:
        """Apply entries in order; for each, one result per command.

        :raises Stalled: the store takes nothing for now; none is applied. What `command` raises is raised.
        """
        results = []
        for entry in entries:
            self.applied = entry.index
            commands = decode_group(entry.data) if entry.kind == EntryKind.COMMANDS else ()
            results.append([self.command(bytes(each)) for each in commands])
        self.save()
        try:
            self.table.commit()
        except Stalled:
            self._stand()
            raise
        return results

    def sync(self) -> Index:
        index = self.applied
        self.table.sync()
        return index

    def checkpoint(self, path: Path) -> Index:
        self.table.checkpoint(path)
        return self.applied

    def install(self, path: Path) -> Index:
        self.table.install(path)
        return self._stand()

    def close(self) -> None:
        self.table.close()

    def _stand(self) -> Index:
        self.applied = self.load()
        return self.applied
