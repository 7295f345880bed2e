"""What producers give, and what everybody gets. Instants are aware datetimes in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from z4sql.api._pb import z4_pb2 as pb
from z4sql.client.errors import InvalidTask
from z4sql.client.messages import message_of

UINT32_MAX = (1 << 32) - 1
_MS_MAX = timedelta.max // timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, frozen=True)
class NewTask:
    """A task to create. Give ``deliver_at`` (with a time zone) or ``delay``; neither means now.

    ``request_id`` is the idempotency key: the same one within the cluster's window gives the same task.
    At ``expire_at`` a task that is still waiting expires instead of being delivered.
    """

    namespace: str
    deliver_at: datetime | None = None
    delay: timedelta | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b""
    request_id: str = ""
    expire_at: datetime | None = None

    def to_request(self) -> pb.CreateTaskRequest:
        """The request as it is sent.

        :raises InvalidTask: :raises ValueError: :raises TypeError: naming the field that cannot be sent.
        """
        request = message_of(
            pb.CreateTaskRequest,
            request_id=self.request_id,
            namespace=self.namespace,
            metadata=self.metadata,
            payload=self.payload,
        )
        if self.delay is not None:
            if self.deliver_at is not None:
                raise ValueError("give deliver_at or delay, not both")
            # The cluster's clock decides: this one may be behind it, and the task would be early.
            request.tts_seconds, request.tts_ms = divmod(milliseconds(self.delay, "delay"), 1_000)
        if self.deliver_at is not None:
            set_instant(request.deliver_at, self.deliver_at, "deliver_at")
        if self.expire_at is not None:
            set_instant(request.expire_at, self.expire_at, "expire_at")
        return request


@dataclass(slots=True, frozen=True)
class TaskEvent:
    """One step of a task's life. ``detail``: the lease's owner, an error, or what was changed."""

    kind: str
    at: datetime
    attempt: int
    detail: str


@dataclass(slots=True, frozen=True)
class Task:
    """A stored task. ``state``: scheduled, leased, done, dead, canceled or expired."""

    id: str
    namespace: str
    deliver_at: datetime
    created_at: datetime
    metadata: dict[str, str]
    payload: bytes
    state: str
    attempts: int
    last_error: str
    last_attempt_at: datetime | None = None
    next_attempt_at: datetime | None = None
    lease_owner: str = ""
    lease_until: datetime | None = None
    finished_at: datetime | None = None
    expire_at: datetime | None = None
    etag: str = ""
    """Changes with every change of the task; for preconditions."""
    request_id: str = ""
    events: tuple[TaskEvent, ...] = ()
    """The newest of its life, oldest first; empty in deliveries."""

    @classmethod
    def from_message(cls, message: pb.Task) -> Task:
        return cls(
            id=message.id,
            namespace=message.namespace,
            deliver_at=instant_of(message.deliver_at),
            created_at=instant_of(message.created_at),
            metadata=dict(message.metadata),
            payload=message.payload,
            state=message.state,
            attempts=message.attempts,
            last_error=message.last_error,
            last_attempt_at=_given(message, "last_retry"),
            next_attempt_at=_given(message, "next_attempt_at"),
            lease_owner=message.lease_owner,
            lease_until=_given(message, "lease_until"),
            finished_at=_given(message, "finished_at"),
            expire_at=_given(message, "expire_at"),
            etag=message.etag,
            request_id=message.request_id,
            events=tuple(
                TaskEvent(event.kind, instant_of(event.at), event.attempt, event.detail)
                for event in message.events
            ),
        )


@dataclass(slots=True, frozen=True)
class Namespace:
    """How the tasks of a namespace are delivered and kept."""

    name: str
    ack_deadline_seconds: int
    """How long a consumer holds a task when it does not say otherwise."""
    attempts_max: int
    """After that many attempts a task is dead."""
    backoff_min_ms: int
    backoff_max_ms: int
    backoff_multiplier: float
    retention_seconds: int
    """How long a finished task is kept."""
    paused: bool
    """Nothing is delivered, until ``paused_until`` when that is given."""
    paused_until: datetime | None
    created_at: datetime

    def is_paused(self, at: datetime) -> bool:
        """Whether the pause, if any, lasts at ``at``."""
        return self.paused and (self.paused_until is None or at < self.paused_until)

    @classmethod
    def from_message(cls, message: pb.Namespace) -> Namespace:
        return cls(
            name=message.id,
            ack_deadline_seconds=message.ack_deadline_seconds,
            attempts_max=message.attempts_max,
            backoff_min_ms=message.backoff_min_ms,
            backoff_max_ms=message.backoff_max_ms,
            backoff_multiplier=message.backoff_multiplier,
            retention_seconds=message.retention_seconds,
            paused=message.paused,
            paused_until=_given(message, "paused_until"),
            created_at=instant_of(message.created_at),
        )


@dataclass(slots=True, frozen=True)
class ConnectedConsumer:
    """One that is connected to a namespace now."""

    name: str
    leases: int
    """Tasks that it holds."""
    credit: int
    """How many more it asked for."""
    draining: bool
    """It takes no more, and finishes what it holds."""

    @property
    def takes(self) -> bool:
        return self.credit > 0 and not self.draining


def instant_of(stamp: Timestamp) -> datetime:
    """To the microsecond."""
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def lease_milliseconds(length: timedelta) -> int:
    """A lease's length, rounded up: 0 would stand for another one. :raises InvalidTask:"""
    return max(1, milliseconds(length, "lease", UINT32_MAX))


def milliseconds(length: timedelta, field_name: str, limit_ms: int = _MS_MAX) -> int:
    """Whole milliseconds, rounded up. :raises InvalidTask: naming the field, below 0 or above the limit."""
    given: object = length
    if not isinstance(given, timedelta):
        raise TypeError(f"{field_name}: must be a timedelta, is {type(length).__name__}")
    whole = -(-length // timedelta(milliseconds=1))
    if length < timedelta(0):
        raise InvalidTask(f"{field_name}: must not be negative, is {length.total_seconds():g} s")
    if whole > limit_ms:
        raise InvalidTask(f"{field_name}: must not exceed {timedelta(milliseconds=limit_ms)}, is {length}")
    return whole


def set_instant(stamp: Timestamp, at: datetime, field_name: str) -> None:
    """:raises ValueError: naming ``field_name``, for a time without zone. :raises TypeError:"""
    given: object = at
    if not isinstance(given, datetime):
        raise TypeError(f"{field_name}: must be a datetime, is {type(given).__name__}")
    if at.tzinfo is None:
        raise ValueError(f"{field_name} needs a time zone, for example datetime.now(UTC)")
    microseconds = (at - _EPOCH) // timedelta(microseconds=1)
    stamp.seconds, fraction = divmod(microseconds, 1_000_000)
    stamp.nanos = fraction * 1000


def _given(message: Message, field_name: str) -> datetime | None:
    return instant_of(getattr(message, field_name)) if message.HasField(field_name) else None
