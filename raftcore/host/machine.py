"""What an application gives to raftcore: its state machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from raftcore.core.types import Entry, Index


class StateMachine(Protocol):
    """A deterministic machine whose state after any crash is an exact prefix of the log.

    Calls are serialized, but for `syncs_while_applying`; ``apply`` is given bounded slices and stores the
    last applied index in the same batch as the effects. Every entry is passed in, NOOP and CONFIG too: they
    only move the applied index.
    """

    def open(self) -> Index:
        """Open the state and return its applied index (0 when empty)."""
        ...

    def apply(self, entries: Sequence[Entry]) -> Sequence[Sequence[bytes]]:
        """Apply entries in order; for each, one result per command (empty for NOOP and CONFIG).

        A machine whose store refuses to take more for now answers those that it has applied, and is given the
        others again.

        :raises Stalled: when it has applied none. Anything else ends the host.
        """
        ...

    def sync(self) -> Index:
        """Make the state durable and return the applied index that is. May block; called off the loop.

        :raises Stalled: when nothing became durable that was not; it is called again later.
        """
        ...

    def checkpoint(self, path: Path) -> Index:
        """Write a copy of the durable state to a new directory by hard links; returns its applied index."""
        ...

    def install(self, path: Path) -> Index:
        """Replace the state by the checkpoint at ``path``, durably; returns its applied index.

        The machine is open before and after, and may take the files over: ``path`` is on the file system of
        the states, and is removed afterwards. A crash leaves the old state or the new one, for ``open`` to
        find; the files are gone only once it is the new one. May block; called off the loop.
        """
        ...

    def close(self) -> None: ...


def syncs_while_applying(machine: StateMachine) -> bool:
    """Whether ``sync`` may run in its thread while entries are applied.

    A machine says so by a true attribute of this name. Its ``sync`` makes durable at least what was applied
    when it was called, and returns that index.
    """
    return getattr(machine, "syncs_while_applying", False) is True
