"""Whether the reads and writes of one register, each written value unique, are linearizable: O(n log n).

Gibbons and Korach, "Testing shared memories" (1997), section 4. A value's cluster is its write and the reads
that saw it. If the first of them returned before the last was invoked, the register must hold the value all
that time: a forward zone. Otherwise one instant lies in every call of the cluster, and it fits at any instant
of its backward zone. The history is linearizable exactly when no read precedes its write, forward zones do
not overlap, and no backward zone lies inside a forward one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple


class Access(NamedTuple):
    """A read or a write as its client saw it: ``value`` was read or written."""

    is_write: bool
    value: Hashable
    invoked_at: float
    returned_at: float
    """Infinity when the outcome of a write is unknown."""
    position: int
    """Of the call in its history, for whoever reports on it."""


@dataclass(slots=True)
class _Cluster:
    accesses: list[Access] = field(default_factory=list)
    first_return: float = float("inf")
    last_invocation: float = float("-inf")
    written_at: float | None = None

    def add(self, access: Access) -> None:
        self.accesses.append(access)
        self.first_return = min(self.first_return, access.returned_at)
        self.last_invocation = max(self.last_invocation, access.invoked_at)
        if access.is_write:
            self.written_at = access.invoked_at

    @property
    def is_forward(self) -> bool:
        return self.first_return < self.last_invocation


def conflict(accesses: Iterable[Access], initial: Hashable) -> list[Access] | None:
    """Accesses that fit no order together, or None when all of them do.

    :raises ValueError: when a value is written twice; this check tells nothing of such a history.
    """
    clusters: dict[Hashable, _Cluster] = {}
    before_all = Access(True, initial, float("-inf"), float("-inf"), -1)
    for access in (before_all, *accesses):
        cluster = clusters.setdefault(access.value, _Cluster())
        if access.is_write and cluster.written_at is not None:
            raise ValueError(f"{access.value!r} is written twice")
        cluster.add(access)
    for cluster in clusters.values():
        if cluster.written_at is None or cluster.first_return < cluster.written_at:
            return _shown(cluster)
    # Nothing can lie inside the time before the history: a lone initial value takes part in no conflict.
    zones = [cluster for value, cluster in clusters.items() if value != initial or len(cluster.accesses) > 1]
    return _overlapping(zones)


def _overlapping(zones: list[_Cluster]) -> list[Access] | None:
    forward = sorted((zone for zone in zones if zone.is_forward), key=lambda zone: zone.first_return)
    for former, later in pairwise(forward):
        if later.first_return < former.last_invocation:
            return _shown(former, later)
    backward = sorted((zone for zone in zones if not zone.is_forward), key=lambda zone: zone.last_invocation)
    at = 0
    for zone in backward:
        # Forward zones are disjoint now: only the last that began before this one can contain it.
        while at + 1 < len(forward) and forward[at + 1].first_return < zone.last_invocation:
            at += 1
        if not forward:
            return None
        around = forward[at]
        if around.first_return < zone.last_invocation and zone.first_return < around.last_invocation:
            return _shown(around, zone)
    return None


def _shown(*clusters: _Cluster) -> list[Access]:
    accesses = [access for cluster in clusters for access in cluster.accesses if access.position >= 0]
    return sorted(accesses, key=lambda access: access.invoked_at)
