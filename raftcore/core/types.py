"""The vocabulary of the core: identifiers, entries, durable state, membership.

Indexes are 1-based; ranges are half-open ``[lo, hi)``; ``last`` is inclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

NodeId = NewType("NodeId", int)
"""A replica's id: the index of the entry that added it. Unique in its cluster, never reused."""

ShardId = NewType("ShardId", int)
Term = NewType("Term", int)
Index = NewType("Index", int)
Token = NewType("Token", int)
"""Names one write to the log; handed back by ``RaftCore.persisted``."""

Instant = NewType("Instant", int)
"""Microseconds on one host's monotonic clock. Never sent to another host."""

NO_NODE = NodeId(0)


class Role(IntEnum):
    """What a replica is doing. Voter or learner is a matter of `Membership`, not of role."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class EntryKind(IntEnum):
    NOOP = 0
    COMMANDS = 1
    CONFIG = 2


@dataclass(slots=True)
class Entry:
    """One slot of the log. ``data`` is opaque here: a group of commands, or an encoded `Membership`.

    ``encoded`` caches the entry's bytes as stored and sent, so that they are built once.
    Entries are never mutated after creation, but for that cache.
    """

    term: Term
    index: Index
    kind: EntryKind
    data: bytes
    encoded: bytes | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True, frozen=True)
class EntryId:
    term: Term
    index: Index


@dataclass(slots=True, frozen=True)
class Range:
    """Indexes ``[lo, hi)``."""

    lo: Index
    hi: Index


@dataclass(slots=True, frozen=True)
class HardState:
    """What must be durable before a promise leaves this replica. Thesis §3.8."""

    term: Term
    vote: NodeId
    commit: Index


@dataclass(slots=True, frozen=True)
class Member:
    """A replica as the cluster knows it. ``name`` is the user's; ``address`` is its peer port's host:port."""

    id: NodeId
    name: str
    address: str


@dataclass(slots=True, frozen=True)
class Membership:
    """Who votes and who only listens. Joint while ``outgoing`` is not empty. Thesis §4.3.

    ``members`` is the directory of everybody named in the sets, ordered by id.
    """

    voters: frozenset[NodeId]
    outgoing: frozenset[NodeId] = frozenset()
    learners: frozenset[NodeId] = frozenset()
    learners_next: frozenset[NodeId] = frozenset()
    members: tuple[Member, ...] = ()


@dataclass(slots=True, frozen=True)
class AddLearner:
    """Add a listening replica. Its id becomes the index of the entry that adds it."""

    name: str
    address: str


@dataclass(slots=True, frozen=True)
class Promote:
    """Make a learner that has caught up a voter. Thesis §4.2.1."""

    id: NodeId


@dataclass(slots=True, frozen=True)
class Remove:
    id: NodeId


ConfigChange = AddLearner | Promote | Remove


@dataclass(slots=True, frozen=True)
class SnapshotMeta:
    """What a snapshot stands for. ``membership_index`` is the index of the entry that made ``membership``."""

    index: Index
    term: Term
    membership: Membership
    membership_index: Index
    id: str = ""


@dataclass(slots=True)
class Recovered:
    """What the log store found when it was opened; the core starts from it.

    The log holds ``[first_index, last_index]``; ``previous_term`` is the term of ``first_index - 1``.
    ``term_runs`` lists (first index, term) of each run of equal terms, ascending.
    ``tail`` are the newest entries, ending at ``last_index``; it may be shorter than the log.
    ``configs`` are the memberships still in reach, oldest first, as (index, membership).
    ``applied`` is the state machine's durable applied index.
    """

    node: NodeId
    hard_state: HardState
    first_index: Index
    last_index: Index
    previous_term: Term
    term_runs: list[tuple[Index, Term]]
    tail: list[Entry]
    configs: list[tuple[Index, Membership]]
    applied: Index
