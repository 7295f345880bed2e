"""Quorums as pure functions over what is known of each voter.

Commit index, votes, confirmed reads and quorum contact are all the same question: how far has a majority got?
In a joint membership both majorities must agree. Thesis §4.3.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import IntEnum

from raftcore.core.types import Membership, NodeId

EVERYTHING = sys.maxsize
"""What the empty majority agrees on: it does not hold back the other one."""


class VoteResult(IntEnum):
    PENDING = 0
    LOST = 1
    WON = 2


def majority_reached(voters: frozenset[NodeId], reached: Mapping[NodeId, int]) -> int:
    """The largest value that a majority of ``voters`` has reached; whoever is not named stands at 0.

    Thesis §3.6.2.
    """
    if not voters:
        return EVERYTHING
    ordered = sorted([reached.get(voter, 0) for voter in voters])
    return ordered[(len(ordered) - 1) // 2]


def committed_index(membership: Membership, match: Mapping[NodeId, int]) -> int:
    """The largest index that a quorum has reached; learners and strangers in ``match`` do not count.

    Thesis §3.6.2, §4.3.
    """
    reached = majority_reached(membership.voters, match)
    if membership.outgoing:
        return min(reached, majority_reached(membership.outgoing, match))
    return reached


def majority_voted(voters: frozenset[NodeId], votes: Mapping[NodeId, bool]) -> VoteResult:
    """How the election stands among ``voters``; whoever is not named has not voted yet. Thesis §3.4."""
    granted = sum(votes.get(voter, False) for voter in voters)
    refused = sum(voter in votes for voter in voters) - granted
    quorum = len(voters) // 2 + 1
    if granted >= quorum or not voters:
        return VoteResult.WON
    if refused > len(voters) - quorum:
        return VoteResult.LOST
    return VoteResult.PENDING


def vote_result(membership: Membership, votes: Mapping[NodeId, bool]) -> VoteResult:
    """How the election stands in ``membership``: lost as soon as one majority is lost. Thesis §4.3."""
    incoming = majority_voted(membership.voters, votes)
    outgoing = majority_voted(membership.outgoing, votes)
    if VoteResult.LOST in (incoming, outgoing):
        return VoteResult.LOST
    return min(incoming, outgoing)
