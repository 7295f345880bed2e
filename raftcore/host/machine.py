"""What an application gives to raftcore: its state machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from raftcore.core.types import Entry, Index


class StateMachine(Protocol):
    """A deterministic machine whose state after any crash is an exact prefix of the log.

    Calls are serialized; ``apply`` is given bounded slices and stores the last applied index in the same
    batch as the effects. Every entry is passed in, NOOP and CONFIG too: they only move the applied index.
    """

    def open(self) -> Index:
        """Open the state and return its applied index (0 when empty)."""
        ...

    def apply(self, entries: Sequence[Entry]) -> Sequence[Sequence[bytes]]:
        """Apply entries in order; for each, one result per command (empty for NOOP and CONFIG)."""
        ...

    def sync(self) -> Index:
        """Make the state durable and return the applied index that is. May block; called off the loop."""
        ...

    def checkpoint(self, path: Path) -> Index:
        """Write a copy of the durable state to a new directory by hard links; returns its applied index."""
        ...

    def close(self) -> None: ...
