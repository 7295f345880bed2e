"""What an answer was made of, to tell whether the same question would still get it."""

from __future__ import annotations

from dataclasses import dataclass

from z4sql.sql.scan.request import TimeRange
from z4sql.sql.scan.segments import SegmentCache
from z4sql.tasks.keys import namespace_part


@dataclass(slots=True, frozen=True, eq=False)
class Basis:
    """The tasks of ``ranges`` as they were when ``segments`` had seen so many ``changes``, or later."""

    ranges: tuple[TimeRange, ...]
    segments: SegmentCache
    changes: int

    @property
    def holds(self) -> bool:
        """Whether these tasks are known to be as they were."""
        spaces = [(namespace_part(one.namespace.encode()), one.from_us, one.to_us) for one in self.ranges]
        return self.segments.unchanged(spaces, self.changes)
