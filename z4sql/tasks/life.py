"""Commands that lead tasks through their lives, made on the leader; and what their results mean.

Whatever depends on time, chance or settings (when to try again, whether that was the last attempt) is decided
when a command is made and carried in it. What a command says it saw (the time of the attempt, the lease's
token, the etag) is compared with the record when it is applied: a task that went another way is left alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

from raftcore.core.errors import require
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.commands import COMMAND_VERSION, digest
from z4sql.tasks.due import Due
from z4sql.tasks.encoding import metadata_json
from z4sql.tasks.errors import InvalidTask, UnknownCommand
from z4sql.tasks.events import clipped
from z4sql.tasks.ids import parse_id
from z4sql.tasks.keys import namespace_part, place, time_bytes
from z4sql.tasks.model import (
    DELIVER_AT_MAX_US,
    DELIVER_AT_MIN_US,
    METADATA_BYTES_MAX,
    METADATA_PAIRS_MAX,
    PAYLOAD_BYTES_MAX,
    checked_namespace,
    checked_request_id,
    encoded,
    out_of_range,
)
from z4sql.tasks.record import ETAG_BYTES, LAST_ERROR_BYTES_MAX, LEASE_OWNER_BYTES_MAX, State

RANGE_LIMIT_MAX: Final = 1_000
"""Tasks that one change of a range examines at most, whatever its limit says."""
RETIRED_MAX: Final = 1_000
"""Places that one Retire command may name."""

K = TypeVar("K", bound=IntEnum)

_INSTANT_MAX = (1 << 63) - 1
_CHANGED_RANGE = struct.Struct("<II")
_RETIRED = struct.Struct("<II")


class SettleKind(IntEnum):
    """What is said of a lease; `Settlement.at_us` is what each needs."""

    ACK = 0
    """Done."""
    NACK = 1
    """Failed: scheduled at ``at_us``."""
    DEAD = 2
    """Failed, no further attempt."""
    EXTEND = 3
    """The lease ends at ``at_us``."""
    RELEASE = 4
    """Given back untouched: scheduled for the time that its lease named; the attempt does not count."""
    LEASE_EXPIRED = 5
    """The lease ended unanswered: scheduled at ``at_us``. Refused while the lease lasts, by the stamp."""
    LEASE_EXPIRED_DEAD = 6
    """As before, and attempts are used up."""


class Settlement(NamedTuple):
    """What is said of the lease ``token`` of the task at ``place``."""

    place: bytes
    token: int
    kind: SettleKind
    at_us: int = 0
    error: str = ""


class SettleOutcome(IntEnum):
    DONE = 0
    STALE = 1
    """The task is gone or not under this lease any more; nothing was done."""
    REPEATED = 2
    """An acknowledgement that was carried out before; nothing was done, and nothing more was asked for."""


_OUTCOMES: Final = tuple(SettleOutcome)


class ChangeKind(IntEnum):
    CANCEL = 0
    """scheduled, leased -> canceled"""
    RESCHEDULE = 1
    """A new deliver_at for a scheduled task; its id stays, and so does its expire_at."""
    RUN_NOW = 2
    """A scheduled task is due at once; attempts are kept."""
    UPDATE = 3
    """Metadata, payload or both of a scheduled task are replaced."""
    REDRIVE = 4
    """dead, expired, canceled -> scheduled, due at once, attempts from 0; a past expire_at is dropped."""
    REMOVE = 5
    """The task is forgotten, whatever its state."""


class RangeKind(IntEnum):
    PURGE = 0
    """The tasks are forgotten."""
    CANCEL = 1
    RUN_NOW = 2
    REDRIVE = 3


ALLOWED_STATES: Final[Mapping[ChangeKind, frozenset[State]]] = {
    ChangeKind.CANCEL: frozenset({State.SCHEDULED, State.LEASED}),
    ChangeKind.RESCHEDULE: frozenset({State.SCHEDULED}),
    ChangeKind.RUN_NOW: frozenset({State.SCHEDULED}),
    ChangeKind.UPDATE: frozenset({State.SCHEDULED}),
    ChangeKind.REDRIVE: frozenset({State.DEAD, State.EXPIRED, State.CANCELED}),
    ChangeKind.REMOVE: frozenset(State),
}
"""States in which a task can be changed so. A consumer would not see an update of what it holds."""

CHANGE_OF_RANGE: Final[Mapping[RangeKind, ChangeKind]] = {
    RangeKind.PURGE: ChangeKind.REMOVE,
    RangeKind.CANCEL: ChangeKind.CANCEL,
    RangeKind.RUN_NOW: ChangeKind.RUN_NOW,
    RangeKind.REDRIVE: ChangeKind.REDRIVE,
}
"""What a change of a range does to each task of it."""


class ChangeProblem(IntEnum):
    NOT_FOUND = 1
    WRONG_STATE = 2
    WRONG_ETAG = 3
    CONFLICT = 4
    """The request id was used for something else."""


@dataclass(slots=True, frozen=True)
class TaskChange:
    """One change of the task of an id; ``id_place`` by `id_place`.

    ``etag``: carried out only if the task's is this one, when given. ``deliver_at_us`` for RESCHEDULE.
    ``metadata`` and ``payload`` for UPDATE; None leaves it as it is.
    """

    id_place: bytes
    kind: ChangeKind
    etag: str = ""
    deliver_at_us: int = 0
    metadata: Mapping[str, str] | None = None
    payload: bytes | None = None


@dataclass(slots=True, frozen=True)
class RangeChange:
    """One change of the tasks at ``[from_place, to_place)`` (`range_places`); at most ``limit`` are examined.

    ``states``: only tasks in one of these; empty: in every state that the change is allowed in.
    """

    from_place: bytes
    to_place: bytes
    kind: RangeKind
    states: frozenset[State] = frozenset()
    limit: int = RANGE_LIMIT_MAX


@dataclass(slots=True, frozen=True)
class Changed:
    """``place``: where the task lies now, or lay when it was removed; None with a problem."""

    place: bytes | None
    problem: ChangeProblem | None


@dataclass(slots=True, frozen=True)
class RangeChanged:
    """``next_place``: the `RangeChange.from_place` of the next step; None at the end of the range."""

    changed: int
    examined: int
    next_place: bytes | None


@dataclass(slots=True, frozen=True)
class Retired:
    forgotten: int
    expired: int


def id_place(namespace: str, task_id: str) -> bytes:
    """The place that an id carries: where its task lies unless it was rescheduled.

    :raises InvalidTask: when the namespace or the id cannot exist.
    """
    part = namespace_part(checked_namespace(namespace))
    deliver_at_us, sequence = parse_id(task_id)
    if not -(1 << 63) <= deliver_at_us <= _INSTANT_MAX:
        raise InvalidTask("task_id", "holds a time out of range")
    return part + place(deliver_at_us, sequence)


def range_places(namespace: str, from_us: int, to_us: int) -> tuple[bytes, bytes]:
    """The places ``[lo, hi)`` of a namespace's tasks with deliver_at in ``[from_us, to_us)``.

    :raises InvalidTask: when the namespace cannot exist.
    """
    part = namespace_part(checked_namespace(namespace))
    hi = part + (time_bytes(to_us) if to_us <= _INSTANT_MAX else b"\xff" * 17)
    return part + time_bytes(max(from_us, -(1 << 63))), hi


class LifeCommands:
    """Makes commands on the leader; ``stamp_us`` is `z4sql.tasks.commands.CommandBuilder.stamp_us`."""

    def __init__(self, stamp_us: Callable[[], int]) -> None:
        self._stamp_us = stamp_us

    def lease(self, owner: str, lease_until_us: int, takes: Sequence[Due]) -> bytes:
        """Due tasks to one consumer, until ``lease_until_us``; see `lease_outcome`.

        Each is taken only if it is scheduled for just that time and the time has come by the command's stamp.
        """
        command = pb.Lease(
            places=[take.place for take in takes],
            next_attempt_at_us=[take.next_attempt_at_us for take in takes],
            lease_until_us=lease_until_us,
            owner=clipped(owner.encode(errors="replace"), LEASE_OWNER_BYTES_MAX),
        )
        return self._command(lease=command)

    def settle(self, items: Sequence[Settlement]) -> bytes:
        """What consumers and the leader say of leases, in order; see `settle_outcome`."""
        command = pb.Settle(
            places=[item.place for item in items],
            tokens=[item.token for item in items],
            kinds=bytes([item.kind for item in items]),
            at_us=[item.at_us for item in items],
            errors={
                position: clipped(item.error.encode(errors="replace"), LAST_ERROR_BYTES_MAX)
                for position, item in enumerate(items)
                if item.error
            },
        )
        return self._command(settle=command)

    def change_task(self, change: TaskChange, request_id: str = "") -> bytes:
        """One change of one task, idempotent under ``request_id`` when given; see `change_outcome`.

        :raises InvalidTask: naming what is wrong with the change.
        """
        checked_request_id(request_id)
        command = pb.ChangeTask(id_place=change.id_place, kind=pb.ChangeTask.Kind.Name(change.kind))
        if change.etag:
            command.etag = checked_etag(change.etag)
        if change.kind is ChangeKind.RESCHEDULE:
            if not DELIVER_AT_MIN_US <= change.deliver_at_us <= DELIVER_AT_MAX_US:
                raise out_of_range("deliver_at", change.deliver_at_us)
            command.deliver_at_us = change.deliver_at_us
        if change.kind is ChangeKind.UPDATE:
            _fill_update(command, change)
        asked = command.SerializeToString(deterministic=True) if request_id else b""
        return self._command(
            request_id=request_id,
            fingerprint=digest(b"change" + asked) if request_id else b"",
            change_task=command,
        )

    def change_tasks(self, change: RangeChange) -> bytes:
        """One step of a change of many tasks; see `range_outcome`."""
        command = pb.ChangeTasks(
            from_place=change.from_place,
            to_place=change.to_place,
            states=sum(1 << state for state in change.states),
            kind=pb.ChangeTasks.Kind.Name(change.kind),
            limit=max(1, min(change.limit, RANGE_LIMIT_MAX)),
        )
        return self._command(change_tasks=command)

    def retire(self, forget: Sequence[bytes], expire: Sequence[bytes]) -> bytes:
        """Places of finished tasks to forget, and of scheduled ones whose expire_at passed.

        At most `RETIRED_MAX` together; see `retire_outcome`.
        """
        require(len(forget) + len(expire) <= RETIRED_MAX, "a step of retirement is bounded")
        return self._command(retire=pb.Retire(forget=forget, expire=expire))

    def _command(
        self,
        *,
        request_id: str = "",
        fingerprint: bytes = b"",
        lease: pb.Lease | None = None,
        settle: pb.Settle | None = None,
        change_task: pb.ChangeTask | None = None,
        change_tasks: pb.ChangeTasks | None = None,
        retire: pb.Retire | None = None,
    ) -> bytes:
        return pb.Command(
            version=COMMAND_VERSION,
            stamp_us=self._stamp_us(),
            request_id=request_id,
            fingerprint=fingerprint,
            lease=lease,
            settle=settle,
            change_task=change_task,
            change_tasks=change_tasks,
            retire=retire,
        ).SerializeToString()


def checked_etag(etag: str) -> bytes:
    """An etag as it is compared. :raises InvalidTask: when no task can have it."""
    try:
        value = bytes.fromhex(etag)
    except ValueError:
        value = b""
    if len(value) != ETAG_BYTES:
        raise InvalidTask(
            "etag", f"must be the {2 * ETAG_BYTES} hexadecimal digits that a read of the task gave"
        )
    return value


def _fill_update(command: pb.ChangeTask, change: TaskChange) -> None:
    if change.metadata is None and change.payload is None:
        raise InvalidTask("update", "gives neither metadata nor payload")
    if change.metadata is not None:
        if len(change.metadata) > METADATA_PAIRS_MAX:
            raise InvalidTask(
                "metadata", f"has {len(change.metadata)} pairs; the limit is {METADATA_PAIRS_MAX}"
            )
        for name, value in change.metadata.items():
            encoded("metadata", name)
            encoded("metadata", value)
        command.metadata = metadata_json(change.metadata)
        if len(command.metadata) > METADATA_BYTES_MAX:
            raise InvalidTask(
                "metadata", f"has {len(command.metadata)} bytes as JSON; the limit is {METADATA_BYTES_MAX}"
            )
    if change.payload is not None:
        if len(change.payload) > PAYLOAD_BYTES_MAX:
            raise InvalidTask("payload", f"has {len(change.payload)} bytes; the limit is {PAYLOAD_BYTES_MAX}")
        command.payload = change.payload


def known_kind(kinds: type[K], number: int) -> K:
    """The kind of a number in the log. :raises UnknownCommand: when only a newer program knows it."""
    try:
        return kinds(number)
    except ValueError:
        raise UnknownCommand(f"{kinds.__name__} {number}") from None


def lease_result(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}Q", *tokens)


def lease_outcome(result: bytes) -> list[int]:
    """A token for each take, in order; 0 where the task was not taken."""
    return list(struct.unpack(f"<{len(result) // 8}Q", result))


def settle_outcome(result: bytes) -> list[SettleOutcome]:
    """One for each item, in order."""
    return [_OUTCOMES[outcome] for outcome in result]


def change_result(changed: Changed) -> bytes:
    """0 and the place, or the problem's number."""
    if changed.problem is not None:
        return bytes((changed.problem,))
    return b"\0" + (changed.place or b"")


def change_outcome(result: bytes) -> Changed:
    if result[0]:
        return Changed(None, ChangeProblem(result[0]))
    return Changed(result[1:], None)


def range_result(changed: RangeChanged) -> bytes:
    return _CHANGED_RANGE.pack(changed.changed, changed.examined) + (changed.next_place or b"")


def range_outcome(result: bytes) -> RangeChanged:
    changed, examined = _CHANGED_RANGE.unpack_from(result)
    return RangeChanged(changed, examined, result[_CHANGED_RANGE.size :] or None)


def retire_result(retired: Retired) -> bytes:
    return _RETIRED.pack(retired.forgotten, retired.expired)


def retire_outcome(result: bytes) -> Retired:
    return Retired(*_RETIRED.unpack(result))
