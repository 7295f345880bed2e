"""Retirement applied: finished tasks are forgotten, scheduled ones past their time expire."""

from __future__ import annotations

from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.events import EventKind, appended
from z4sql.tasks.leases import finish
from z4sql.tasks.life import Retired, retire_result
from z4sql.tasks.record import FINISHED, NONE, Record, State
from z4sql.tasks.table import TaskTable


def retire(table: TaskTable, command: pb.Retire, stamp_us: int) -> bytes:
    """Whatever went another way since the command was made is left alone."""
    forgotten = expired = 0
    forget = dict.fromkeys(command.forget)
    for place, data in zip(forget, table.find_many(list(forget)), strict=True):
        record = None if data is None else Record(data)
        if record is not None and record.state in FINISHED:
            table.remove(place, record)
            forgotten += 1
    expire = dict.fromkeys(command.expire)
    for place, data in zip(expire, table.find_many(list(expire)), strict=True):
        record = None if data is None else Record(data)
        if record is None or record.state != State.SCHEDULED:
            continue
        if record.expire_at_us == NONE or record.expire_at_us > stamp_us:
            continue
        record.events = appended(record.events, EventKind.EXPIRED, stamp_us, record.attempts)
        finish(record, State.EXPIRED, stamp_us)
        table.put(place, record)
        expired += 1
    return retire_result(Retired(forgotten, expired))
