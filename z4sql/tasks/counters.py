"""How many tasks each namespace has in each state.

Written in the batch that changes the tasks, so it is exact whenever they are; kept in memory too, so that
creating a task costs an addition. Names are as they stand in keys: with their length.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from raftcore.storage.kv import Batch, Store
from z4sql.tasks.keys import COUNTER
from z4sql.tasks.record import State

_VALUE: Final = struct.Struct(f"<{len(State)}Q")
_END: Final = bytes([COUNTER[0] + 1])


class CounterTable:
    def __init__(self) -> None:
        self._counts: dict[bytes, list[int]] = {}
        self._changed: set[bytes] = set()

    def open(self, store: Store) -> None:
        """Start from what ``store`` holds."""
        self._counts = {key[1:]: list(_VALUE.unpack(value)) for key, value in store.scan(COUNTER, _END)}
        self._changed.clear()

    def created(self, name: bytes, count: int) -> None:
        """``count`` new tasks; they are scheduled."""
        self._of(name)[State.SCHEDULED] += count

    def moved(self, name: bytes, before: int, after: int, count: int = 1) -> None:
        """So many tasks went from one state to another."""
        counts = self._of(name)
        counts[before] -= count
        counts[after] += count

    def forgotten(self, name: bytes, state: int) -> None:
        self._of(name)[state] -= 1

    def write(self, batch: Batch) -> None:
        """Put what changed since the last time; `written` when the batch is."""
        for name in self._changed:
            batch.put(COUNTER + name, _VALUE.pack(*self._counts[name]))

    def written(self) -> None:
        self._changed.clear()

    def counts(self, name: bytes) -> Mapping[State, int]:
        """The number of tasks in every state; zeros for a namespace that has none."""
        counts = self._counts.get(name)
        return decoded_counts(None if counts is None else _VALUE.pack(*counts))

    def _of(self, name: bytes) -> list[int]:
        self._changed.add(name)
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = [0] * len(State)
        return counts


def decoded_counts(value: bytes | None) -> Mapping[State, int]:
    """What a counter's value says; None is one that was never written."""
    return dict(zip(State, _VALUE.unpack(value) if value else [0] * len(State), strict=True))
