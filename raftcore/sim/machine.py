"""A tiny deterministic state machine: registers, and a hash chain over everything that it applied.

Two machines at the same applied index have the same chain, or they differ in what they applied.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from raftcore.sim.trace import demand

_COMMAND = struct.Struct("<QB")


def encode_command(value: int, key: int, padding: int) -> bytes:
    """Set register ``key`` to ``value``; ``padding`` makes it longer."""
    return _COMMAND.pack(value, key) + bytes(padding)


def decode_command(command: bytes | memoryview) -> tuple[int, int]:
    """The (value, key) of `encode_command`."""
    value, key = _COMMAND.unpack_from(command)
    return value, key


@dataclass(slots=True, frozen=True)
class MachineState:
    """A copy of the machine at ``index``: what a snapshot carries."""

    index: Index
    chain: bytes
    registers: dict[int, int]


class SimMachine:
    """State in memory, of which a crash leaves some prefix that holds at least what was flushed."""

    def __init__(self) -> None:
        self._base = Index(0)
        self._chains: list[bytes] = [b""]
        """The chain at ``_base`` and at every index after it."""
        self._written: dict[int, list[tuple[Index, int]]] = {}
        """By register: the (index, value) of each write, oldest first."""
        self.flushed = Index(0)

    @property
    def applied(self) -> Index:
        return Index(self._base + len(self._chains) - 1)

    def chain_at(self, index: Index) -> bytes:
        return self._chains[index - self._base]

    def register(self, key: int) -> int | None:
        """The newest value; None when it was never set."""
        written = self._written.get(key)
        return written[-1][1] if written else None

    def apply(self, entries: Sequence[Entry]) -> list[tuple[Index, list[bytes]]]:
        """Results per entry with commands: each command's is its place, ``index.position``."""
        results = []
        for entry in entries:
            demand(
                entry.index == self.applied + 1,
                "entries are applied without gap or repetition",
                applied=self.applied,
                entry=entry,
            )
            head = b"%d %d %d" % (entry.index, entry.term, entry.kind)
            self._chains.append(blake2b(self._chains[-1] + head + entry.data, digest_size=8).digest())
            if entry.kind == EntryKind.COMMANDS:
                commands = decode_group(entry.data)
                for command in commands:
                    value, key = decode_command(command)
                    self._written.setdefault(key, []).append((entry.index, value))
                results.append((entry.index, [b"%d.%d" % (entry.index, at) for at in range(len(commands))]))
        return results

    def flush(self, rng: Random) -> Index:
        """Some prefix of the state becomes durable, as memtables are flushed; returns its index."""
        self.flushed = Index(rng.randint(self.flushed, self.applied))
        return self.flushed

    def sync(self) -> Index:
        self.flushed = self.applied
        return self.flushed

    def state(self) -> MachineState:
        """A copy of the durable state."""
        registers = {}
        for key, written in self._written.items():
            durable = [value for index, value in written if index <= self.flushed]
            if durable:
                registers[key] = durable[-1]
        return MachineState(self.flushed, self.chain_at(self.flushed), registers)

    def install(self, state: MachineState) -> None:
        self._base = state.index
        self._chains = [state.chain]
        self._written = {key: [(state.index, value)] for key, value in state.registers.items()}
        self.flushed = state.index

    def crash(self, rng: Random) -> None:
        self.flush(rng)
        del self._chains[self.flushed - self._base + 1 :]
        for written in self._written.values():
            while written and written[-1][0] > self.flushed:
                written.pop()
