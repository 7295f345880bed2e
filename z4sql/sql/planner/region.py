"""Sets of places in the key space: for each namespace, intervals of deliver_at.

A region is closed under union and intersection, so any AND/OR of bounds stays exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, TimeRange

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]
"""Half-open, ordered, not touching."""

EVER: Final[Intervals] = ((INSTANT_MIN, INSTANT_MAX),)
NEVER: Final[Intervals] = ()


def interval(from_us: int, to_us: int) -> Intervals:
    """``[from_us, to_us)``, cut to what can be stored."""
    lo, hi = max(from_us, INSTANT_MIN), min(to_us, INSTANT_MAX)
    return ((lo, hi),) if lo < hi else NEVER


def unite(left: Intervals, right: Intervals) -> Intervals:
    if not left or left == right:
        return right
    if not right:
        return left
    joined: list[Interval] = []
    for lo, hi in sorted(left + right):
        if joined and lo <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(hi, joined[-1][1]))
        else:
            joined.append((lo, hi))
    return tuple(joined)


def cut(left: Intervals, right: Intervals) -> Intervals:
    if left == EVER:
        return right
    if right == EVER:
        return left
    common: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        lo, hi = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if lo < hi:
            common.append((lo, hi))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)


@dataclass(slots=True, frozen=True)
class Region:
    """``named``: intervals of single namespaces; ``others``: of all the namespaces that are not named."""

    named: dict[str, Intervals] = field(default_factory=dict)
    others: Intervals = EVER

    def of(self, namespace: str) -> Intervals:
        return self.named.get(namespace, self.others)

    def __or__(self, other: Region) -> Region:
        named = {name: unite(self.of(name), other.of(name)) for name in self._names(other)}
        return Region(named, unite(self.others, other.others))

    def __and__(self, other: Region) -> Region:
        named = {name: cut(self.of(name), other.of(name)) for name in self._names(other)}
        return Region(named, cut(self.others, other.others))

    def _names(self, other: Region) -> Iterable[str]:
        return self.named.keys() | other.named.keys()

    @property
    def bounds_namespace(self) -> bool:
        return not self.others

    @property
    def bounds_time(self) -> bool:
        """Whether no namespace is open at both ends."""
        return self.others != EVER and EVER not in self.named.values()

    def ranges(self) -> tuple[TimeRange, ...]:
        """Its ranges, in the order of keys. Only for a region that bounds the namespace."""
        # Keys begin with the length of the namespace.
        names = sorted(self.named, key=lambda name: (len(name.encode()), name.encode()))
        return tuple(TimeRange(name, lo, hi) for name in names for lo, hi in self.named[name])


EVERYWHERE: Final = Region()
NOWHERE: Final = Region({}, NEVER)
