"""What consumers hold, what they are sent and how a lease ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from raftcore.core.errors import RaftError
from z4sql.tasks.keys import SUFFIX_BYTES
from z4sql.tasks.life import SettleOutcome

LEASE_MS_MIN: Final = 100
LEASE_MS_MAX: Final = 7 * 86_400_000
CREDIT_MAX: Final = 10_000
"""Tasks that one consumer may hold at most: what it asks beyond is not counted."""
NAMESPACES_MAX: Final = 100

Propose = Callable[[bytes, Callable[[bytes | RaftError], None]], None]
"""`raftcore.host.host.Host.propose`."""


class Closing(IntEnum):
    """Why a consumer was told to go."""

    MOVED = 0
    """This peer leads no more; leases live on, and the next leader takes acknowledgements for them."""
    STOPPING = 1


class Clock(Protocol):
    """The leader's clock in microseconds."""

    def stamp_us(self) -> int:
        """What commands are stamped with; never runs backwards. Whether a task is due is decided by it."""

    def wall_us(self) -> int:
        """The wall clock, from which it is reckoned how long to sleep."""


class Delivery(NamedTuple):
    """A leased task on its way to its consumer, as it is stored: where, its record, its payload."""

    task_id: str
    place: bytes
    record: bytes
    payload: bytes
    token: int

    @property
    def namespace(self) -> str:
        return self.place[1:-SUFFIX_BYTES].decode()


class Settled(NamedTuple):
    """How what was said of a lease ended; ``lease_until_us`` after an extension."""

    token: int
    outcome: SettleOutcome
    lease_until_us: int | None = None


class Observer(Protocol):
    """What is counted. ``namespace`` is its text."""

    def delivered(self, lateness_s: Sequence[float], again: int) -> None: ...

    def acknowledged(self, took_s: Sequence[float]) -> None: ...

    def settled(self, kind: str, outcome: SettleOutcome, namespace: str, count: int) -> None: ...

    def removed(self, why: str, namespace: str, count: int) -> None: ...

    def surveyed(self, namespace: str, counts: Mapping[str, int], oldest_due_age_s: float) -> None: ...
