"""Any record of a task, for property tests of what is made of records."""

from __future__ import annotations

from hypothesis import strategies as st

from z4sql.tasks.encoding import metadata_json
from z4sql.tasks.events import EVENTS_MAX, EventKind, appended
from z4sql.tasks.model import DELIVER_AT_MAX_US
from z4sql.tasks.record import LEASE_OWNER_BYTES_MAX, NONE, PAYLOAD_INLINE_BYTES_MAX, Record, State

INSTANTS = st.one_of(
    st.integers(0, DELIVER_AT_MAX_US), st.sampled_from([0, 1, 999_999, 1_000_000, 1_700_000_000_000_000])
)
TOKENS = st.integers(1, (1 << 64) - 1) | st.integers(1, 1 << 22)
OWNERS = st.binary(max_size=LEASE_OWNER_BYTES_MAX) | st.text(max_size=85).map(str.encode)
_MAYBE = st.just(NONE) | INSTANTS
_NUMBERS = st.integers(0, 300) | st.just((1 << 32) - 1)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_LONG = st.integers(100, 300).map(lambda length: "ü" * length)
_PAYLOADS = st.binary(max_size=40) | st.integers(100, 20_000).map(bytes)


@st.composite
def records(draw: st.DrawFn, *states: State) -> tuple[bytes, bytes]:
    """A record in one of ``states`` (none given: any), with few events or as many as there can be.

    And its payload, which lies in it or apart.
    """
    record = Record.__new__(Record)
    record.state = int(draw(st.sampled_from(states or tuple(State))))
    record.attempts = draw(_NUMBERS)
    record.created_at_us = draw(INSTANTS)
    record.next_attempt_at_us = draw(INSTANTS if record.state == State.SCHEDULED else _MAYBE)
    record.lease_until_us = draw(_MAYBE)
    record.finished_at_us = draw(_MAYBE)
    record.last_attempt_at_us = draw(_MAYBE)
    record.expire_at_us = draw(_MAYBE)
    record.origin_us = draw(_MAYBE)
    record.metadata = metadata_json(draw(st.dictionaries(_TEXTS, _TEXTS | _LONG, max_size=4)))
    payload = draw(_PAYLOADS)
    record.apart = len(payload) > PAYLOAD_INLINE_BYTES_MAX
    record.payload, record.payload_length = b"" if record.apart else payload, len(payload)
    leased = record.state == State.LEASED
    record.lease_owner = draw(_TEXTS).encode() if leased else b""
    record.lease_token = draw(TOKENS) if leased or record.state == State.DONE else 0
    record.last_error = draw(_TEXTS | _LONG).encode()
    record.request_id = draw(_TEXTS).encode()
    record.events = b""
    for _ in range(draw(st.integers(0, EVENTS_MAX + 2))):
        kind = draw(st.sampled_from(EventKind))
        record.events = appended(record.events, kind, draw(INSTANTS), draw(_NUMBERS), draw(_TEXTS).encode())
    return record.encode(), payload
