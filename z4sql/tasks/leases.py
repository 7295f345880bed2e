"""Leases applied: due tasks to consumers, and what consumers and the leader say of them afterwards."""

from __future__ import annotations

from typing import Final

from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.events import EventKind, appended, clipped
from z4sql.tasks.handover import Leasing, acknowledged, is_acknowledged
from z4sql.tasks.keys import DUE, FINISH, time_bytes
from z4sql.tasks.life import SettleKind, SettleOutcome, known_kind, lease_result
from z4sql.tasks.record import LAST_ERROR_BYTES_MAX, LEASE_OWNER_BYTES_MAX, NONE, Record, State
from z4sql.tasks.table import TaskTable

_UNANSWERED: Final = b"the lease ended without an answer"
_SCHEDULED, _LEASED = int(State.SCHEDULED), int(State.LEASED)
_ACK: Final = int(SettleKind.ACK)
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
    leasing = Leasing(clipped(command.owner, LEASE_OWNER_BYTES_MAX), command.lease_until_us, stamp_us)
    until = time_bytes(command.lease_until_us)
    places = list(command.places)
    tokens = [0] * len(places)
    taken: set[bytes] = set()
    items = zip(places, table.find_many(places), command.next_attempt_at_us, strict=True)
    for ordinal, (place, data, next_attempt_at_us) in enumerate(items):
        if data is None or next_attempt_at_us > stamp_us or place in taken:
            continue
        leased = leasing.leased(data, next_attempt_at_us, token + ordinal)
        if leased is None:
            continue
        taken.add(place)
        tokens[ordinal] = token + ordinal
        table.put_handed(place, leased, next_attempt_at_us, DUE, until)
    table.count([*taken], State.SCHEDULED, State.LEASED)
    return lease_result(tokens)


def settle(table: TaskTable, command: pb.Settle, stamp_us: int) -> bytes:
    """One `SettleOutcome` for each item; items whose lease is not the task's present one change nothing."""
    places = list(command.places)
    outcomes = bytearray([SettleOutcome.STALE]) * len(places)
    seen: set[bytes] = set()
    done: list[bytes] = []
    errors = dict(command.errors)
    finished = time_bytes(stamp_us)
    items = zip(places, table.find_many(places), command.tokens, command.kinds, command.at_us, strict=True)
    for position, (place, found, token, kind, at_us) in enumerate(items):
        data = table.find(place) if place in seen else found
        seen.add(place)
        if data is None:
            continue
        if kind == _ACK and is_acknowledged(data, token):
            outcomes[position] = SettleOutcome.REPEATED
            continue
        if kind == _ACK and position not in errors:
            acked = acknowledged(data, token, stamp_us)
            if acked is not None:
                table.put_handed(place, acked[0], acked[1], FINISH, finished)
                done.append(place)
                outcomes[position] = SettleOutcome.DONE
            continue
        error = clipped(errors.get(position, b""), LAST_ERROR_BYTES_MAX)
        outcomes[position] = _settle_one(
            table,
            place,
            data,
            token=token,
            kind_number=kind,
            stamp_us=stamp_us,
            at_us=at_us,
            error=error,
        )
    table.count(done, State.LEASED, State.DONE)
    return bytes(outcomes)


def _settle_one(
    table: TaskTable,
    place: bytes,
    data: bytes,
    *,
    token: int,
    kind_number: int,
    stamp_us: int,
    at_us: int,
    error: bytes,
) -> SettleOutcome:
    record = Record(data)
    if record.state != _LEASED or record.lease_token != token:
        return SettleOutcome.STALE
    kind = known_kind(SettleKind, kind_number)
    if kind in _LEASE_EXPIRED and record.lease_until_us > stamp_us:
        # An extension came before: the consumer was told that the task is still its own.
        return SettleOutcome.STALE
    _settle(record, kind, stamp_us, at_us, error)
    table.put(place, record)
    return SettleOutcome.DONE


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
            token = record.lease_token
            finish(record, State.DONE, stamp_us)
            # An acknowledgement whose answer was lost is told from one that came too late.
            record.lease_token = token
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
