"""Changes applied that people and programs ask for: of one task by its id, of all tasks of a range."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.events import EventKind, appended
from z4sql.tasks.leases import finish
from z4sql.tasks.life import (
    ALLOWED_STATES,
    CHANGE_OF_RANGE,
    RANGE_LIMIT_MAX,
    Changed,
    ChangeKind,
    ChangeProblem,
    RangeChanged,
    RangeKind,
    change_result,
    known_kind,
    range_result,
)
from z4sql.tasks.record import NONE, Record, State, etag
from z4sql.tasks.table import TaskTable, id_place_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING_ASKED: Final = pb.ChangeTask()


def change_task(table: TaskTable, command: pb.ChangeTask, stamp_us: int) -> bytes:
    """The result is that of `z4sql.tasks.life.change_outcome`."""
    place = table.located(command.id_place)
    data = table.find(place)
    record = None if data is None else Record(data)
    # Where a task was moved to is no id.
    if data is None or record is None or id_place_of(place, record) != command.id_place:
        return _refused(ChangeProblem.NOT_FOUND)
    if command.etag and command.etag != etag(data):
        return _refused(ChangeProblem.WRONG_ETAG)
    kind = known_kind(ChangeKind, command.kind)
    if record.state not in ALLOWED_STATES[kind]:
        return _refused(ChangeProblem.WRONG_STATE)
    return change_result(Changed(_change(table, place, record, kind, stamp_us, asked=command), None))


def change_tasks(table: TaskTable, command: pb.ChangeTasks, stamp_us: int) -> bytes:
    """The result is that of `z4sql.tasks.life.range_outcome`."""
    kind = CHANGE_OF_RANGE[known_kind(RangeKind, command.kind)]
    wanted = {state for state in ALLOWED_STATES[kind] if not command.states or command.states >> state & 1}
    limit = max(1, min(command.limit, RANGE_LIMIT_MAX))
    found = table.walk(command.from_place, command.to_place, limit + 1)
    changed = 0
    for place, data in found[:limit]:
        record = Record(data)
        if record.state in wanted:
            _change(table, place, record, kind, stamp_us, asked=_NOTHING_ASKED)
            changed += 1
    next_place = found[limit][0] if len(found) > limit else None
    return range_result(RangeChanged(changed, min(len(found), limit), next_place))


def _change(
    table: TaskTable,
    place: bytes,
    record: Record,
    kind: ChangeKind,
    stamp_us: int,
    *,
    asked: pb.ChangeTask,
) -> bytes:
    """Change a task in a state that allows it; where it lies then, or lay."""
    match kind:
        case ChangeKind.REMOVE:
            table.remove(place, record)
            return place
        case ChangeKind.CANCEL:
            _note(record, EventKind.CANCELED, stamp_us)
            finish(record, State.CANCELED, stamp_us)
        case ChangeKind.RESCHEDULE:
            _note(record, EventKind.RESCHEDULED, stamp_us, _printed(asked.deliver_at_us))
            record.next_attempt_at_us = asked.deliver_at_us
            return table.move(place, record, asked.deliver_at_us)
        case ChangeKind.RUN_NOW:
            _note(record, EventKind.RUN_NOW, stamp_us)
            record.next_attempt_at_us = min(record.next_attempt_at_us, stamp_us)
        case ChangeKind.UPDATE:
            given = [name for name in ("metadata", "payload") if asked.HasField(name)]
            _note(record, EventKind.UPDATED, stamp_us, ", ".join(given).encode())
            if asked.HasField("metadata"):
                record.metadata = asked.metadata
            if asked.HasField("payload"):
                table.put_payload(place, record, asked.payload)
        case ChangeKind.REDRIVE:
            record.attempts = 0
            _note(record, EventKind.REDRIVEN, stamp_us)
            record.state = int(State.SCHEDULED)
            record.finished_at_us = NONE
            record.next_attempt_at_us = stamp_us
            if record.expire_at_us != NONE and record.expire_at_us <= stamp_us:
                record.expire_at_us = NONE
        case _:
            assert_never(kind)
    table.put(place, record)
    return place


def _note(record: Record, kind: EventKind, stamp_us: int, detail: bytes = b"") -> None:
    record.events = appended(record.events, kind, stamp_us, record.attempts, detail)


def _printed(instant_us: int) -> bytes:
    return (_EPOCH + timedelta(microseconds=instant_us)).strftime("%Y-%m-%d %H:%M:%S.%f").encode()


def _refused(problem: ChangeProblem) -> bytes:
    return change_result(Changed(None, problem))
