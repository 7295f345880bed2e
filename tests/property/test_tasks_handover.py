"""The short way from bytes to bytes makes of every record what the long way through `Record` makes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from z4sql.tasks.encoding import metadata_json
from z4sql.tasks.events import EVENTS_MAX, EventKind, appended
from z4sql.tasks.handover import Leasing, acknowledged
from z4sql.tasks.leases import finish
from z4sql.tasks.record import LEASE_OWNER_BYTES_MAX, NONE, Record, State

INSTANTS = st.integers(0, 253_402_300_799_999_999)
MAYBE = st.one_of(st.just(NONE), INSTANTS)
NUMBERS = st.one_of(st.integers(0, 40), st.just((1 << 32) - 1))
OWNERS = st.binary(max_size=LEASE_OWNER_BYTES_MAX) | st.text(max_size=85).map(str.encode)
TOKENS = st.integers(1, (1 << 64) - 1)


@st.composite
def records(draw: st.DrawFn, state: State) -> bytes:
    """Any record in ``state``, with few events or with as many as there can be."""
    record = Record.__new__(Record)
    record.state = int(state)
    record.apart = draw(st.booleans())
    record.attempts = draw(NUMBERS)
    record.created_at_us = draw(INSTANTS)
    record.next_attempt_at_us = draw(INSTANTS)
    record.lease_until_us = draw(MAYBE)
    record.finished_at_us = draw(MAYBE)
    record.last_attempt_at_us = draw(MAYBE)
    record.expire_at_us = draw(MAYBE)
    record.origin_us = draw(MAYBE)
    record.metadata = metadata_json(
        draw(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3))
    )
    record.payload = b"" if record.apart else draw(st.binary(max_size=30))
    record.payload_length = 5_000 if record.apart else len(record.payload)
    leased = state is State.LEASED
    record.lease_owner = draw(OWNERS) if leased else b""
    record.lease_token = draw(TOKENS) if leased else 0
    record.last_error = draw(st.binary(max_size=20))
    record.request_id = draw(st.binary(max_size=20))
    record.events = b""
    for _ in range(draw(st.integers(0, EVENTS_MAX + 2))):
        kind = draw(st.sampled_from(EventKind))
        record.events = appended(record.events, kind, draw(INSTANTS), draw(NUMBERS), draw(OWNERS))
    return record.encode()


@given(records(State.SCHEDULED), OWNERS, INSTANTS, INSTANTS, TOKENS)
def test_a_lease_is_that_of_the_long_way(
    data: bytes, owner: bytes, until_us: int, stamp_us: int, token: int
) -> None:
    record = Record(data)
    found = Leasing(owner, until_us, stamp_us).leased(data, record.next_attempt_at_us, token)
    if record.expire_at_us != NONE and record.expire_at_us <= stamp_us:
        assert found is None
        return
    record.lease_token = token
    record.state = int(State.LEASED)
    record.attempts = min(record.attempts + 1, (1 << 32) - 1)
    record.last_attempt_at_us = stamp_us
    record.lease_until_us = until_us
    record.lease_owner = owner
    record.events = appended(record.events, EventKind.LEASED, stamp_us, record.attempts, owner)
    assert found == record.encode()


@given(records(State.LEASED), INSTANTS)
def test_an_acknowledgement_is_that_of_the_long_way(data: bytes, stamp_us: int) -> None:
    record = Record(data)
    found = acknowledged(data, record.lease_token, stamp_us)
    until_us = record.lease_until_us
    record.events = appended(record.events, EventKind.ACKED, stamp_us, record.attempts)
    finish(record, State.DONE, stamp_us)
    assert found == (record.encode(), until_us)


@given(st.sampled_from(State).flatmap(records), INSTANTS, TOKENS)
def test_only_what_is_scheduled_or_so_leased_is_changed(data: bytes, at_us: int, token: int) -> None:
    record = Record(data)
    leased = Leasing(b"owner", at_us, 0).leased(data, at_us, token)
    assert leased is None or (record.state, record.next_attempt_at_us) == (State.SCHEDULED, at_us)
    acked = acknowledged(data, token, at_us)
    assert acked is None or (record.state, record.lease_token) == (State.LEASED, token)
