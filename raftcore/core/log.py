"""The log as the core sees it: bounds, terms, a bounded tail in memory, and pointers. It does no I/O.

::

    first-1 <= applied <= handed_out <= commit <= last         durable <= last

Terms are kept as runs (first index, term) for the whole log, so `RaftLog.term` never asks the disk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence

from raftcore.core.errors import Corrupt, InvariantViolation, LogLost, require
from raftcore.core.types import Entry, Index, Range, Recovered, Term

ENTRY_OVERHEAD_BYTES = 32
"""What an entry counts for beside its data, in memory and on the wire."""

_PIECES_MAX = 2
"""How many full pieces may be handed out and not yet applied."""

_UNCACHED_ENTRIES_MAX = 256
"""How many entries are handed out at once where their sizes are not known."""


class RaftLog:
    """A replica's log. ``commit``, ``durable`` and ``handed_out`` move by its methods only."""

    def __init__(self, recovered: Recovered, tail_bytes_max: int) -> None:
        """:raises LogLost: when the state machine or the hard state knows of entries that the log lost.
        :raises Corrupt: when the state machine lacks entries that the log no longer has.
        """
        first, last = recovered.first_index, recovered.last_index
        for what, index in (("applied", recovered.applied), ("committed", recovered.hard_state.commit)):
            if index > last:
                raise LogLost(f"the log ends at {last} but {index} was {what}")
        if recovered.applied < first - 1:
            raise Corrupt(f"the state machine stands at {recovered.applied} but the log begins at {first}")
        self.first = first
        self.last = last
        self.commit = Index(max(recovered.hard_state.commit, recovered.applied))
        self.applied = recovered.applied
        self.handed_out = recovered.applied
        self.durable = last
        self._previous_term = recovered.previous_term
        self._run_starts = [start for start, _ in recovered.term_runs]
        self._run_terms = [term for _, term in recovered.term_runs]
        self._tail_bytes_max = tail_bytes_max
        self._tail: list[Entry] = []
        self._tail_first = Index(last - len(recovered.tail) + 1)
        # _ends[k]: bytes of all entries ever cached up to and with _tail[k]: a range's size is a subtraction.
        self._ends: list[int] = []
        self._dropped_bytes = 0
        self._handed: deque[tuple[Index, int]] = deque()
        self._handed_bytes = 0
        self._cache(recovered.tail)
        if recovered.tail:
            require(recovered.tail[-1].index == last, "the recovered tail ends the log", last=last)

    @property
    def last_term(self) -> Term:
        return self._run_terms[-1] if self._run_terms else self._previous_term

    @property
    def tail_first(self) -> Index:
        """Entries from here on are in memory."""
        return self._tail_first

    def term(self, index: Index) -> Term | None:
        """The term at ``index``; None outside of ``[first - 1, last]``."""
        if index < self.first:
            return self._previous_term if index == self.first - 1 else None
        if index > self.last:
            return None
        if index >= self._run_starts[-1]:
            return self._run_terms[-1]
        return self._run_terms[bisect_right(self._run_starts, index) - 1]

    def known_term(self, index: Index) -> Term:
        """The term at an index that must be in the log. :raises InvariantViolation: when it is not."""
        term = self.term(index)
        if term is None:
            raise InvariantViolation(f"index {index} is outside of the log [{self.first}, {self.last}]")
        return term

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Whether a log that ends so has everything that may be committed here. Thesis §3.6.1."""
        own = self.last_term
        return last_term > own or (last_term == own and last_index >= self.last)

    def newest_at_most(self, index: Index, term: Term) -> tuple[Index, Term]:
        """The newest entry at or below ``index`` whose term is at most ``term``; (index, 0) where unknown.

        With it one probe skips a whole term, whichever log has it. For example, with the leader's term 5
        probing at index 9, the follower answers (6, 3), and the leader continues at 3, its last entry of a
        term not above 3::

            leader    1 1 1 5 5 5 5 5 5
            follower  1 1 1 3 3 3
        Thesis §3.5.
        """
        while index >= self.first:
            found = self.term(index)
            if found is None:
                return index, Term(0)
            if found <= term:
                return index, found
            index = Index(self._run_starts[bisect_right(self._run_starts, index) - 1] - 1)
        return index, self.term(index) or Term(0)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries right behind the last one."""
        require(
            entries[0].index == self.last + 1, "a log has no gaps", last=self.last, appended=entries[0].index
        )
        term = self.last_term
        for entry in entries:
            if entry.term != term or not self._run_terms:
                require(entry.term >= term, "terms in a log never fall", index=entry.index, term=entry.term)
                term = entry.term
                self._run_starts.append(entry.index)
                self._run_terms.append(term)
        self.last = entries[-1].index
        self._cache(entries)

    def truncate(self, truncate_from: Index) -> None:
        """Drop everything at or above ``truncate_from``.

        :raises InvariantViolation: when a committed entry would go.
        Thesis §3.5.
        """
        require(
            truncate_from > self.commit,
            "a committed entry is never dropped",
            truncate_from=truncate_from,
            commit=self.commit,
        )
        while self._run_starts and self._run_starts[-1] >= truncate_from:
            self._run_starts.pop()
            self._run_terms.pop()
        self.last = Index(truncate_from - 1)
        self.durable = min(self.durable, self.last)
        keep = max(0, truncate_from - self._tail_first)
        del self._tail[keep:]
        del self._ends[keep:]
        self._tail_first = min(self._tail_first, truncate_from)

    def slice(self, lo: Index, hi: Index) -> list[Entry] | None:
        """Entries ``[lo, hi)``, if all are in memory."""
        offset = lo - self._tail_first
        if offset < 0:
            return None
        return self._tail[offset : hi - self._tail_first]

    def reach(self, lo: Index, hi: Index, bytes_max: int) -> Index:
        """The end of the piece of ``[lo, hi)`` that begins at ``lo``: one entry or more, up to ``bytes_max``.

        ``lo`` must be in memory.
        """
        offset = lo - self._tail_first
        before = self._ends[offset - 1] if offset else self._dropped_bytes
        end = self._tail_first + bisect_right(self._ends, before + bytes_max, offset)
        return Index(min(hi, max(end, lo + 1)))

    def size(self, lo: Index, hi: Index) -> int:
        """Bytes of the entries of ``[lo, hi)`` that are in memory."""
        return self._bytes_before(hi) - self._bytes_before(lo)

    def advance_commit(self, index: Index) -> None:
        """The commit index only grows. Thesis §3.5."""
        require(
            self.commit <= index <= self.last,
            "the commit index moves forward within the log",
            commit=self.commit,
            to=index,
            last=self.last,
        )
        self.commit = index

    def advance_durable(self, index: Index) -> None:
        require(index <= self.last, "only what is in the log is durable", index=index, last=self.last)
        self.durable = max(self.durable, index)
        self._evict()

    def hand_out(self, bytes_max: int) -> Range | None:
        """The next piece of entries that are committed and durable here, and not yet handed out.

        None as well while too much is handed out and not yet applied.
        Thesis §3.5, §10.2.1.
        """
        if self._handed_bytes >= bytes_max * _PIECES_MAX:
            return None
        lo = Index(self.handed_out + 1)
        hi = Index(min(self.commit, self.durable) + 1)
        if lo >= hi:
            return None
        if lo >= self._tail_first:
            hi = self.reach(lo, hi, bytes_max)
            size = self.size(lo, hi)
        else:
            hi = min(hi, self._tail_first, Index(lo + _UNCACHED_ENTRIES_MAX))
            size = bytes_max
        self.handed_out = Index(hi - 1)
        self._handed.append((self.handed_out, size))
        self._handed_bytes += size
        return Range(lo, hi)

    def advance_applied(self, index: Index) -> None:
        """The state machine has applied everything up to ``index``."""
        if index <= self.applied:
            return
        require(
            index <= self.handed_out,
            "only what was handed out is applied",
            applied=self.applied,
            to=index,
            handed_out=self.handed_out,
        )
        self.applied = index
        handed = self._handed
        while handed and handed[0][0] <= index:
            self._handed_bytes -= handed.popleft()[1]

    def compact(self, first: Index) -> None:
        """Forget everything below ``first``, but for the term of its predecessor. Thesis §5."""
        if first <= self.first:
            return
        require(
            first <= self.applied + 1,
            "only what is applied is compacted",
            first=first,
            applied=self.applied,
        )
        self._previous_term = self.known_term(Index(first - 1))
        run = bisect_right(self._run_starts, first) - 1
        if first > self.last:
            self._run_starts, self._run_terms = [], []
        else:
            self._run_starts = [first, *self._run_starts[run + 1 :]]
            self._run_terms = self._run_terms[run:]
        self.first = first
        if first > self._tail_first:
            self._drop_cached(first - self._tail_first)

    def restart_after(self, index: Index, term: Term) -> None:
        """Replace the whole log by a snapshot of everything up to ``index``. Thesis §5."""
        self.first = Index(index + 1)
        self.last = index
        self._previous_term = term
        self._run_starts, self._run_terms = [], []
        self._tail, self._ends = [], []
        self._tail_first = self.first
        self.commit = self.durable = index
        self.applied = self.handed_out = index
        self._handed.clear()
        self._handed_bytes = 0

    def fast_forward_applied(self, index: Index) -> None:
        """A snapshot of everything up to ``index``, which the log has, was installed. Thesis §5."""
        self.commit = max(self.commit, index)
        self.applied = max(self.applied, index)
        self.handed_out = max(self.handed_out, index)
        self._handed.clear()
        self._handed_bytes = 0

    def _bytes_before(self, index: Index) -> int:
        offset = index - self._tail_first
        return self._ends[offset - 1] if offset > 0 else self._dropped_bytes

    def _cache(self, entries: Sequence[Entry]) -> None:
        end = self._ends[-1] if self._ends else self._dropped_bytes
        ends = self._ends
        for entry in entries:
            end += len(entry.data) + ENTRY_OVERHEAD_BYTES
            ends.append(end)
        self._tail.extend(entries)

    def _evict(self) -> None:
        """Keep the tail within its bound, in strides, since dropping from a list's front moves the rest.

        What is not yet durable and committed always stays: nobody else could give it back.
        """
        if not self._ends:
            return
        end = self._ends[-1]
        if end - self._dropped_bytes <= self._tail_bytes_max:
            return
        keep_bytes = self._tail_bytes_max - self._tail_bytes_max // 8
        count = min(bisect_left(self._ends, end - keep_bytes) + 1, len(self._tail) - 1)
        settled = min(self.durable, self.commit) + 1 - self._tail_first
        if (count := min(count, settled)) > 0:
            self._drop_cached(count)

    def _drop_cached(self, count: int) -> None:
        count = min(count, len(self._tail))
        if count:
            self._dropped_bytes = self._ends[count - 1]
            del self._tail[:count]
            del self._ends[:count]
        self._tail_first = Index(self._tail_first + count) if self._tail else Index(self.last + 1)
