"""Own proposals that another leader has overwritten."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from raftcore.core.log import RaftLog
from raftcore.core.types import Index, Range, Term


class Overwritten:
    """Tells which own proposals can never be applied.

    Being overwritten here is not enough: until another term's entry is *committed* in its place, a peer that
    still has the old one may become leader and commit it after all. For example S1 proposed entry 2 in term
    2, S2 has it, and S5 overwrites it at S1 in term 3; when S5 fails before its entry 2 reaches a majority,
    S2 may win and commit entry 2 of term 2.
    """

    def __init__(self) -> None:
        self._led: set[Term] = set()
        self._runs: list[tuple[Index, Index, Term]] = []
        self._lost: deque[Range] = deque()

    def led(self, term: Term) -> None:
        """Entries of ``term`` are own proposals."""
        self._led.add(term)

    def dropped(self, runs: Iterable[tuple[Index, Index, Term]]) -> None:
        """Runs [lo, hi) of one term were truncated."""
        self._runs += [run for run in runs if run[2] in self._led]

    def committed(self, log: RaftLog) -> None:
        """The commit index of ``log`` has moved. Thesis §3.6.3."""
        if not self._runs:
            return
        remaining = []
        for lo, hi, term in self._runs:
            settled = Index(min(hi, log.commit + 1))
            self._settle(log, lo, settled)
            if settled < hi:
                remaining.append((max(lo, settled), hi, term))
        self._runs = remaining

    def _settle(self, log: RaftLog, lo: Index, hi: Index) -> None:
        """Report the stretches of [lo, hi) where entries of other leaders are committed."""
        start = lo
        for index in range(lo, hi):
            if log.term(Index(index)) in self._led:
                self._report(start, Index(index))
                start = Index(index + 1)
        self._report(start, hi)

    def _report(self, lo: Index, hi: Index) -> None:
        if lo < hi:
            self._lost.append(Range(lo, hi))

    def forget(self) -> None:
        """The log was replaced by a snapshot: what became of the entries below it is not known."""
        self._runs = []

    def take(self) -> Range | None:
        """The next range that is lost for sure."""
        return self._lost.popleft() if self._lost else None
