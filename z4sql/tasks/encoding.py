"""Records: built once by the leader, stored as they are by every replica, read back for a single task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring as _quote

from raftcore.core.errors import require
from z4sql.tasks.ids import format_id
from z4sql.tasks.keys import unpack_place
from z4sql.tasks.model import METADATA_PAIRS_MAX, Task
from z4sql.tasks.record import (
    FLAG_MOVED,
    FLAG_PAYLOAD_APART,
    HEADER,
    HEADER_BYTES,
    NONE,
    PAYLOAD_INLINE_BYTES_MAX,
    RECORD_VERSION,
    State,
)

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
    *, created_at_us: int, due_us: int, metadata_text: bytes, payload: bytes, request_id: bytes
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
    )
    return b"".join((header, metadata_text, request_id, b"" if apart else payload))


def payload_apart(record: bytes) -> bool:
    """Whether the payload lies under its own key."""
    return bool(record[2] & FLAG_PAYLOAD_APART)


def decode(namespace: str, place: bytes, record: bytes, payload: bytes | None) -> Task:
    """A task from its key's last 16 bytes, its record, and its payload if that lies apart."""
    fields = HEADER.unpack_from(record)
    version, state, flags, attempts, created_at, next_attempt, lease_until, finished, last_attempt = fields[
        :9
    ]
    metadata_length, payload_length, owner_length, error_length, request_length, _ = fields[9:]
    require(version == RECORD_VERSION, "records are of the version that this program writes", version=version)
    at = HEADER_BYTES
    metadata_text = record[at : (at := at + metadata_length)]
    lease_owner = record[at : (at := at + owner_length)]
    last_error = record[at : (at := at + error_length)]
    request_id = record[at : (at := at + request_length)]
    deliver_at_us, sequence = unpack_place(place)
    origin_us = deliver_at_us
    if flags & FLAG_MOVED:
        origin_us = int.from_bytes(record[at : (at := at + 8)], "little", signed=True)
    if not flags & FLAG_PAYLOAD_APART:
        payload = record[at : at + payload_length]
    require(
        payload is not None and len(payload) == payload_length, "a payload has the length that was written"
    )
    return Task(
        id=format_id(origin_us, sequence),
        namespace=namespace,
        deliver_at_us=deliver_at_us,
        created_at_us=created_at,
        metadata=json.loads(metadata_text),
        payload=payload or b"",
        state=State(state),
        attempts=attempts,
        next_attempt_at_us=_instant(next_attempt),
        lease_owner=lease_owner.decode(),
        lease_until_us=_instant(lease_until),
        last_error=last_error.decode(),
        finished_at_us=_instant(finished),
        last_attempt_at_us=_instant(last_attempt),
        request_id=request_id.decode(),
    )


def _instant(stored: int) -> int | None:
    return None if stored == NONE else stored
