"""Tasks as the product speaks of them, and what is allowed in one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.events import TaskEvent
from z4sql.tasks.record import State

NAMESPACE_BYTES_MAX: Final = 255
REQUEST_ID_BYTES_MAX: Final = 255
METADATA_PAIRS_MAX: Final = 64
METADATA_BYTES_MAX: Final = 16 << 10
PAYLOAD_BYTES_MAX: Final = 1 << 20
DELIVER_AT_MIN_US: Final = 0
DELIVER_AT_MAX_US: Final = 253_402_300_799_999_999
"""9999-12-31 23:59:59.999999"""
NANOS_WRONG_US: Final = 1 << 62
"""Stands for an instant that was given with impossible nanoseconds."""
TTS_SECONDS_MAX: Final = 7_000 * 365 * 86_400
"""7000 years. The clock has no say in it: what was a good request is one when it is repeated later."""
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(slots=True)
class NewTask:
    """A task as asked for. ``deliver_at_us`` None and no delay (``tts_seconds``, ``tts_ms``) mean now."""

    namespace: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b""
    deliver_at_us: int | None = None
    tts_seconds: int = 0
    request_id: str = ""
    expire_at_us: int | None = None
    """Not delivered at or after this time."""
    tts_ms: int = 0
    """Adds to ``tts_seconds``."""

    @property
    def is_delayed(self) -> bool:
        return self.tts_seconds > 0 or self.tts_ms > 0

    def due_us(self, now_us: int) -> int:
        """When it is due, for a leader's clock of ``now_us``; a delay wins over a given time."""
        if self.tts_seconds > 0 or self.tts_ms:
            return now_us + self.tts_seconds * 1_000_000 + self.tts_ms * 1_000
        return now_us if self.deliver_at_us is None else self.deliver_at_us


def encoded(field_name: str, text: str) -> bytes:
    """``text`` as UTF-8. :raises InvalidTask: when it holds half of a surrogate pair."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidTask(field_name, "is not valid Unicode") from None


def checked_namespace(name: str) -> bytes:
    """A namespace's bytes. :raises InvalidTask:"""
    namespace = encoded("namespace", name)
    if not namespace:
        raise InvalidTask("namespace", "is required")
    if len(namespace) > NAMESPACE_BYTES_MAX:
        raise InvalidTask("namespace", f"has {len(namespace)} bytes; the limit is {NAMESPACE_BYTES_MAX}")
    if 0 in namespace:
        raise InvalidTask("namespace", "must not contain a NUL character")
    return namespace


def new_namespace(name: str) -> bytes:
    """As `checked_namespace`, for what may bring the namespace into being. :raises InvalidTask:"""
    namespace = checked_namespace(name)
    if _CONTROL.search(name):
        raise InvalidTask("namespace", "must not contain control characters")
    return namespace


def checked_request_id(request_id: str) -> bytes:
    """A request id's bytes. :raises InvalidTask: when it is too long."""
    request = encoded("request_id", request_id)
    if len(request) > REQUEST_ID_BYTES_MAX:
        raise InvalidTask("request_id", f"has {len(request)} bytes; the limit is {REQUEST_ID_BYTES_MAX}")
    return request


def out_of_range(field_name: str, instant_us: int) -> InvalidTask:
    """What is wrong with an instant that no task can have."""
    if instant_us == NANOS_WRONG_US:
        return InvalidTask(field_name, "has nanos outside 0 to 999999999")
    return InvalidTask(field_name, "must lie in the years 1970 to 9999")


def check_time(task: NewTask, due_us: int) -> None:
    """What is wrong is wrong whenever it is asked: a request that is repeated later has the same outcome.

    So a task that is past its expire_at when it arrives is created, and expires.

    :raises InvalidTask: when the task's time is out of range.
    """
    if task.tts_seconds < 0:
        raise InvalidTask("tts_seconds", f"must not be negative, is {task.tts_seconds}")
    if task.tts_seconds > TTS_SECONDS_MAX:
        raise InvalidTask("tts_seconds", f"must not exceed {TTS_SECONDS_MAX}, which are 7000 years")
    if not DELIVER_AT_MIN_US <= due_us <= DELIVER_AT_MAX_US:
        raise out_of_range("deliver_at", due_us)
    if task.expire_at_us is not None:
        if not DELIVER_AT_MIN_US <= task.expire_at_us <= DELIVER_AT_MAX_US:
            raise out_of_range("expire_at", task.expire_at_us)
        if task.expire_at_us <= due_us and task.deliver_at_us is not None and not task.is_delayed:
            raise InvalidTask("expire_at", "must be later than the time of delivery")


def check_sizes(task: NewTask, metadata_text: bytes) -> None:
    """:raises InvalidTask: when a part of the task is larger than allowed."""
    if len(task.payload) > PAYLOAD_BYTES_MAX:
        raise InvalidTask("payload", f"has {len(task.payload)} bytes; the limit is {PAYLOAD_BYTES_MAX}")
    if len(task.metadata) > METADATA_PAIRS_MAX:
        raise InvalidTask("metadata", f"has {len(task.metadata)} pairs; the limit is {METADATA_PAIRS_MAX}")
    if len(metadata_text) > METADATA_BYTES_MAX:
        raise InvalidTask(
            "metadata", f"has {len(metadata_text)} bytes as JSON; the limit is {METADATA_BYTES_MAX}"
        )


@dataclass(slots=True, frozen=True)
class Task:
    """A stored task. Instants are microseconds, UTC; None stands for NULL."""

    id: str
    namespace: str
    deliver_at_us: int
    created_at_us: int
    metadata: dict[str, str]
    payload: bytes
    state: State
    attempts: int
    next_attempt_at_us: int | None
    lease_owner: str
    lease_until_us: int | None
    last_error: str
    finished_at_us: int | None
    last_attempt_at_us: int | None
    request_id: str
    expire_at_us: int | None
    lease_token: int
    """Of its lease; when it is done, of the one it was acknowledged under. Else 0."""
    events: tuple[TaskEvent, ...]
    """The newest of its life, oldest first; the first one is always that it was created."""
    place: bytes
    """Where it lies: its key without the kind."""
    etag: str
    """Changes with every change of the task."""


@dataclass(slots=True, frozen=True)
class NamespaceSettings:
    """How the tasks of a namespace are delivered and kept; these are the cluster's defaults.

    Changed by `z4sql.tasks.settings`.
    """

    created_at_us: int = 0
    ack_deadline_seconds: int = 300
    attempts_max: int = 20
    backoff_min_ms: int = 1_000
    backoff_max_ms: int = 3_600_000
    backoff_multiplier: float = 2.0
    retention_seconds: int = 86_400
    paused: bool = False
    """Nothing is delivered; `is_paused` tells until when."""
    paused_until_us: int | None = None
    """When a pause ends by itself."""

    def is_paused(self, now_us: int) -> bool:
        """Whether the pause, if any, lasts at ``now_us``."""
        return self.paused and (self.paused_until_us is None or now_us < self.paused_until_us)

    def to_fields(self) -> dict[str, object]:
        return asdict(self)


@dataclass(slots=True, frozen=True)
class MemberAddresses:
    """Where a peer's listeners are, as it registered them."""

    name: str
    peer_address: str
    service_address: str
    sql_address: str
    metrics_address: str
