"""What producers and consumers did to a cluster, what they were told and when; and what was there at the end.

Instants are microseconds of the harness' wall clock, except where they are said to be the leader's. A request
whose answer never came has the outcome UNKNOWN and ended when its caller gave up.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from z4sql.tasks.events import EVENTS_MAX

NEVER_US = 1 << 62
"""Stands for the end of what has not ended."""


class Outcome(StrEnum):
    OK = "ok"
    FAIL = "fail"
    """Nothing was done."""
    UNKNOWN = "unknown"


class Word(StrEnum):
    """What a consumer says of a lease."""

    ACK = "ack"
    NACK = "nack"
    DEAD = "dead"
    EXTEND = "extend"


@dataclass(slots=True)
class Created:
    """One try to create a task; several may carry the same ``request_id``.

    ``deliver_at_us`` None and ``tts_s`` 0: now.
    """

    request_id: str
    payload: str
    deliver_at_us: int | None
    tts_s: int
    expire_at_us: int | None
    invoked_us: int
    ended_us: int = NEVER_US
    outcome: Outcome = Outcome.UNKNOWN
    task_id: str = ""

    @property
    def due_us(self) -> int:
        """Before this the task that this try would make is not due."""
        if self.tts_s > 0:
            return self.invoked_us + self.tts_s * 1_000_000
        return self.invoked_us if self.deliver_at_us is None else self.deliver_at_us


@dataclass(slots=True)
class Delivered:
    """``leased_us``, ``lease_until_us`` and ``task_due_us`` (its deliver_at) are the leader's."""

    consumer: str
    task_id: str
    request_id: str
    payload: str
    token: int
    attempt: int
    received_us: int
    leased_us: int
    lease_until_us: int
    task_due_us: int


@dataclass(slots=True)
class Said:
    """``span_us``: the delay of a nack, the length of an extension."""

    consumer: str
    task_id: str
    token: int
    word: Word
    invoked_us: int
    span_us: int = 0
    ended_us: int = NEVER_US
    outcome: Outcome = Outcome.UNKNOWN


@dataclass(slots=True)
class Canceled:
    task_id: str
    invoked_us: int
    ended_us: int = NEVER_US
    outcome: Outcome = Outcome.UNKNOWN


@dataclass(slots=True)
class Left:
    """A consumer went, without a word about what it held."""

    consumer: str
    invoked_us: int


@dataclass(slots=True)
class Fault:
    """``ended_us``: when all peers answered again."""

    name: str
    started_us: int
    ended_us: int = NEVER_US


@dataclass(slots=True)
class Step:
    """An event of a task's life as the cluster recorded it."""

    kind: str
    at_us: int
    attempt: int
    detail: str


@dataclass(slots=True)
class Final:
    """A task as a peer holds it in the end; ``steps`` oldest first, the newest of them, or none."""

    task_id: str
    request_id: str
    payload: str
    state: str
    attempts: int
    due_us: int
    next_attempt_us: int | None
    steps: list[Step] = field(default_factory=list)

    @property
    def whole_life(self) -> bool:
        """Whether no step is missing: of long lives only the newest are kept, besides the first."""
        return 0 < len(self.steps) < EVENTS_MAX


@dataclass(slots=True)
class Ending:
    """What was found when all had been at rest; ``ended_us`` when that was.

    ``tasks`` by peer, ``counts`` of states as each peer's SQL tells them, ``hashes`` of the peers' states at
    one index, ``audits``: what does not fit together in the store of each peer that was stopped.
    """

    ended_us: int
    tasks: dict[str, list[Final]]
    counts: dict[str, dict[str, int]]
    hashes: dict[str, str]
    audits: dict[str, list[str]]


@dataclass(slots=True)
class History:
    """``calm_us``: when the last fault had ended. ``attempts_max`` is the namespace's setting."""

    attempts_max: int
    creates: list[Created] = field(default_factory=list)
    deliveries: list[Delivered] = field(default_factory=list)
    sayings: list[Said] = field(default_factory=list)
    cancels: list[Canceled] = field(default_factory=list)
    leavings: list[Left] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    calm_us: int = NEVER_US

    def disturbed(self, from_us: int, to_us: int, aftermath_us: int) -> bool:
        """Whether some fault, or what came of it, touches the time."""
        return any(one.started_us <= to_us and from_us <= one.ended_us + aftermath_us for one in self.faults)

    def save(self, path: Path, ending: Ending | None) -> None:
        """As JSON, for eyes."""
        path.write_text(json.dumps({"history": asdict(self), "ending": ending and asdict(ending)}, indent=1))

    def summary(self) -> str:
        """How much of what happened, in one line."""
        said = [f"{count} {name}" for name, count in _counted(one.word.value for one in self.sayings)]
        told = [f"{name} {count}" for name, count in _counted(one.outcome.value for one in self.sayings)]
        made = [f"{name} {count}" for name, count in _counted(one.outcome.value for one in self.creates)]
        again = len(self.deliveries) - len({one.task_id for one in self.deliveries})
        return (
            f"{len(self.creates)} creates ({', '.join(made)}), "
            f"{len(self.deliveries)} deliveries ({again} again), {', '.join(said)} ({', '.join(told)}), "
            f"{len(self.cancels)} cancels, {len(self.leavings)} left, "
            f"faults: {', '.join(one.name for one in self.faults)}"
        )


def now_us() -> int:
    return time.time_ns() // 1000


def _counted(names: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, len(list(group))) for name, group in itertools.groupby(sorted(names))]
