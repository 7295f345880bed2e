"""The commands of this replica's clients: queued, then grouped into entries, then decided.

A command ends in exactly one way:

- still queued when leadership is lost: `NotLeader`, for it is in no log;
- in an entry that is applied with the term it was proposed in: its result;
- in an entry whose index was applied with another term: `NotLeader`, for by Leader Completeness the entry can
  never be committed any more (thesis §3.6.3). That a follower's log merely *overwrote* it proves nothing: a
  third replica may still hold it, be elected, and commit it;
- otherwise, a bounded time after leadership was lost, or when the replica stops: `OutcomeUnknown`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from raftcore.core.errors import Busy, OutcomeUnknown, RaftError, require
from raftcore.core.types import Index, Instant, Term
from raftcore.replica.turn import ChangeDone, Done


@dataclass(slots=True)
class PendingEntry:
    """One proposed entry: the calls that wait for it, in the order of its commands."""

    index: Index
    term: Term
    dones: Sequence[Done]
    change_done: ChangeDone | None
    size: int = 0
    """Bytes of its data."""
    give_up_at: Instant | None = None
    """Set once leadership is lost."""

    def succeed(self, results: Sequence[bytes]) -> None:
        if self.change_done is not None:
            self.change_done(self.index)
        require(
            len(results) == len(self.dones),
            "applying gives one result per command",
            index=self.index,
            commands=len(self.dones),
            results=len(results),
        )
        for done, result in zip(self.dones, results, strict=True):
            done(result)

    def fail(self, make_error: Callable[[], RaftError]) -> None:
        if self.change_done is not None:
            self.change_done(make_error())
        for done in self.dones:
            done(make_error())


class CommandQueue:
    """Commands that are in no entry yet. Bounded by bytes and by count."""

    def __init__(self, bytes_max: int, commands_max: int) -> None:
        self._bytes_max = bytes_max
        self._commands_max = commands_max
        self._commands: deque[bytes] = deque()
        self._dones: deque[Done] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._commands)

    def push(self, command: bytes, done: Done) -> None:
        """:raises Busy: when a bound is full. A command larger than the bound fits into an empty queue."""
        size = self._bytes + len(command)
        if self._commands and (size > self._bytes_max or len(self._commands) >= self._commands_max):
            raise Busy(f"{len(self._commands)} commands of {self._bytes} bytes are queued")
        self._bytes = size
        self._commands.append(command)
        self._dones.append(done)

    def peek_group(self, bytes_max: int, commands_max: int) -> list[bytes]:
        """The commands of the next entry: as many as the bounds allow, at least one."""
        if self._bytes <= bytes_max and len(self._commands) <= commands_max:
            return list(self._commands)
        group: list[bytes] = []
        size = 0
        for command in self._commands:
            size += len(command)
            if group and (size > bytes_max or len(group) >= commands_max):
                break
            group.append(command)
        return group

    def take(self, count: int) -> Sequence[Done]:
        """Remove the first ``count`` commands; returns who waits for them."""
        if count == len(self._commands):
            dones = self._dones
            self._commands, self._dones, self._bytes = deque(), deque(), 0
            return dones
        pop = self._commands.popleft
        self._bytes -= sum(len(pop()) for _ in range(count))
        pop_done = self._dones.popleft
        return [pop_done() for _ in range(count)]

    def fail_all(self, make_error: Callable[[], RaftError]) -> None:
        for done in self.take(len(self._commands)):
            done(make_error())


class PendingTable:
    """Proposed entries that are not decided: those of the present leadership, and what earlier ones left."""

    def __init__(self, undecided_wait_us: int) -> None:
        self._undecided_wait_us = undecided_wait_us
        self._own: deque[PendingEntry] = deque()
        """Ascending by index, all of one term: a leader never overwrites its own log."""
        self._orphans: deque[PendingEntry] = deque()
        """Ascending by ``give_up_at``."""
        self._own_bytes = 0

    @property
    def own_bytes(self) -> int:
        """Bytes of this leadership's entries that are not applied yet."""
        return self._own_bytes

    def add(self, entry: PendingEntry) -> None:
        require(
            not self._own or (self._own[-1].term == entry.term and self._own[-1].index < entry.index),
            "a leader appends in order",
            index=entry.index,
            term=entry.term,
        )
        self._own.append(entry)
        self._own_bytes += entry.size

    def command_count(self) -> int:
        return sum(len(entry.dones) for entry in chain(self._own, self._orphans))

    def uncommitted_rounds(self, commit: Index) -> int:
        """Own entries of this leadership above ``commit``."""
        count = 0
        for entry in reversed(self._own):
            if entry.index <= commit:
                break
            count += 1
        return count

    def lose_leadership(self, leading_in: Term | None, now: Instant) -> None:
        """Entries of any other leadership than ``leading_in`` are decided by others now, within a bound."""
        if self._own and self._own[0].term != leading_in:
            for entry in self._own:
                entry.give_up_at = Instant(now + self._undecided_wait_us)
            self._orphans.extend(self._own)
            self._own.clear()
            self._own_bytes = 0

    def decided(self, index: Index, term: Term) -> tuple[PendingEntry | None, list[PendingEntry]]:
        """The entry (index, term) was applied: remove and return whose it is, and who lost that index.

        Matching by index alone would answer a client with the result of somebody else's command.
        """
        winner: PendingEntry | None = None
        losers: list[PendingEntry] = []
        while self._own and self._own[0].index <= index:
            entry = self._own.popleft()
            self._own_bytes -= entry.size
            if entry.index == index and entry.term == term:
                winner = entry
            else:
                losers.append(entry)
        if self._orphans:
            undecided: deque[PendingEntry] = deque()
            for entry in self._orphans:
                if entry.index > index:
                    undecided.append(entry)
                elif entry.index == index and entry.term == term:
                    winner = entry
                else:
                    losers.append(entry)
            self._orphans = undecided
        return winner, losers

    def swallowed(self, last: Index) -> list[PendingEntry]:
        """A snapshot replaced the log up to ``last``: what it held of ours cannot be known any more."""
        gone = [entry for entry in chain(self._own, self._orphans) if entry.index <= last]
        self._own = deque(entry for entry in self._own if entry.index > last)
        self._orphans = deque(entry for entry in self._orphans if entry.index > last)
        self._own_bytes = sum(entry.size for entry in self._own)
        return gone

    def give_up_at(self) -> Instant | None:
        return self._orphans[0].give_up_at if self._orphans else None

    def give_up(self, now: Instant) -> list[PendingEntry]:
        """Remove and return the entries that have waited long enough for a decision."""
        late: list[PendingEntry] = []
        while self._orphans and (self._orphans[0].give_up_at or 0) <= now:
            late.append(self._orphans.popleft())
        return late

    def take_all(self) -> list[PendingEntry]:
        entries = [*self._orphans, *self._own]
        self._own.clear()
        self._orphans.clear()
        self._own_bytes = 0
        return entries


def unknown_outcome() -> RaftError:
    return OutcomeUnknown("the entry was proposed, and its fate is not known here")
