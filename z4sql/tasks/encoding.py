"""Records: built once by the leader, stored as they are by every replica, read back for a single task."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from json.encoder import encode_basestring as _quote

from raftcore.core.errors import require
from z4sql.tasks.events import EventKind, TaskEvent, decode_events
from z4sql.tasks.ids import format_id
from z4sql.tasks.keys import SUFFIX_BYTES, namespace_part, unpack_place
from z4sql.tasks.model import METADATA_PAIRS_MAX, Task
from z4sql.tasks.record import (
    FLAG_MOVED,
    FLAG_PAYLOAD_APART,
    HEADER,
    NONE,
    PAYLOAD_INLINE_BYTES_MAX,
    RECORD_VERSION,
    STATE_AT,
    Record,
    State,
    etag,
    token_of,
)

_ATTEMPTS, _ATTEMPTS_AT = struct.Struct("<I"), 4
_PAYLOAD_LENGTH, _PAYLOAD_LENGTH_AT = struct.Struct("<I"), 52
"""See `z4sql.tasks.record`."""
_PLANS_MAX = 1024
_PLAN_CHARACTERS_MAX = 1024
_plans: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {}


def metadata_json(metadata: Mapping[str, str]) -> bytes:
    """Metadata as MySQL prints a JSON object: keys by (byte length, bytes), ``", "`` and ``": "`` between.

    MySQL manual: The JSON Data Type, Normalization. The order of a set of keys is worked out once: services
    use few sets.
    """
    if not metadata:
        return b"{}"
    names = tuple(metadata)
    plan = _plans.get(names)
    if plan is None:
        plan = _plan(names)
    return ("{" + ", ".join([start + _quote(metadata[name]) for name, start in plan]) + "}").encode()


def _plan(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    ordered = sorted(names, key=lambda name: (len(name.encode()), name.encode()))
    plan = tuple((name, _quote(name) + ": ") for name in ordered)
    # Clients choose the names: what they make this process remember is bounded in number and in size.
    if len(names) <= METADATA_PAIRS_MAX and sum(map(len, names)) <= _PLAN_CHARACTERS_MAX:
        if len(_plans) >= _PLANS_MAX:
            _plans.clear()
        _plans[names] = plan
    return plan


def new_record(
    *,
    created_at_us: int,
    due_us: int,
    metadata_text: bytes,
    payload: bytes,
    request_id: bytes,
    expire_at_us: int | None = None,
) -> bytes:
    """The record of a task that has not been attempted; a large payload is left to a key of its own."""
    apart = len(payload) > PAYLOAD_INLINE_BYTES_MAX
    header = HEADER.pack(
        RECORD_VERSION,
        State.SCHEDULED,
        FLAG_PAYLOAD_APART if apart else 0,
        0,
        created_at_us,
        due_us,
        NONE,
        NONE,
        NONE,
        len(metadata_text),
        len(payload),
        0,
        0,
        len(request_id),
        0,
        0,
        NONE if expire_at_us is None else expire_at_us,
    )
    return b"".join((header, metadata_text, request_id, b"" if apart else payload))


def payload_apart(record: bytes) -> bool:
    """Whether the payload lies under its own key."""
    return bool(record[2] & FLAG_PAYLOAD_APART)


def payload_within(record: bytes) -> bytes:
    """The payload of a record in which it lies."""
    (length,) = _PAYLOAD_LENGTH.unpack_from(record, _PAYLOAD_LENGTH_AT)
    return record[len(record) - length :]


def attempts_and_lease_of(record: bytes) -> tuple[int, int]:
    """How often the task was attempted, and the token of its lease; 0 without one."""
    token = token_of(record) if record[STATE_AT] == State.LEASED else 0
    return _ATTEMPTS.unpack_from(record, _ATTEMPTS_AT)[0], token


def task_id_of(place: bytes, record: bytes) -> str:
    """The id of the task that lies at a place."""
    deliver_at_us, sequence = unpack_place(place[-SUFFIX_BYTES:])
    if record[2] & FLAG_MOVED:
        deliver_at_us = Record(record).origin_us
    return format_id(deliver_at_us, sequence)


def decode(namespace: str, where: bytes, record: bytes, payload: bytes | None) -> Task:
    """A task from its key's last 16 bytes, its record, and its payload if that lies apart."""
    fields = Record(record)
    if not fields.apart:
        payload = fields.payload
    require(
        payload is not None and len(payload) == fields.payload_length,
        "a payload has the length that was written",
    )
    return _task(namespace, where, record, fields, payload or b"")


def decode_without_payload(namespace: str, where: bytes, record: bytes) -> Task:
    """As `decode`; the payload is left empty, whatever it is."""
    return _task(namespace, where, record, Record(record), b"")


def _task(namespace: str, where: bytes, record: bytes, fields: Record, payload: bytes) -> Task:
    deliver_at_us, sequence = unpack_place(where)
    origin_us = deliver_at_us if fields.origin_us == NONE else fields.origin_us
    created = TaskEvent(EventKind.CREATED, fields.created_at_us, 0, "")
    return Task(
        id=format_id(origin_us, sequence),
        namespace=namespace,
        deliver_at_us=deliver_at_us,
        created_at_us=fields.created_at_us,
        metadata=json.loads(fields.metadata),
        payload=payload,
        state=State(fields.state),
        attempts=fields.attempts,
        next_attempt_at_us=_instant(fields.next_attempt_at_us),
        lease_owner=fields.lease_owner.decode(),
        lease_until_us=_instant(fields.lease_until_us),
        last_error=fields.last_error.decode(),
        finished_at_us=_instant(fields.finished_at_us),
        last_attempt_at_us=_instant(fields.last_attempt_at_us),
        request_id=fields.request_id.decode(),
        expire_at_us=_instant(fields.expire_at_us),
        lease_token=fields.lease_token,
        events=(created, *decode_events(fields.events)),
        place=namespace_part(namespace.encode()) + where,
        etag=etag(record).hex(),
    )


def _instant(stored: int) -> int | None:
    return None if stored == NONE else stored
