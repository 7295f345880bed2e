"""Linearizable reads of this replica's clients: confirmed by the leader, then applied here. Thesis §6.4."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from raftcore.core.errors import Busy, RaftError, ReadFailed
from raftcore.core.types import Index, Instant
from raftcore.replica.turn import ReadDone


@dataclass(slots=True)
class _Waiting:
    """Reads that arrived in one turn share one confirmation."""

    dones: Sequence[ReadDone]
    give_up_at: Instant
    id: int = 0
    answered: bool = False


class ReadTable:
    """Every read ends exactly once: with an index that is applied here, or with `ReadFailed`."""

    def __init__(self, wait_us: int, reads_max: int) -> None:
        self._wait_us = wait_us
        self._reads_max = reads_max
        self._arriving: list[ReadDone] = []
        self._unconfirmed: dict[int, _Waiting] = {}
        self._confirmed: list[tuple[Index, int, _Waiting]] = []
        """A heap by index; the number keeps equal indexes in order."""
        self._confirmed_count = 0
        self._by_age: deque[_Waiting] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def arrive(self, done: ReadDone) -> None:
        """:raises Busy: when too many reads wait."""
        if self._count >= self._reads_max:
            raise Busy(f"{self._count} reads wait for confirmation")
        self._count += 1
        self._arriving.append(done)

    def ask(self, read: Callable[[], int], now: Instant) -> None:
        """Ask for one confirmation for all that arrived since the last turn."""
        if not self._arriving:
            return
        waiting = _Waiting(self._arriving, Instant(now + self._wait_us))
        self._arriving = []
        try:
            waiting.id = read()
        except RaftError as error:
            self._finish(waiting, error)
            return
        self._unconfirmed[waiting.id] = waiting
        self._by_age.append(waiting)

    def confirmed(self, id: int, index: Index) -> None:
        waiting = self._unconfirmed.pop(id, None)
        if waiting is not None:
            self._confirmed_count += 1
            heappush(self._confirmed, (index, self._confirmed_count, waiting))

    def failed(self, id: int, error: RaftError) -> None:
        waiting = self._unconfirmed.pop(id, None)
        if waiting is not None:
            self._finish(waiting, error)

    def release(self, applied: Index) -> None:
        """Answer the confirmed reads whose index is applied."""
        confirmed = self._confirmed
        while confirmed and confirmed[0][0] <= applied:
            self._finish(heappop(confirmed)[2], applied)

    def give_up_at(self) -> Instant | None:
        by_age = self._by_age
        while by_age and by_age[0].answered:
            by_age.popleft()
        return by_age[0].give_up_at if by_age else None

    def give_up(self, now: Instant) -> None:
        """Fail the reads that have waited too long: a lost message must not hang a client."""
        at = self.give_up_at()
        while at is not None and at <= now:
            waiting = self._by_age.popleft()
            self._unconfirmed.pop(waiting.id, None)
            self._finish(waiting, ReadFailed("no leader confirmed the read in time"))
            at = self.give_up_at()

    def fail_all(self) -> None:
        arriving, self._arriving = self._arriving, []
        waiting = [*self._unconfirmed.values(), *(row[2] for row in self._confirmed)]
        self._unconfirmed.clear()
        self._confirmed.clear()
        self._by_age.clear()
        for row in (*waiting, _Waiting(arriving, Instant(0))):
            self._finish(row, ReadFailed("the replica stopped"))

    def _finish(self, waiting: _Waiting, outcome: Index | RaftError) -> None:
        if waiting.answered:
            return
        waiting.answered = True
        self._count -= len(waiting.dones)
        for done in waiting.dones:
            done(outcome)
