"""Stored tasks and namespaces as messages of the API, and instants from messages."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from z4sql.api._pb import z4_pb2 as pb
from z4sql.tasks.events import EVENT_NAMES
from z4sql.tasks.model import NANOS_WRONG_US, NamespaceSettings, Task
from z4sql.tasks.record import STATE_NAMES


def set_instant(stamp: Timestamp, instant_us: int) -> None:
    stamp.seconds, microseconds = divmod(instant_us, 1_000_000)
    stamp.nanos = microseconds * 1000


def instant_us(at: Timestamp) -> int:
    """Microseconds, UTC. Never early: what is finer than a microsecond is rounded up.

    Impossible nanoseconds are found where instants are checked.
    """
    if at.nanos < 0 or at.nanos > 999_999_999:
        return NANOS_WRONG_US
    return at.seconds * 1_000_000 + -(-at.nanos // 1000)


def task_message(task: Task, *, with_events: bool = True) -> pb.Task:
    """``with_events`` off: without the events of its life, as deliveries are sent."""
    message = pb.Task(
        id=task.id,
        namespace=task.namespace,
        metadata=task.metadata,
        payload=task.payload,
        state=STATE_NAMES[task.state],
        attempts=task.attempts,
        lease_owner=task.lease_owner,
        last_error=task.last_error,
        etag=task.etag,
        request_id=task.request_id,
    )
    set_instant(message.deliver_at, task.deliver_at_us)
    set_instant(message.created_at, task.created_at_us)
    for stamp, instant in (
        (message.last_retry, task.last_attempt_at_us),
        (message.next_attempt_at, task.next_attempt_at_us),
        (message.lease_until, task.lease_until_us),
        (message.finished_at, task.finished_at_us),
        (message.expire_at, task.expire_at_us),
    ):
        if instant is not None:
            set_instant(stamp, instant)
    if with_events:
        for event in task.events:
            added = message.events.add(
                kind=EVENT_NAMES[event.kind], attempt=event.attempt, detail=event.detail
            )
            set_instant(added.at, event.at_us)
    return message


def namespace_message(name: str, settings: NamespaceSettings) -> pb.Namespace:
    message = pb.Namespace(
        id=name,
        ack_deadline_seconds=settings.ack_deadline_seconds,
        attempts_max=settings.attempts_max,
        backoff_min_ms=settings.backoff_min_ms,
        backoff_max_ms=settings.backoff_max_ms,
        backoff_multiplier=settings.backoff_multiplier,
        retention_seconds=settings.retention_seconds,
        paused=settings.paused,
    )
    if settings.paused_until_us is not None:
        set_instant(message.paused_until, settings.paused_until_us)
    set_instant(message.created_at, settings.created_at_us)
    return message
