"""What applied entries mean for delivery: from when on which namespaces have to be looked at again.

A feed walks the due index with a cursor that never goes back by itself, so that it need not step over what
it delivered before. Whatever is applied in front of the cursor has to be noticed: a task for the past, or one
whose command was stamped before the cursor moved on. All commands of a leadership are read here once more;
that costs a creation a tenth of a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from raftcore.core.types import Entry, EntryKind
from raftcore.replica.group import decode_group
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.keys import SEQUENCE_BITS, SUFFIX_BYTES, TIME_BYTES, index_key, time_bytes
from z4sql.tasks.life import SettleKind

_BACK = frozenset({SettleKind.NACK, SettleKind.EXTEND, SettleKind.RELEASE, SettleKind.LEASE_EXPIRED})
_COMMANDS = int(EntryKind.COMMANDS)


@dataclass(slots=True)
class Arrival:
    """What came to stand in one namespace's due index: behind ``cursor``, at ``times``, as keys have them."""

    cursor: bytes
    times: set[bytes]


@dataclass(slots=True)
class Arrivals:
    """Namespaces are as they stand in keys, with their length."""

    found: dict[bytes, Arrival] = field(default_factory=dict)
    settings: set[bytes] = field(default_factory=set)
    """Namespaces whose settings were changed."""

    def note(self, namespace: bytes, cursor: bytes, times: set[bytes]) -> None:
        known = self.found.get(namespace)
        if known is None:
            self.found[namespace] = Arrival(cursor, times)
            return
        known.cursor = min(known.cursor, cursor)
        known.times |= times


def arrivals(entries: Iterable[Entry]) -> Arrivals:
    """What came to stand in the due index when ``entries`` were applied, and where."""
    found = Arrivals()
    for entry in entries:
        if entry.kind == _COMMANDS:
            for data in decode_group(entry.data):
                _command(pb.Command.FromString(bytes(data)), entry.index, found)
    return found


def _command(command: pb.Command, index: int, found: Arrivals) -> None:
    match command.WhichOneof("kind"):
        case "create_tasks":
            _created(command.create_tasks, index, found)
        case "settle":
            _settled(command.settle, found)
        case "change_task":
            change = command.change_task
            moved = change.kind == pb.ChangeTask.RESCHEDULE
            at_us = change.deliver_at_us if moved else command.stamp_us
            part, time = change.id_place[:-SUFFIX_BYTES], time_bytes(at_us)
            found.note(part, part + time, {time})
        case "change_tasks":
            place = command.change_tasks.from_place
            part, time = place[: 1 + place[0]], time_bytes(command.stamp_us)
            found.note(part, part + time, {time})
        case "set_namespace":
            name = command.set_namespace.namespace.encode()
            found.settings.add(len(name).to_bytes(1, "big") + name)
        case _:
            pass


def _created(create: pb.CreateTasks, index: int, found: Arrivals) -> None:
    """Creations: a new task stands at deliver_at twice (when it is due, and in its place), then its sequence.

    The sequence is at least the entry's first: tasks for the same instant are found without a walk over their
    predecessors.
    """
    places = create.places
    if not places:
        return
    sequence = (index << SEQUENCE_BITS) - 1
    tail = sequence.to_bytes(8, "big")
    first = min(places)
    part = first[:-TIME_BYTES]
    if not max(places).startswith(part):
        for place in places:
            time = place[-TIME_BYTES:]
            found.note(place[:-TIME_BYTES], place + time + tail, {time})
        return
    times = {place[-TIME_BYTES:] for place in places}
    found.note(part, first + first[-TIME_BYTES:] + tail, times)


def _settled(settle: pb.Settle, found: Arrivals) -> None:
    if _BACK.isdisjoint(settle.kinds):
        return
    for place, kind, at_us in zip(settle.places, settle.kinds, settle.at_us, strict=True):
        if kind in _BACK:
            # Without its last byte a key sorts in front of itself.
            found.note(place[:-SUFFIX_BYTES], index_key(b"", place, at_us)[:-1], {time_bytes(at_us)})
