"""Commands for the replicated machine, made by the leader; and what their results mean.

Everything that depends on time or chance is decided here and carried in the command. A command's stamp is the
leader's clock, but never less than the newest stamp of the log: the builder remembers its own, and asks the
machine for those of earlier leaders. So a leader may make commands only once it has applied what the leaders
before it left; then created_at, which is the stamp, never runs backwards.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b

import numpy as np

from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.encoding import metadata_json, new_record, payload_apart
from z4sql.tasks.errors import InvalidTask, RequestIdReused
from z4sql.tasks.ids import format_id, format_ids
from z4sql.tasks.keys import namespace_part, time_bytes, unpack_place
from z4sql.tasks.model import (
    MemberAddresses,
    NamespaceSettings,
    NewTask,
    check_sizes,
    check_time,
    checked_request_id,
    new_namespace,
)
from z4sql.tasks.record import etag
from z4sql.tasks.settings import SettingsChange, check_change, decode_settings, encode_settings

COMMAND_VERSION = 2
FINGERPRINT_BYTES = 16
_ASKED_FROM = 48
"""Behind the instants of a new record lies what was asked for, with its lengths; see `z4sql.tasks.record`."""
_DELAY = struct.Struct(">Q")

CREATED = struct.Struct("<BQq")
"""Result of a create: `Outcome`, sequence of the first task, the stamp that its times were reckoned from."""
_ITEM_BYTES = 17


class Outcome(IntEnum):
    DONE = 0
    """All tasks of the command were created, in order."""
    MIXED = 1
    """Single tasks were known already: the result goes on with one `ItemOutcome` and place for each."""
    CONFLICT = 2
    """The command's request id was used for another content; nothing was done."""


class ItemOutcome(IntEnum):
    CREATED = 0
    KNOWN = 1
    CONFLICT = 2


@dataclass(slots=True, frozen=True)
class Created:
    """How a create ended for each task asked for: an id, or why there is none."""

    ids: list[str]
    """One for each task; empty text where ``problems`` has an entry."""
    problems: dict[int, InvalidTask | Conflict]
    etags: list[str] = field(default_factory=list)
    """When they were asked for, one for each task: empty text where the command created none."""


@dataclass(slots=True, frozen=True)
class Conflict:
    """A request id was used before for another content; ``task_id`` is what that made, if known."""

    task_id: str


class CreateCommand:
    """A command for the log that creates tasks, and the key to its result."""

    __slots__ = ("_accepted", "_etags", "_namespaces", "_stamp_us", "_tasks", "data", "invalid")

    def __init__(
        self,
        data: bytes | None,
        tasks: Sequence[NewTask],
        accepted: list[int],
        invalid: dict[int, InvalidTask],
        namespaces: Collection[str] = (),
        *,
        etags: Sequence[str] = (),
        stamp_us: int = 0,
    ) -> None:
        """``etags``: of the accepted tasks, when they were asked for."""
        self.data = data
        """None when no task is valid: there is nothing to propose."""
        self.invalid = invalid
        self._tasks = tasks
        self._accepted = accepted
        self._namespaces = namespaces
        self._etags = etags
        self._stamp_us = stamp_us

    def counts(self, created: Created) -> Mapping[str, int]:
        """How many tasks there are by their namespaces, of those that ``created`` has an id for."""
        if len(self._namespaces) == 1:
            (namespace,) = self._namespaces
            return {namespace: len(created.ids) - len(created.problems)}
        return Counter(
            task.namespace for task, task_id in zip(self._tasks, created.ids, strict=True) if task_id
        )

    def outcome(self, result: bytes | None) -> Created:
        """What ``result`` of the machine means; None when nothing was proposed."""
        ids = [""] * len(self._tasks)
        problems: dict[int, InvalidTask | Conflict] = dict(self.invalid)
        if result is None:
            return Created(ids, problems)
        outcome, first, stamp_us = CREATED.unpack_from(result)
        if outcome == Outcome.CONFLICT:
            problems |= {position: Conflict("") for position in self._accepted}
        elif outcome == Outcome.MIXED:
            self._read_items(result, ids, problems)
        elif len(self._accepted) < 8:
            for ordinal, position in enumerate(self._accepted):
                ids[position] = format_id(self._tasks[position].due_us(stamp_us), first + ordinal)
        else:
            due = np.array([self._tasks[at].due_us(stamp_us) for at in self._accepted], np.int64)
            sequences = np.uint64(first) + np.arange(len(due), dtype=np.uint64)
            text = format_ids(due, sequences).tobytes().decode()
            for ordinal, position in enumerate(self._accepted):
                ids[position] = text[26 * ordinal : 26 * ordinal + 26]
        return Created(ids, problems, self._etags_of(outcome, stamp_us, result))

    def _etags_of(self, outcome: int, stamp_us: int, result: bytes) -> list[str]:
        """What an earlier command created may have been changed since: then there is no telling here."""
        if not self._etags:
            return []
        etags = [""] * len(self._tasks)
        if outcome == Outcome.CONFLICT or stamp_us != self._stamp_us:
            return etags
        for ordinal, position in enumerate(self._accepted):
            at = CREATED.size + _ITEM_BYTES * ordinal
            if outcome == Outcome.DONE or result[at] == ItemOutcome.CREATED:
                etags[position] = self._etags[ordinal]
        return etags

    def _read_items(self, result: bytes, ids: list[str], problems: dict[int, InvalidTask | Conflict]) -> None:
        at = CREATED.size
        for position in self._accepted:
            outcome, place = result[at], result[at + 1 : at + 17]
            task_id = format_id(*unpack_place(place))
            if outcome == ItemOutcome.CONFLICT:
                problems[position] = Conflict(task_id)
            else:
                ids[position] = task_id
            at += _ITEM_BYTES


