"""A leader's lease: until when nobody else can be elected, so that it may answer reads alone. Thesis §6.4.1.

Opt-in, since it rests on clocks: no clock of the shard may run faster than another by more than
``clock_drift_ppm_max``, and every replica must have the same ``election_timeout_us`` and ``lease_reads``.

- The lease counts from when a message *left*, not from when its answer came.
- Whoever has heard a leader votes for nobody else for an election timeout, whatever term it has seen since.
  A replica that starts has forgotten what it promised, and so votes for nobody for as long.
- Leadership may move at any time after a transfer has begun, since the request to campaign may arrive late:
  the lease is void for the rest of the term.
"""

from __future__ import annotations

from collections import deque

from raftcore.core.config import CoreConfig
from raftcore.core.types import Instant

_ROUNDING_US = 2
"""Two clocks are read in whole microseconds."""


class Lease:
    """Read positions and when they first left; what a quorum has echoed proves that it was heard since."""

    def __init__(self, config: CoreConfig) -> None:
        timeout_us = config.election_timeout_us
        self._length_us = timeout_us * 1_000_000 // (1_000_000 + config.clock_drift_ppm_max) - _ROUNDING_US
        self._sent: deque[tuple[int, Instant]] = deque()
        self._is_void = False

    def sent(self, position: int, now: Instant) -> None:
        """Messages with a new ``position`` leave at or after ``now``."""
        sent = self._sent
        while sent and now - sent[0][1] >= self._length_us:
            sent.popleft()
        sent.append((position, now))

    def void(self) -> None:
        """A transfer begins. Thesis §6.4.1."""
        self._is_void = True

    def holds(self, quorum_position: int, now: Instant) -> bool:
        """Whether a quorum that has echoed ``quorum_position`` still elects nobody else at ``now``.

        The position is that of the membership in force now: a quorum of an earlier one may not meet its
        quorums any more.
        """
        if self._is_void:
            return False
        sent = self._sent
        while len(sent) > 1 and sent[1][0] <= quorum_position:
            sent.popleft()
        return bool(sent) and sent[0][0] <= quorum_position and now - sent[0][1] < self._length_us
