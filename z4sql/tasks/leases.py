"""Leases applied: due tasks to consumers, and what consumers and the leader say of them afterwards."""

from __future__ import annotations

from typing import Final

from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.events import EventKind, appended, clipped
from z4sql.tasks.life import SettleKind, SettleOutcome, known_kind, lease_result
from z4sql.tasks.record import LAST_ERROR_BYTES_MAX, LEASE_OWNER_BYTES_MAX, NONE, Record, State
from z4sql.tasks.table import TaskTable

_ATTEMPTS_MAX: Final = (1 << 32) - 1
_UNANSWERED: Final = b"the lease ended without an answer"
_SCHEDULED, _LEASED = int(State.SCHEDULED), int(State.LEASED)
_LEASE_EXPIRED: Final = frozenset({SettleKind.LEASE_EXPIRED, SettleKind.LEASE_EXPIRED_DEAD})
_DEAD: Final = frozenset({SettleKind.DEAD, SettleKind.LEASE_EXPIRED_DEAD})
_EVENTS: Final = {
    SettleKind.ACK: EventKind.ACKED,
    SettleKind.NACK: EventKind.NACKED,
    SettleKind.DEAD: EventKind.DEAD,
    SettleKind.EXTEND: EventKind.EXTENDED,
    SettleKind.RELEASE: EventKind.RELEASED,
    SettleKind.LEASE_EXPIRED: EventKind.LEASE_EXPIRED,
    SettleKind.LEASE_EXPIRED_DEAD: EventKind.LEASE_EXPIRED,
}


def lease(table: TaskTable, command: pb.Lease, stamp_us: int, token: int) -> bytes:
    """Take what is scheduled for just the time that the command says, if that has come.

    ``token`` is the first item's; every item has its own, taken or not.
    """
    owner = clipped(command.owner, LEASE_OWNER_BYTES_MAX)
    until_us = command.lease_until_us
    tokens: list[int] = []
    places = list(command.places)
    taken: set[bytes] = set()
    items = zip(places, table.find_many(places), command.next_attempt_at_us, strict=True)
    for ordinal, (place, data, next_attempt_at_us) in enumerate(items):
        tokens.append(0)
        if data is None or next_attempt_at_us > stamp_us or place in taken:
            continue
        record = Record(data)
        if record.state != _SCHEDULED or record.next_attempt_at_us != next_attempt_at_us:
            continue
        if record.expire_at_us != NONE and record.expire_at_us <= stamp_us:
            continue
        taken.add(place)
        tokens[-1] = record.lease_token = token + ordinal
        record.state = _LEASED
        record.attempts = min(record.attempts + 1, _ATTEMPTS_MAX)
        record.last_attempt_at_us = stamp_us
        record.lease_until_us = until_us
        record.lease_owner = owner
        record.events = appended(record.events, EventKind.LEASED, stamp_us, record.attempts, owner)
        table.put(place, record)
    return lease_result(tokens)


def settle(table: TaskTable, command: pb.Settle, stamp_us: int) -> bytes:
    """One `SettleOutcome` for each item; items whose lease is not the task's present one change nothing."""
    places = list(command.places)
    outcomes = bytearray(len(places))
    seen: set[bytes] = set()
    items = zip(places, table.find_many(places), command.tokens, command.kinds, command.at_us, strict=True)
    for position, (place, found, token, kind_number, at_us) in enumerate(items):
        data = table.find(place) if place in seen else found
        seen.add(place)
        record = None if data is None else Record(data)
        if record is None or record.state != _LEASED or record.lease_token != token:
            outcomes[position] = SettleOutcome.STALE
            continue
        kind = known_kind(SettleKind, kind_number)
        if kind in _LEASE_EXPIRED and record.lease_until_us > stamp_us:
            # An extension came before: the consumer was told that the task is still its own.
            outcomes[position] = SettleOutcome.STALE
            continue
        error = clipped(command.errors.get(position, b""), LAST_ERROR_BYTES_MAX)
        _settle(record, kind, stamp_us, at_us, error)
        table.put(place, record)
    return bytes(outcomes)


def end_lease(record: Record) -> None:
    """The task is nobody's any more."""
    record.lease_token = 0
    record.lease_until_us = NONE
    record.lease_owner = b""


def finish(record: Record, state: State, stamp_us: int) -> None:
    """The task is over, leased or not."""
    end_lease(record)
    record.state = int(state)
    record.next_attempt_at_us = NONE
    record.finished_at_us = stamp_us


def _settle(record: Record, kind: SettleKind, stamp_us: int, at_us: int, error: bytes) -> None:
    attempts = record.attempts
    if kind in _LEASE_EXPIRED:
        error = error or _UNANSWERED
    detail = record.lease_owner if kind is SettleKind.EXTEND else error
    record.events = appended(record.events, _EVENTS[kind], stamp_us, attempts, detail)
    match kind:
        case SettleKind.ACK:
            finish(record, State.DONE, stamp_us)
        case SettleKind.EXTEND:
            record.lease_until_us = at_us
        case SettleKind.RELEASE:
            end_lease(record)
            record.state = _SCHEDULED
            record.attempts = max(attempts - 1, 0)
        case SettleKind.NACK | SettleKind.LEASE_EXPIRED:
            end_lease(record)
            record.state = _SCHEDULED
            record.next_attempt_at_us = at_us
            record.last_error = error
        case SettleKind.DEAD | SettleKind.LEASE_EXPIRED_DEAD:
            finish(record, State.DEAD, stamp_us)
            record.last_error = error
            if kind is SettleKind.LEASE_EXPIRED_DEAD:
                record.events = appended(record.events, EventKind.DEAD, stamp_us, attempts)
