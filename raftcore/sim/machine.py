"""A tiny deterministic state machine: its state is a hash chain over everything that it applied.

Two machines at the same applied index have the same chain, or they differ in what they applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from raftcore.sim.trace import demand


@dataclass(slots=True, frozen=True)
class MachineState:
    """A copy of the machine at ``index``: what a snapshot carries."""

    index: Index
    chain: bytes


class SimMachine:
    """State in memory, of which a crash leaves some prefix that holds at least what was flushed."""

    def __init__(self) -> None:
        self._base = Index(0)
        self._chains: list[bytes] = [b""]
        """The chain at ``_base`` and at every index after it."""
        self.flushed = Index(0)

    @property
    def applied(self) -> Index:
        return Index(self._base + len(self._chains) - 1)

    def chain_at(self, index: Index) -> bytes:
        return self._chains[index - self._base]

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
                count = len(decode_group(entry.data))
                results.append((entry.index, [b"%d.%d" % (entry.index, at) for at in range(count)]))
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
        return MachineState(self.flushed, self.chain_at(self.flushed))

    def install(self, state: MachineState) -> None:
        self._base = state.index
        self._chains = [state.chain]
        self.flushed = state.index

    def crash(self, rng: Random) -> None:
        self.flush(rng)
        del self._chains[self.flushed - self._base + 1 :]
