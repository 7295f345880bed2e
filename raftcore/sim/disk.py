"""A host's disk: a log store whose syncs take time, and which forgets unsynced writes in a crash."""

from __future__ import annotations

from random import Random

from raftcore.sim.machine import MachineState
from raftcore.storage.memory import MemoryLogStore


class SimDisk:
    """``store`` is what the host writes to; the disk says how long a sync takes and what a crash leaves."""

    def __init__(self, rng: Random, sync_us: int, slow_chance: float, failure_chance: float) -> None:
        self.store = MemoryLogStore()
        self.received: MachineState | None = None
        """The files of the snapshot that is being installed."""
        self._rng = rng
        self._sync_us = sync_us
        self._slow_chance = slow_chance
        self._failure_chance = failure_chance

    def calm(self) -> None:
        """No more slow syncs, and none that fails."""
        self._slow_chance = self._failure_chance = 0.0

    def sync_fails(self) -> bool:
        return self._rng.random() < self._failure_chance

    def sync_duration_us(self) -> int:
        """Mostly near the disk's pace; now and then two orders of magnitude above."""
        scale = 100 if self._rng.random() < self._slow_chance else 1
        return 1 + int(self._rng.expovariate(1.0) * self._sync_us) * scale

    def crash(self) -> None:
        """Lose a random suffix of the unsynced batches."""
        self.store.crash(self._rng.randint(self.store.synced_count, self.store.written_count))
