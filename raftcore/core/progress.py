"""What a leader knows of each peer's log, and how much it may send it.

A peer is in one of three states:

- PROBE: where the logs meet is not known; one Append at a time, until a reply or a sign of life.
- REPLICATE: Appends are sent optimistically, ``next`` moves as they leave, bounded by the window.
- SNAPSHOT: the entries that it needs are compacted; nothing is sent until it has reached the log again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

from raftcore.core.errors import require
from raftcore.core.types import Index, Instant, SnapshotMeta

_NEVER = Instant(0)
_NOTHING = Index(0)


class ProgressState(IntEnum):
    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


_PROBE, _REPLICATE, _SNAPSHOT = ProgressState.PROBE, ProgressState.REPLICATE, ProgressState.SNAPSHOT


class Inflights:
    """The window of Appends that are not yet acknowledged, bounded by count and by bytes."""

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_sent")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._sent: deque[tuple[Index, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def is_full(self) -> bool:
        return len(self._sent) >= self._count_max or self._bytes >= self._bytes_max

    def add(self, last: Index, size: int) -> None:
        """An Append whose last entry is ``last`` has left."""
        require(not self.is_full, "the window has room for what is sent", last=last)
        self._sent.append((last, size))
        self._bytes += size

    def free_to(self, match: Index) -> None:
        """Everything up to ``match`` has arrived."""
        sent = self._sent
        while sent and sent[0][0] <= match:
            self._bytes -= sent.popleft()[1]

    def clear(self) -> None:
        self._sent.clear()
        self._bytes = 0


@dataclass(slots=True)
class Progress:
    """One peer, as its leader knows it. ``match < next`` always, and ``match`` never falls."""

    next: Index
    inflights: Inflights
    contact: Instant
    """When it was last heard, or when it became a peer: a newcomer has the benefit of the doubt."""
    match: Index = _NOTHING
    state: ProgressState = _PROBE
    paused: bool = False
    """PROBE: one Append has left, and neither reply nor sign of life has come since."""
    loading: int = 0
    """The id of the LoadEntries under way for it, or 0."""
    sent_commit: Index = _NOTHING
    read_position: int = 0
    match_at_heartbeat: Index = _NOTHING
    """`match` when it last answered a heartbeat: no progress since then means that something was lost."""
    snapshot: SnapshotMeta | None = None
    """SNAPSHOT: what it was told to pull; None while that is being made."""
    snapshot_offered: Instant = _NEVER

    def become_probe(self) -> None:
        """Find out where the logs meet, from what is known for sure or was sent as a snapshot.

        Thesis §3.5.
        """
        reached = self.match
        if self.state is _SNAPSHOT and self.snapshot is not None:
            reached = max(reached, self.snapshot.index)
        self._become(_PROBE)
        self.next = Index(reached + 1)
        self.sent_commit = min(self.sent_commit, self.match)

    def become_replicate(self) -> None:
        self._become(_REPLICATE)
        self.next = Index(self.match + 1)

    def become_snapshot(self) -> None:
        self._become(_SNAPSHOT)

    def abandon_snapshot(self) -> None:
        """The snapshot did not arrive: probe again, but not before the next sign of life."""
        self.snapshot = None
        self.become_probe()
        self.paused = True

    def accepted(self, match: Index) -> bool:
        """The peer's log agrees up to ``match``; whether that is news. Thesis §3.5."""
        if match <= self.match:
            return False
        self.match = match
        self.next = max(self.next, Index(match + 1))
        self.paused = False
        return True

    def rejected(self, rejected_index: Index, resume_from: Index) -> bool:
        """The peer refused entries behind ``rejected_index``; False when that is old news.

        ``resume_from`` is the newest entry at which the logs may meet.
        Thesis §3.5.
        """
        if self.state is _REPLICATE:
            if rejected_index <= self.match:
                return False
            self.become_probe()
            return True
        if self.state is _SNAPSHOT or rejected_index != self.next - 1:
            return False
        self.next = max(min(rejected_index, Index(resume_from + 1)), Index(self.match + 1))
        self.paused = False
        return True

    def _become(self, state: ProgressState) -> None:
        self.state = state
        self.paused = False
        self.loading = 0
        self.snapshot = None
        self.inflights.clear()
