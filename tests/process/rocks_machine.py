"""A state machine for tests whose state is larger than memory wants: keys and values in a store on disk.

Commands are JSON lists: ["set", key, value], ["add", key, number], ["get", key], and ["fill", key, count,
size] for ``count`` values of ``size`` random bytes that the key decides. The answer is JSON too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from raftcore.storage.directory import replace_directory, settle_directory
from raftcore.storage.kv import Batch, Store

APPLIED = b"\0applied"


class RocksMachine:
    syncs_while_applying = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store: Store
        self.applied = 0

    def open(self) -> Index:
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        settle_directory(self.directory)
        self.store = Store.open(self.directory, wal=False)
        self.applied = int(self.store.get(APPLIED) or 0)
        return Index(self.applied)

    def apply(self, entries: Sequence[Entry]) -> list[list[bytes]]:
        batch, results = Batch(), []
        written: dict[bytes, bytes] = {}
        for entry in entries:
            assert entry.index == self.applied + 1, (entry.index, self.applied)
            answers = []
            if entry.kind == EntryKind.COMMANDS:
                for command in decode_group(entry.data):
                    answers.append(json.dumps(self._do(written, *json.loads(bytes(command)))).encode())
            results.append(answers)
            self.applied = entry.index
        for key, value in written.items():
            batch.put(key, value)
        batch.put(APPLIED, b"%d" % self.applied)
        self.store.write(batch)
        return results

    def _do(self, written: dict[bytes, bytes], kind: str, key: str, *arguments: object) -> object:
        if kind == "fill":
            count, size = arguments
            random = Random(key)
            for number in range(count):
                written[f"{key}/{number}".encode()] = random.randbytes(size)
            return count
        name = key.encode()
        stored = written.get(name) or self.store.get(name)
        value = json.loads(stored) if stored else None
        if kind == "set":
            (value,) = arguments
        elif kind == "add":
            value = (value or 0) + arguments[0]
        written[name] = json.dumps(value).encode()
        return value

    def sync(self) -> Index:
        index = self.applied
        self.store.flush()
        return Index(index)

    def checkpoint(self, path: Path) -> Index:
        self.store.checkpoint(path)
        return Index(self.applied)

    def install(self, path: Path) -> Index:
        self.store.close()
        replace_directory(path, self.directory)
        return self.open()

    def digest(self) -> str:
        """Of everything that was set."""
        summed = hashlib.blake2b()
        for key, value in self.store.scan(b"", b"\xff" * 8):
            if key == APPLIED:
                continue
            summed.update(b"%d %d " % (len(key), len(value)) + key + value)
        return summed.hexdigest()

    def close(self) -> None:
        self.store.close()
