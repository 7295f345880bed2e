"""The apply cursor: which committed entries were handed to the state machine, and which came back applied."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from raftcore.core.errors import require
from raftcore.core.raft import RaftCore
from raftcore.core.ready import LoadEntries
from raftcore.core.types import Entry, Index, Range


class Applier:
    """Hands out ``[next, committed)`` in order, without gap or repetition, within ``bytes_max`` at a time.

    Entries that left the core's memory are loaded from the log store first: a `LoadEntries` whose peer is the
    replica itself.
    """

    def __init__(self, core: RaftCore, bytes_max: int) -> None:
        self._core = core
        self._bytes_max = bytes_max
        self._next = Index(core.applied + 1)
        self._committed_end = self._next
        self._handed: deque[Entry] = deque()
        self._handed_bytes = 0
        self._load: LoadEntries | None = None
        self._loads_count = 0
        self._loaded: list[Entry] = []

    def committed(self, committed: Range) -> None:
        require(
            committed.lo <= self._committed_end <= committed.hi,
            "committed ranges join",
            committed=committed,
            committed_end=self._committed_end,
        )
        self._committed_end = committed.hi

    def take(self) -> tuple[Sequence[Entry], LoadEntries | None]:
        """The next entries to apply, or what must be loaded before there are any."""
        lo = self._next
        if lo >= self._committed_end or self._handed_bytes >= self._bytes_max or self._load is not None:
            return (), None
        entries: Sequence[Entry] | None = self._loaded or self._core.entries(Range(lo, self._committed_end))
        self._loaded = []
        if entries is None:
            self._loads_count += 1
            self._load = LoadEntries(
                id=-self._loads_count,
                peer=self._core.node,
                lo=lo,
                hi=self._committed_end,
                bytes_max=self._bytes_max,
            )
            return (), self._load
        taken = self._within_bound(entries)
        require(
            taken and taken[0].index == lo and taken[-1].index < self._committed_end,
            "entries are applied in order and only when committed",
            wanted=lo,
            committed_end=self._committed_end,
        )
        self._next = Index(lo + len(taken))
        self._handed.extend(taken)
        return taken, None

    def _within_bound(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        size = self._handed_bytes
        for count, entry in enumerate(entries, 1):
            size += len(entry.data)
            if size >= self._bytes_max:
                entries = entries[:count]
                break
        self._handed_bytes = size
        return entries

    def loaded(self, request: LoadEntries, entries: Sequence[Entry] | None) -> None:
        """The answer to a load of our own; outdated answers are ignored."""
        if request != self._load:
            return
        self._load = None
        require(entries, "committed entries that are not applied are never compacted", request=request)
        self._loaded = [entry for entry in entries or () if entry.index < self._committed_end]

    def applied(self, last: Index) -> list[Entry]:
        """Entries up to ``last`` came back: returns them."""
        handed = self._handed
        require(
            not handed or last < self._next,
            "only what was handed out comes back applied",
            last=last,
            next=self._next,
        )
        back: list[Entry] = []
        while handed and handed[0].index <= last:
            entry = handed.popleft()
            self._handed_bytes -= len(entry.data)
            back.append(entry)
        return back

    def installed(self, last: Index) -> None:
        """A snapshot took the place of every entry up to ``last``."""
        if last < self._next and not self._handed:
            return
        self._handed.clear()
        self._handed_bytes = 0
        self._load = None
        self._loaded = []
        self._next = Index(last + 1)
        self._committed_end = max(self._committed_end, self._next)
