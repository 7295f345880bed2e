"""What the model of the property tests does not say: limits, refusals, request ids, failures, events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raftcore.core.errors import Stalled
from raftcore.storage.kv import Batch, Store
from tests.task_log import START_US, TaskLog, opened
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.audit import audit
from z4sql.tasks.commands import COMMAND_VERSION, settings_outcome
from z4sql.tasks.due import Due, DueReader, cursor_before
from z4sql.tasks.errors import InvalidTask, UnknownCommand
from z4sql.tasks.events import EVENTS_MAX, EventKind, appended, clipped, decode_events
from z4sql.tasks.life import (
    Changed,
    ChangeKind,
    ChangeProblem,
    LifeCommands,
    RangeChange,
    RangeChanged,
    RangeKind,
    SettleKind,
    Settlement,
    SettleOutcome,
    TaskChange,
    change_outcome,
    id_place,
    lease_outcome,
    range_outcome,
    range_places,
    retire_outcome,
    settle_outcome,
)
from z4sql.tasks.model import NewTask, Task
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import ETAG_BYTES, State
from z4sql.tasks.requests import WINDOW_US
from z4sql.tasks.settings import SettingsChange

MINUTE_US = 60_000_000


class Bench:
    """A machine, a log for it, and the commands of a leader."""

    def __init__(self, path: Path) -> None:
        self.machine = opened(path)
        self.log = TaskLog()
        self.life = LifeCommands(self.log.builder.stamp_us)

    @property
    def now_us(self) -> int:
        return self.log.now_us

    def create(self, **fields: Any) -> str:
        return self.log.create(self.machine, [NewTask("n", **fields)]).ids[0]

    def get(self, task_id: str) -> Task:
        task = TaskReader(self.machine.store).get("n", task_id)
        assert task is not None
        return task

    def due(self) -> list[Due]:
        return DueReader(self.machine.store).due(b"n", after=None, until_us=self.now_us, limit=1_000)

    def lease(self, until_us: int | None = None) -> list[int]:
        """Lease all that is due and not leased."""
        takes = [due for due in self.due() if not due.lease_token]
        until_us = self.now_us + MINUTE_US if until_us is None else until_us
        return lease_outcome(self.carry_out(self.life.lease("w", until_us, takes)))

    def settle(self, task_id: str, token: int, kind: SettleKind, **fields: Any) -> SettleOutcome:
        item = Settlement(self.get(task_id).place, token, kind, **fields)
        (outcome,) = settle_outcome(self.carry_out(self.life.settle([item])))
        return outcome

    def change(self, task_id: str, kind: ChangeKind, request_id: str = "", **fields: Any) -> Changed:
        change = TaskChange(id_place("n", task_id), kind, **fields)
        return change_outcome(self.carry_out(self.life.change_task(change, request_id)))

    def carry_out(self, command: bytes) -> bytes:
        return self.log.carry_out(self.machine, command)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state")
    yield made
    assert audit(made.machine.store) == []
    made.machine.close()


class TestLeases:
    def test_a_task_is_never_leased_early_nor_twice(self, bench: Bench) -> None:
        task_id = bench.create(tts_seconds=1)
        early = Due(bench.get(task_id).place, bench.now_us + 1_000_000, 0, None)
        assert lease_outcome(bench.carry_out(bench.life.lease("w", bench.now_us, [early]))) == [0]
        bench.log.now_us += 1_000_000
        (token,) = bench.lease()
        assert token
        assert lease_outcome(bench.carry_out(bench.life.lease("w", bench.now_us, [early]))) == [0]

    def test_an_extension_wins_over_the_end_that_it_put_off(self, bench: Bench) -> None:
        task_id = bench.create()
        (token,) = bench.lease(bench.now_us + MINUTE_US)
        bench.log.now_us += MINUTE_US
        assert bench.settle(task_id, token, SettleKind.EXTEND, at_us=bench.now_us + 1) == SettleOutcome.DONE
        for kind in (SettleKind.LEASE_EXPIRED, SettleKind.LEASE_EXPIRED_DEAD):
            assert bench.settle(task_id, token, kind, at_us=bench.now_us) == SettleOutcome.STALE
        bench.log.now_us += 1
        again_us = bench.now_us + 5
        outcome = bench.settle(task_id, token, SettleKind.LEASE_EXPIRED, at_us=again_us)
        assert (outcome, bench.get(task_id).next_attempt_at_us) == (SettleOutcome.DONE, again_us)

    def test_an_acknowledgement_that_is_repeated_changes_nothing_and_is_no_other(self, bench: Bench) -> None:
        task_id = bench.create()
        (former,) = bench.lease()
        bench.settle(task_id, former, SettleKind.NACK, at_us=bench.now_us)
        (token,) = bench.lease()
        item = Settlement(bench.get(task_id).place, token, SettleKind.ACK)
        outcomes = settle_outcome(bench.carry_out(bench.life.settle([item, item])))
        assert outcomes == [SettleOutcome.DONE, SettleOutcome.REPEATED], "within one command too"
        done = bench.get(task_id)
        for _ in range(2):
            bench.log.now_us += MINUTE_US
            assert bench.settle(task_id, token, SettleKind.ACK) == SettleOutcome.REPEATED
            assert bench.settle(task_id, token, SettleKind.ACK, error="words") == SettleOutcome.REPEATED
        for kind in set(SettleKind) - {SettleKind.ACK}:
            assert bench.settle(task_id, token, kind, at_us=bench.now_us) == SettleOutcome.STALE
        for other in (0, former, token + 1):
            assert bench.settle(task_id, other, SettleKind.ACK) == SettleOutcome.STALE
        assert bench.get(task_id) == done and done.lease_token == token
        bench.change(task_id, ChangeKind.REMOVE)
        assert settle_outcome(bench.carry_out(bench.life.settle([item]))) == [SettleOutcome.STALE]

    def test_a_released_task_is_as_it_was(self, bench: Bench) -> None:
        task_id = bench.create()
        before = bench.get(task_id)
        (token,) = bench.lease()
        bench.settle(task_id, token, SettleKind.RELEASE)
        after = bench.get(task_id)
        assert (after.state, after.attempts, after.next_attempt_at_us) == (
            State.SCHEDULED,
            0,
            before.next_attempt_at_us,
        )
        assert (after.lease_owner, after.lease_token, after.lease_until_us) == ("", 0, None)

    def test_a_task_past_its_expiry_is_expired_and_not_leased(self, bench: Bench) -> None:
        task_id = bench.create(deliver_at_us=START_US + 1, expire_at_us=START_US + 2)
        bench.log.now_us = START_US + 1
        assert bench.due() == [Due(bench.get(task_id).place, START_US + 1, 0, START_US + 2)]
        bench.log.now_us = START_US + 2
        assert bench.lease() == [0]
        retired = retire_outcome(bench.carry_out(bench.life.retire([], [bench.get(task_id).place])))
        assert (retired.expired, bench.get(task_id).state) == (1, State.EXPIRED)
        assert bench.due() == []
        bench.change(task_id, ChangeKind.REDRIVE)
        assert bench.get(task_id).expire_at_us is None
        assert all(bench.lease())

    def test_long_texts_are_cut_between_characters(self, bench: Bench) -> None:
        task_id = bench.create()
        long = "ü" * 5_000
        takes = bench.due()
        (token,) = lease_outcome(bench.carry_out(bench.life.lease(long, bench.now_us + 1, takes)))
        assert bench.get(task_id).lease_owner == "ü" * 127
        bench.settle(task_id, token, SettleKind.NACK, at_us=bench.now_us, error=long)
        assert bench.get(task_id).last_error == "ü" * 512
        # Half of a surrogate pair is no Unicode; an error's text must not break the settlement.
        (token,) = bench.lease()
        bench.settle(task_id, token, SettleKind.DEAD, error="a\ud800")
        assert bench.get(task_id).last_error == "a?"


class TestRequestIds:
    def test_a_repeated_change_is_made_once_within_the_window(self, bench: Bench) -> None:
        task_id = bench.create(tts_seconds=9)
        first = bench.change(task_id, ChangeKind.REMOVE, "r")
        assert first.problem is None and first.place == id_place("n", task_id)
        bench.log.now_us += WINDOW_US - 1
        assert bench.change(task_id, ChangeKind.REMOVE, "r") == first
        bench.log.now_us += 1
        assert bench.change(task_id, ChangeKind.REMOVE, "r") == Changed(None, ChangeProblem.NOT_FOUND)

    def test_an_id_used_for_something_else_is_a_conflict(self, bench: Bench) -> None:
        task_id = bench.create(tts_seconds=9)
        conflict = Changed(None, ChangeProblem.CONFLICT)
        bench.log.create(bench.machine, [NewTask("n", tts_seconds=9)], "batch")
        assert bench.change(task_id, ChangeKind.RUN_NOW, "batch") == conflict
        assert bench.change(task_id, ChangeKind.RUN_NOW, "r").problem is None
        assert bench.change(task_id, ChangeKind.CANCEL, "r") == conflict
        assert bench.change(task_id, ChangeKind.RUN_NOW, "r", etag="0" * 2 * ETAG_BYTES) == conflict
        created = bench.log.create(bench.machine, [NewTask("n", tts_seconds=9)], "r")
        assert len(created.problems) == 1
        assert bench.get(task_id).state is State.SCHEDULED


class TestChanges:
    def test_a_rescheduled_task_keeps_its_id_and_its_large_payload(self, bench: Bench) -> None:
        payload = bytes(range(256)) * 40
        task_id = bench.create(payload=payload, deliver_at_us=START_US + 10)
        for at_us in (START_US + 30, START_US + 5, START_US + 10):
            changed = bench.change(task_id, ChangeKind.RESCHEDULE, deliver_at_us=at_us)
            task = bench.get(task_id)
            assert (task.deliver_at_us, task.next_attempt_at_us) == (at_us, at_us)
            assert (task.payload, task.place) == (payload, changed.place)
            assert audit(bench.machine.store) == []
        # Back at its first time, it is where its id says.
        assert bench.get(task_id).place == id_place("n", task_id)
        assert [event.kind for event in bench.get(task_id).events][1:] == [EventKind.RESCHEDULED] * 3

    def test_a_task_moved_away_and_back_in_one_entry_is_found_by_its_id(self, bench: Bench) -> None:
        task_id = bench.create(deliver_at_us=START_US + 10)
        commands = [
            bench.life.change_task(
                TaskChange(id_place("n", task_id), ChangeKind.RESCHEDULE, deliver_at_us=at_us)
            )
            for at_us in (START_US + 30, START_US + 10)
        ]
        commands.append(bench.life.change_task(TaskChange(id_place("n", task_id), ChangeKind.CANCEL)))
        (results,) = bench.machine.apply([bench.log.add(*commands)])
        assert [change_outcome(result).problem for result in results] == [None] * 3
        assert bench.get(task_id).state is State.CANCELED

    def test_payloads_cross_the_size_at_which_they_lie_apart(self, bench: Bench) -> None:
        task_id = bench.create(tts_seconds=1)
        for size in (4096, 4097, 10_000, 4096, 100_000, 0):
            bench.change(task_id, ChangeKind.UPDATE, payload=b"p" * size)
            assert bench.get(task_id).payload == b"p" * size
            assert audit(bench.machine.store) == []
        bench.change(task_id, ChangeKind.UPDATE, metadata={"bb": "1", "a": "ü"})
        task = bench.get(task_id)
        assert (list(task.metadata.items()), task.payload) == ([("a", "ü"), ("bb", "1")], b"")

    def test_an_etag_is_good_until_the_next_change(self, bench: Bench) -> None:
        task_id = bench.create(tts_seconds=1)
        etag = bench.get(task_id).etag
        assert bench.change(task_id, ChangeKind.RUN_NOW, etag=etag).problem is None
        assert bench.change(task_id, ChangeKind.CANCEL, etag=etag).problem is ChangeProblem.WRONG_ETAG
        assert bench.change(task_id, ChangeKind.CANCEL, etag=bench.get(task_id).etag).problem is None

    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("etag", {"kind": ChangeKind.CANCEL, "etag": "xyz"}),
            ("etag", {"kind": ChangeKind.CANCEL, "etag": "00"}),
            ("deliver_at", {"kind": ChangeKind.RESCHEDULE, "deliver_at_us": -1}),
            ("deliver_at", {"kind": ChangeKind.RESCHEDULE, "deliver_at_us": 1 << 62}),
            ("update", {"kind": ChangeKind.UPDATE}),
            ("metadata", {"kind": ChangeKind.UPDATE, "metadata": {"a": "\ud800"}}),
            ("metadata", {"kind": ChangeKind.UPDATE, "metadata": {str(n): "" for n in range(65)}}),
            ("metadata", {"kind": ChangeKind.UPDATE, "metadata": {"a": "x" * 17_000}}),
            ("payload", {"kind": ChangeKind.UPDATE, "payload": bytes((1 << 20) + 1)}),
        ],
    )
    def test_what_cannot_be_is_refused_before_it_is_logged(self, field: str, change: dict[str, Any]) -> None:
        with pytest.raises(InvalidTask) as refused:
            LifeCommands(lambda: 1).change_task(TaskChange(b"\1n" + bytes(16), **change))
        assert refused.value.field == field

    def test_a_range_is_changed_in_bounded_steps(self, bench: Bench) -> None:
        for offset in range(10):
            bench.create(deliver_at_us=START_US + offset)
        from_place, to_place = range_places("n", START_US + 2, START_US + 9)
        steps: list[RangeChanged] = []
        while from_place:
            step = RangeChange(from_place, to_place, RangeKind.PURGE, limit=3)
            steps.append(range_outcome(bench.carry_out(bench.life.change_tasks(step))))
            from_place = steps[-1].next_place or b""
        assert [(step.changed, step.examined) for step in steps] == [(3, 3), (3, 3), (1, 1)]
        kept = TaskReader(bench.machine.store).page("n", 0, 1 << 62, limit=100).tasks
        assert [task.deliver_at_us - START_US for task in kept] == [0, 1, 9]
        assert bench.machine.counts("n")[State.SCHEDULED] == 3


class TestEvents:
    def test_the_newest_stay(self) -> None:
        events = b""
        for number in range(40):
            events = appended(events, EventKind.NACKED, number, number, b"x" * number * 10)
        kept = decode_events(events)
        assert [event.at_us for event in kept] == list(range(40 - EVENTS_MAX, 40))
        assert kept[-1].detail == "x" * 255

    @pytest.mark.parametrize("detail", [b"", b"d"])
    def test_the_oldest_goes_when_one_more_comes(self, detail: bytes) -> None:
        events = b""
        for number in range(EVENTS_MAX):
            events = appended(events, EventKind.RUN_NOW, number, 0, detail)
        assert len(decode_events(events)) == EVENTS_MAX
        kept = decode_events(appended(events, EventKind.EXTENDED, 99, 0))
        assert [event.at_us for event in kept] == [*range(1, EVENTS_MAX), 99]

    def test_extensions_of_one_attempt_are_one(self) -> None:
        events = appended(b"", EventKind.LEASED, 1, 1)
        for at_us in range(2, 30):
            events = appended(events, EventKind.EXTENDED, at_us, 1)
        events = appended(appended(events, EventKind.LEASED, 30, 2), EventKind.EXTENDED, 31, 2)
        assert [(event.kind, event.at_us) for event in decode_events(events)] == [
            (EventKind.LEASED, 1),
            (EventKind.EXTENDED, 29),
            (EventKind.LEASED, 30),
            (EventKind.EXTENDED, 31),
        ]

    @pytest.mark.parametrize("text", ["", "abc", "aü", "a日本", "\U0001f600" * 3])
    def test_texts_are_cut_between_characters(self, text: str) -> None:
        data = text.encode()
        for length in range(len(data) + 2):
            cut = clipped(data, length)
            assert text.startswith(cut.decode()) and len(data[:length]) - len(cut) < 4


def test_a_cursor_stands_before_what_is_due_at_its_time(bench: Bench) -> None:
    for offset in (1, 2, 2, 3):
        bench.create(deliver_at_us=START_US + offset)
    reader = DueReader(bench.machine.store)
    cursor = cursor_before(b"n", START_US + 2)
    found = reader.due(b"n", after=cursor, until_us=START_US + 2, limit=9)
    assert [due.next_attempt_at_us - START_US for due in found] == [2, 2]
    assert reader.next_due_us(b"n", cursor) == START_US + 2
    assert reader.next_due_us(b"n", found[-1].cursor) == START_US + 3
    assert reader.next_due_us(b"nn") is None


def test_what_finishes_at_one_stamp_is_found_whatever_was_seen_before(bench: Bench) -> None:
    reader = DueReader(bench.machine.store)
    earlier, later = bench.create(deliver_at_us=START_US + 1), bench.create(deliver_at_us=START_US + 2)
    places = [bench.get(task_id).place for task_id in (earlier, later)]
    bench.change(later, ChangeKind.CANCEL)
    assert reader.finished_before(b"n", START_US + 1, 9) == places[1:]
    assert reader.next_finished_us(b"n") == START_US
    bench.change(earlier, ChangeKind.CANCEL)
    assert reader.finished_before(b"n", START_US + 1, 9) == places
    assert reader.finished_before(b"n", START_US, 9) == []
    bench.carry_out(bench.life.retire(places, []))
    assert reader.next_finished_us(b"n") is None


def test_a_batch_that_the_store_refuses_leaves_the_counters_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = bench.create()
    purge = bench.life.change_tasks(RangeChange(*range_places("n", 0, 1 << 63), RangeKind.CANCEL))
    entry = bench.log.add(purge)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", _refuse)
        with pytest.raises(Stalled):
            bench.machine.apply([entry])
    assert bench.machine.counts("n")[State.SCHEDULED] == 1
    bench.machine.apply([entry])
    assert bench.get(task_id).state is State.CANCELED
    assert bench.machine.counts("n") == {state: int(state is State.CANCELED) for state in State}
    assert bench.machine.counts("unknown") == dict.fromkeys(State, 0)


def _refuse(store: Store, batch: Batch) -> None:
    raise Stalled("Write stall")


@pytest.mark.parametrize("kind", ["settle", "change_task", "change_tasks"])
def test_a_kind_of_a_newer_program_halts_the_machine(bench: Bench, kind: str) -> None:
    task_id = bench.create()
    (token,) = bench.lease()
    place = bench.get(task_id).place
    command = pb.Command(version=COMMAND_VERSION, stamp_us=bench.now_us)
    if kind == "settle":
        command.settle.CopyFrom(pb.Settle(places=[place], tokens=[token], kinds=b"\x63", at_us=[0]))
    elif kind == "change_task":
        command.change_task.CopyFrom(pb.ChangeTask(id_place=place, kind=99))  # type: ignore[arg-type]  # newer
    else:
        command.change_tasks.CopyFrom(pb.ChangeTasks(kind=99))  # type: ignore[arg-type]  # newer
    with pytest.raises(UnknownCommand):
        bench.machine.apply([bench.log.add(command.SerializeToString())])


def test_pages_hold_only_the_states_asked_for(bench: Bench) -> None:
    ids = [bench.create(deliver_at_us=START_US + offset, payload=bytes(5_000)) for offset in range(6)]
    for task_id in ids[::2]:
        bench.change(task_id, ChangeKind.CANCEL)
    reader = TaskReader(bench.machine.store)
    found, after = [], None
    while True:
        page = reader.page(
            "n", 0, 1 << 62, limit=1, after=after, states=frozenset({State.CANCELED}), with_payload=False
        )
        found += page.tasks
        after = page.after
        if after is None:
            break
    assert [task.id for task in found] == ids[::2]
    assert {task.payload for task in found} == {b""}
    assert reader.tasks_at([bench.get(ids[0]).place, b"\1n" + bytes(16)]) == [bench.get(ids[0]), None]


class TestPauses:
    def change(self, bench: Bench, **given: Any) -> tuple[bool, int | None]:
        command = bench.log.builder.set_namespace("n", SettingsChange(**given))
        settings = settings_outcome(bench.carry_out(command))
        return settings.paused, settings.paused_until_us

    def test_a_pause_ends_at_its_time_or_when_resumed(self, bench: Bench) -> None:
        until_us = bench.now_us + MINUTE_US
        assert self.change(bench, paused_until_us=until_us) == (True, until_us)
        settings = TaskReader(bench.machine.store).settings("n")
        assert settings is not None
        assert settings.is_paused(until_us - 1) and not settings.is_paused(until_us)
        assert self.change(bench, paused_until_us=0) == (True, None)
        assert self.change(bench, paused_until_us=until_us) == (True, until_us)
        assert self.change(bench, paused=False) == (False, None)
        assert self.change(bench, paused=True) == (True, None)

    def test_contradictions_are_refused(self, bench: Bench) -> None:
        for given in ({"paused_until_us": -1}, {"paused_until_us": 5, "paused": False}):
            with pytest.raises(InvalidTask) as refused:
                self.change(bench, **given)
            assert refused.value.field == "paused_until"


@pytest.mark.parametrize("expire_at_us", [START_US, START_US - 1, -5, 1 << 62])
def test_an_expiry_that_leaves_no_time_is_refused(bench: Bench, expire_at_us: int) -> None:
    task = NewTask("n", deliver_at_us=START_US, expire_at_us=expire_at_us)
    created = bench.log.builder.create_tasks([task])
    problem = created.invalid[0]
    assert isinstance(problem, InvalidTask) and problem.field == "expire_at"
