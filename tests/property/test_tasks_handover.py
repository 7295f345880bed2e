"""The short way from bytes to bytes makes of every record what the long way through `Record` makes."""

from __future__ import annotations

from hypothesis import given

from tests.task_records import INSTANTS, OWNERS, TOKENS, records
from z4sql.tasks.events import EventKind, appended
from z4sql.tasks.handover import Leasing, acknowledged, is_acknowledged
from z4sql.tasks.leases import finish
from z4sql.tasks.record import NONE, Record, State


@given(records(State.SCHEDULED), OWNERS, INSTANTS, INSTANTS, TOKENS)
def test_a_lease_is_that_of_the_long_way(
    stored: tuple[bytes, bytes], owner: bytes, until_us: int, stamp_us: int, token: int
) -> None:
    data, _ = stored
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
def test_an_acknowledgement_is_that_of_the_long_way(stored: tuple[bytes, bytes], stamp_us: int) -> None:
    data, _ = stored
    record = Record(data)
    found = acknowledged(data, record.lease_token, stamp_us)
    until_us = record.lease_until_us
    record.events = appended(record.events, EventKind.ACKED, stamp_us, record.attempts)
    token = record.lease_token
    finish(record, State.DONE, stamp_us)
    record.lease_token = token
    assert found == (record.encode(), until_us)
    assert is_acknowledged(found[0], token) and not is_acknowledged(data, token)


@given(records(), INSTANTS, TOKENS)
def test_only_what_is_scheduled_or_so_leased_is_changed(
    stored: tuple[bytes, bytes], at_us: int, token: int
) -> None:
    data, _ = stored
    record = Record(data)
    leased = Leasing(b"owner", at_us, 0).leased(data, at_us, token)
    assert leased is None or (record.state, record.next_attempt_at_us) == (State.SCHEDULED, at_us)
    acked = acknowledged(data, token, at_us)
    assert acked is None or (record.state, record.lease_token) == (State.LEASED, token)
