"""What producers give and get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from z4sql.api._pb import z4_pb2 as pb

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, frozen=True)
class NewTask:
    """A task to create. Give ``deliver_at`` (with a time zone) or ``delay``; neither means now.

    ``request_id`` is the idempotency key: the same one within the cluster's window gives the same task.
    """

    namespace: str
    deliver_at: datetime | None = None
    delay: timedelta | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b""
    request_id: str = ""

    def to_request(self) -> pb.CreateTaskRequest:
        """The request as it is sent. :raises ValueError: for a time without zone, or a bad delay."""
        request = pb.CreateTaskRequest(
            request_id=self.request_id,
            namespace=self.namespace,
            metadata=self.metadata,
            payload=self.payload,
        )
        at = self.deliver_at
        if self.delay is not None:
            if at is not None:
                raise ValueError("give deliver_at or delay, not both")
            if self.delay < timedelta(0):
                raise ValueError("delay must not be negative")
            if self.delay.microseconds or self.delay == timedelta(0):
                at = datetime.now(UTC) + self.delay
            else:
                request.tts_seconds = self.delay // timedelta(seconds=1)
        if at is not None:
            if at.tzinfo is None:
                raise ValueError("deliver_at needs a time zone, for example datetime.now(UTC)")
            microseconds = (at - _EPOCH) // timedelta(microseconds=1)
            request.deliver_at.seconds, fraction = divmod(microseconds, 1_000_000)
            request.deliver_at.nanos = fraction * 1000
        return request


@dataclass(slots=True, frozen=True)
class Task:
    """A stored task."""

    id: str
    namespace: str
    deliver_at: datetime
    created_at: datetime
    metadata: dict[str, str]
    payload: bytes
    state: str
    attempts: int
    last_error: str

    @classmethod
    def from_message(cls, message: pb.Task) -> Task:
        return cls(
            id=message.id,
            namespace=message.namespace,
            deliver_at=_instant(message.deliver_at),
            created_at=_instant(message.created_at),
            metadata=dict(message.metadata),
            payload=message.payload,
            state=message.state,
            attempts=message.attempts,
            last_error=message.last_error,
        )


def _instant(stamp: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
