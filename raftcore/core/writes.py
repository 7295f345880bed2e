"""What must go to disk, and what is known to be there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from raftcore.core.errors import require
from raftcore.core.log import RaftLog
from raftcore.core.membership import ConfigHistory
from raftcore.core.ready import WriteSet
from raftcore.core.types import HardState, Index, NodeId, Term, Token


@dataclass(slots=True)
class _Issued:
    """A write under way. ``last`` falls when entries that it carries are truncated before it is durable."""

    token: Token
    last: Index
    term: Term
    vote: NodeId


class WriteQueue:
    """Turns changes of log and hard state into `WriteSet`s and tokens back into what is durable.

    Remembering a mere (index, term) per write would not do, since a tail may be replaced and come back:
    A writes 5-6 of term 1, B overwrites 5 with term 2, C overwrites 5 with 5-6 of term 1 again. When A is
    durable, entry 6 looks durable too, but a crash in which B survives and C does not loses it. Therefore a
    truncation lowers what every write under way may still vouch for (etcd-io/raft #8).
    """

    def __init__(self, state: HardState, log: RaftLog) -> None:
        self._log = log
        self._written = state
        self._durable_vote = (state.term, state.vote)
        self._next_token = Token(1)
        self._next_index = Index(log.last + 1)
        self._truncate_from = Index(0)
        self._issued: deque[_Issued] = deque()

    @property
    def durable_vote(self) -> tuple[Term, NodeId]:
        """The term and vote that survive a crash."""
        return self._durable_vote

    def truncated(self, truncate_from: Index) -> None:
        """Entries at or above ``truncate_from`` are no longer in the log."""
        if truncate_from < self._next_index:
            self._truncate_from = min(self._truncate_from or truncate_from, truncate_from)
            self._next_index = truncate_from
        for issued in self._issued:
            issued.last = min(issued.last, Index(truncate_from - 1))

    def restarted(self, commit: Index) -> None:
        """The whole log was replaced, durably, by a snapshot of everything up to ``commit``."""
        for issued in self._issued:
            issued.last = Index(0)
        self._truncate_from = Index(0)
        self._next_index = Index(self._log.last + 1)
        self._written = HardState(self._written.term, self._written.vote, commit)

    def take(self, state: HardState, configs: ConfigHistory, *, commit_may_wait: bool) -> WriteSet | None:
        """Everything that changed since the last call, as one atomic write.

        A commit index alone needs no sync; with ``commit_may_wait`` it is not even written, lest messages
        that wait for an earlier write be tied to one that nobody syncs.
        Thesis §3.8.
        """
        log, written = self._log, self._written
        has_promised = state.term != written.term or state.vote != written.vote
        has_entries = log.last >= self._next_index
        must_sync = has_promised or has_entries or self._truncate_from > 0
        if not must_sync and (state.commit == written.commit or commit_may_wait):
            return None
        entries = log.slice(self._next_index, Index(log.last + 1)) if has_entries else []
        require(entries is not None, "what is not written yet is in memory", next_index=self._next_index)
        write = WriteSet(
            token=self._next_token,
            hard_state=state if state != written else None,
            truncate_from=self._truncate_from,
            entries=entries or [],
            configs=configs.since(self._next_index),
            must_sync=must_sync,
        )
        self._issued.append(
            _Issued(write.token, log.last if has_entries else Index(0), state.term, state.vote)
        )
        self._next_token = Token(self._next_token + 1)
        self._next_index = Index(log.last + 1)
        self._truncate_from = Index(0)
        self._written = state
        return write

    def persisted(self, token: Token) -> Index:
        """Write ``token`` and all before it are durable; the newest entry that they vouch for, or 0.

        Thesis §10.2.1.
        """
        require(token < self._next_token, "only a write that was issued can be durable", token=token)
        issued = self._issued
        last = Index(0)
        while issued and issued[0].token <= token:
            write = issued.popleft()
            last = max(last, write.last)
            self._durable_vote = (write.term, write.vote)
        return last