class CommandBuilder:
    """Makes commands on the leader. ``machine_clock_us`` answers the newest stamp that was applied."""

    def __init__(self, now_us: Callable[[], int], machine_clock_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._machine_clock_us = machine_clock_us
        self._last_stamp_us = 0

    def stamp_us(self) -> int:
        """The clock, never running backwards: not in this process, and not behind what is in the log."""
        stamp = max(self._now_us(), self._last_stamp_us, self._machine_clock_us())
        self._last_stamp_us = stamp
        return stamp

    def create_tasks(
        self, tasks: Sequence[NewTask], request_id: str = "", *, with_etags: bool = False
    ) -> CreateCommand:
        """One command for all valid tasks; invalid ones are told by position and do not stop the others.

        ``request_id`` makes the whole command idempotent; when it is invalid, so is every task.
        """
        try:
            checked_request_id(request_id)
        except InvalidTask as problem:
            return CreateCommand(None, tasks, [], dict.fromkeys(range(len(tasks)), problem))
        stamp = self.stamp_us()
        command = pb.CreateTasks()
        places: list[bytes] = []
        records: list[bytes] = []
        delays: dict[int, bytes] = {}
        """Instead of places, where the time was not asked for."""
        accepted: list[int] = []
        invalid: dict[int, InvalidTask] = {}
        prefixes: dict[str, bytes] = {}
        for position, task in enumerate(tasks):
            try:
                due_us = task.due_us(stamp)
                check_time(task, due_us)
                prefix = prefixes.get(task.namespace)
                if prefix is None:
                    prefix = prefixes[task.namespace] = namespace_part(new_namespace(task.namespace))
                text = metadata_json(task.metadata)
                check_sizes(task, text)
                task_request_id = checked_request_id(task.request_id) if task.request_id else b""
            except InvalidTask as problem:
                invalid[position] = problem
                continue
            except UnicodeEncodeError:
                invalid[position] = InvalidTask("metadata", "is not valid Unicode")
                continue
            record = new_record(
                created_at_us=stamp,
                due_us=due_us,
                metadata_text=text,
                payload=task.payload,
                request_id=task_request_id,
                expire_at_us=task.expire_at_us,
            )
            # The very number that was given, when that counts: a delay may come to an equal one.
            if due_us is not task.deliver_at_us:
                delays[len(records)] = prefix + _delay(task)
            if payload_apart(record):
                command.payloads[len(records)] = task.payload
            if task_request_id:
                request = command.requests[len(records)]
                request.id = task.request_id
                request.fingerprint = _fingerprint(task, text)
            places.append(prefix + time_bytes(due_us))
            records.append(record)
            accepted.append(position)
        if not records:
            return CreateCommand(None, tasks, accepted, invalid)
        command.places.extend(places)
        command.records.extend(records)
        data = pb.Command(
            version=COMMAND_VERSION,
            stamp_us=stamp,
            request_id=request_id,
            fingerprint=_batch_fingerprint(command, places, records, delays) if request_id else b"",
            create_tasks=command,
        ).SerializeToString()
        etags = [etag(record).hex() for record in records] if with_etags else ()
        return CreateCommand(data, tasks, accepted, invalid, prefixes, etags=etags, stamp_us=stamp)

    def set_namespace(self, namespace: str, change: SettingsChange, request_id: str = "") -> bytes:
        """Settings of a namespace, which comes into being if it is new; see `settings_outcome`.

        Idempotent under ``request_id`` when given.

        :raises InvalidTask: naming the setting that is out of its limits.
        """
        checked_request_id(request_id)
        new_namespace(namespace)
        check_change(change)
        command = pb.SetNamespace(namespace=namespace, **change.given())  # type: ignore[arg-type]  # by name
        asked = command.SerializeToString(deterministic=True) if request_id else b""
        return pb.Command(
            version=COMMAND_VERSION,
            stamp_us=self.stamp_us(),
            request_id=request_id,
            fingerprint=digest(b"settings" + asked) if request_id else b"",
            set_namespace=command,
        ).SerializeToString()

    def register_member(self, member: MemberAddresses) -> bytes:
        """A peer's addresses, for everybody to know."""
        return pb.Command(
            version=COMMAND_VERSION,
            stamp_us=self.stamp_us(),
            register_member=pb.RegisterMember(
                name=member.name,
                peer_address=member.peer_address,
                service_address=member.service_address,
                sql_address=member.sql_address,
                metrics_address=member.metrics_address,
            ),
        ).SerializeToString()


_CONFLICT = 2


def settings_result(settings: NamespaceSettings | InvalidTask | None) -> bytes:
    """The result of setting a namespace: 1 and what is set now, 0 and what was wrong, 2 for a conflict.

    None: the request id was used for another request.
    """
    if settings is None:
        return bytes((_CONFLICT,))
    if isinstance(settings, InvalidTask):
        return b"\0" + json.dumps([settings.field, settings.problem]).encode()
    return b"\1" + encode_settings(settings)


def settings_outcome(result: bytes) -> NamespaceSettings:
    """The settings as they were then.

    :raises InvalidTask: when the change contradicted what was set. :raises RequestIdReused:
    """
    if result[0] == _CONFLICT:
        raise RequestIdReused("request_id: was used for another request")
    if result[0]:
        return decode_settings(result[1:])
    raise InvalidTask(*json.loads(result[1:]))


def digest(data: bytes) -> bytes:
    """The fingerprint of what was asked, to tell a retry from another request under the same id."""
    return blake2b(data, digest_size=FINGERPRINT_BYTES).digest()


def _delay(task: NewTask) -> bytes:
    """A delay in the place of a time: no time from 1970 on begins with so low a byte."""
    return _DELAY.pack(task.tts_seconds * 1_000 + task.tts_ms)


def _batch_fingerprint(
    command: pb.CreateTasks, places: Sequence[bytes], records: Sequence[bytes], delays: Mapping[int, bytes]
) -> bytes:
    """Of the tasks as asked for, however their messages were encoded."""
    times = list(places)
    for position, delay in delays.items():
        times[position] = delay
    payloads = [command.payloads[position] for position in sorted(command.payloads)]
    asked = [record[_ASKED_FROM:] for record in records]
    return digest(b"".join((len(times).to_bytes(4, "big"), *times, *asked, *payloads)))


def _fingerprint(task: NewTask, metadata_text: bytes) -> bytes:
    """Of the task as asked for: a delay stays the same when a retry is later, and wins over a time."""
    delay_ms = task.tts_seconds * 1_000 + task.tts_ms
    time = f"+{delay_ms}" if delay_ms else str(task.deliver_at_us)
    times = f"{time}|{task.expire_at_us}|"
    asked = f"{times}{len(task.namespace)}|{task.namespace}|".encode()
    return digest(asked + len(metadata_text).to_bytes(4, "big") + metadata_text + task.payload)
