"""A state machine for tests: a dict of counters and values in a file, written whole when synced.

Commands are JSON lists: ["set", key, value], ["add", key, number], ["get", key]; the answer is JSON too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group


class DictMachine:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.values: dict[str, object] = {}
        self.applied = 0

    def open(self) -> Index:
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "state.json"
        if file.exists():
            self.applied, self.values = json.loads(file.read_text())
        return Index(self.applied)

    def apply(self, entries: Sequence[Entry]) -> list[list[bytes]]:
        results = []
        for entry in entries:
            assert entry.index == self.applied + 1, (entry.index, self.applied)
            answers = []
            if entry.kind == EntryKind.COMMANDS:
                answers = [
                    json.dumps(self._do(*json.loads(bytes(c)))).encode() for c in decode_group(entry.data)
                ]
            results.append(answers)
            self.applied = entry.index
        return results

    def _do(self, kind: str, key: str, value: object = None) -> object:
        if kind == "set":
            self.values[key] = value
        elif kind == "add":
            self.values[key] = self.values.get(key, 0) + value
        return self.values.get(key)

    def sync(self) -> Index:
        self._write(self.directory)
        return Index(self.applied)

    def checkpoint(self, path: Path) -> Index:
        path.mkdir()
        self._write(path)
        return Index(self.applied)

    def install(self, path: Path) -> Index:
        self.applied, self.values = json.loads((path / "state.json").read_text())
        self._write(self.directory)
        return Index(self.applied)

    def close(self) -> None:
        self.values = {}

    def _write(self, directory: Path) -> None:
        new = directory / "state.new"
        new.write_text(json.dumps([self.applied, self.values]))
        os.replace(new, directory / "state.json")
