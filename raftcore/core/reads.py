"""Linearizable reads without writing: ReadIndex, thesis §6.4.

A leader numbers its reads by *position*, which only grows within its term. Every message to a peer carries
the newest position, every reply echoes the one it answers, and what a quorum has echoed is confirmed. A retry
needs no bookkeeping, and an old reply cannot confirm a newer read (etcd #20418, etcd-io/raft #397).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from raftcore.core.types import NO_NODE, Index, Instant, NodeId

LOCAL = NO_NODE
"""The origin of a replica's own reads."""


@dataclass(slots=True, frozen=True)
class Read:
    """A read and the replica that it came from."""

    origin: NodeId
    id: int


@dataclass(slots=True)
class _Batch:
    position: int
    index: Index
    reads: list[Read]


class ReadQueue:
    """The leader's side: reads that no quorum has confirmed yet."""

    def __init__(self, reads_max: int) -> None:
        self.position = 0
        self._reads_max = reads_max
        self._count = 0
        self._parked: list[Read] = []
        self._batches: deque[_Batch] = deque()
        self._is_open = False

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        return self._count >= self._reads_max

    def park(self, read: Read) -> None:
        """Keep a read that came before this term's first commit: its index is not known yet. Thesis §6.4."""
        self._parked.append(read)
        self._count += 1

    def unpark(self, commit: Index) -> None:
        """The term's first entry is committed: parked reads may ask for confirmation from now on."""
        parked, self._parked = self._parked, []
        self._count -= len(parked)
        for read in parked:
            self.add(read, commit)

    def add(self, read: Read, commit: Index) -> None:
        """Reads that come between two sendings share a position: no message has left between them."""
        if self._is_open:
            batch = self._batches[-1]
            batch.index = commit
            batch.reads.append(read)
        else:
            self.position += 1
            self._is_open = True
            self._batches.append(_Batch(self.position, commit, [read]))
        self._count += 1

    def advance(self) -> int:
        """A new position for messages that leave now: who echoes it has heard this leader since."""
        self.position += 1
        return self.position

    def close(self) -> bool:
        """Messages leave now; whether they must tell peers of a new position."""
        was_open, self._is_open = self._is_open, False
        return was_open

    def confirm(self, position: int) -> Iterator[tuple[Read, Index]]:
        """Take out the reads that a quorum has confirmed, each with its read index."""
        batches = self._batches
        while batches and batches[0].position <= position:
            batch = batches.popleft()
            self._count -= len(batch.reads)
            for read in batch.reads:
                yield read, batch.index
        if not batches:
            self._is_open = False

    def fail(self) -> list[Read]:
        """Take out all reads: this replica leads no more."""
        failed = self._parked + [read for batch in self._batches for read in batch.reads]
        self._parked, self._count = [], 0
        self._batches.clear()
        return failed


class ForwardedReads:
    """A follower's side: reads whose index the leader was asked for. One request stands for a whole turn's.

    ``first_id`` must not come again after a restart: a late reply to an earlier life would answer a new read.
    """

    def __init__(self, first_id: int, reads_max: int) -> None:
        self._next_request = first_id
        self._reads_max = reads_max
        self._count = 0
        self._asking: list[int] = []
        self._asked: dict[int, tuple[Instant, list[int]]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        return self._count >= self._reads_max

    @property
    def deadline(self) -> Instant | None:
        """When the oldest request has waited too long."""
        for deadline, _ in self._asked.values():
            return deadline
        return None

    def add(self, id: int) -> None:
        self._asking.append(id)
        self._count += 1

    def ask(self, deadline: Instant) -> int | None:
        """The id of the request that must leave now, if there are new reads."""
        if not self._asking:
            return None
        self._next_request += 1
        self._asked[self._next_request] = (deadline, self._asking)
        self._asking = []
        return self._next_request

    def answered(self, request: int) -> list[int]:
        """Take out the reads that ``request`` stood for."""
        _, ids = self._asked.pop(request, (None, []))
        self._count -= len(ids)
        return ids

    def expire(self, now: Instant) -> list[int]:
        """Take out the reads that have waited too long: request or reply was lost."""
        late = [request for request, (deadline, _) in self._asked.items() if deadline <= now]
        return [id for request in late for id in self.answered(request)]

    def fail(self) -> list[int]:
        """Take out all reads: their leader is gone."""
        failed = [id for _, ids in self._asked.values() for id in ids] + self._asking
        self._asked.clear()
        self._asking, self._count = [], 0
        return failed
