"""The replicated machine: a result for each command, one state however the log is cut, no unknown skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftcore.core.errors import InvariantViolation, Stalled, StorageError
from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.replica.group import encode_group
from raftcore.storage.kv import Batch, Store
from tests.task_log import START_US, TaskLog, opened
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.commands import COMMAND_VERSION, Conflict
from z4sql.tasks.errors import InvalidTask, UnknownCommand
from z4sql.tasks.ids import format_id, parse_id
from z4sql.tasks.keys import DUE, EXPIRY, MOVED, PAYLOAD, REQUEST, TASK, namespace_part, place, time_bytes
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import MemberAddresses, NewTask
from z4sql.tasks.reader import FORMAT_KEY, TaskReader
from z4sql.tasks.record import State
from z4sql.tasks.requests import WINDOW_US


@pytest.fixture
def machine(tmp_path: Path):
    machine = opened(tmp_path / "state")
    yield machine
    machine.close()


@pytest.fixture
def log() -> TaskLog:
    return TaskLog()


def keys(machine: TaskMachine, prefix: bytes) -> list[bytes]:
    return list(machine.store.keys(prefix, bytes([prefix[0] + 1])))


def test_a_created_task_is_read_back_whole(machine: TaskMachine, log: TaskLog) -> None:
    asked = NewTask("n", {"user": "ü"}, b"\0payload", START_US + 5, request_id="r")
    (task_id,) = log.create(machine, [asked]).ids
    task = TaskReader(machine.store).get("n", task_id.lower())
    assert task is not None
    assert (task.id, task.namespace, task.deliver_at_us) == (task_id, "n", START_US + 5)
    assert (task.metadata, task.payload, task.request_id) == (asked.metadata, asked.payload, "r")
    assert (task.created_at_us, task.state, task.next_attempt_at_us) == (
        START_US,
        State.SCHEDULED,
        START_US + 5,
    )
    assert TaskReader(machine.store).get("other", task_id) is None


def test_similar_namespaces_share_nothing(machine: TaskMachine, log: TaskLog) -> None:
    names = ["h", "h#x", "hh", "h ", "é", "e"]
    for name in names:
        log.create(machine, [NewTask(name)])
    reader = TaskReader(machine.store)
    assert [reader.count(name) for name in names] == [1] * len(names)
    assert set(reader.namespaces()) == set(names)


def test_large_payloads_lie_apart_and_every_task_is_due(machine: TaskMachine, log: TaskLog) -> None:
    tasks = [NewTask("n", payload=b"x" * size) for size in (0, 4096, 4097, 100_000)]
    ids = log.create(machine, tasks).ids
    assert len(keys(machine, PAYLOAD)) == 2
    assert len(keys(machine, DUE)) == len(keys(machine, TASK)) == 4
    reader = TaskReader(machine.store)
    for task, task_id in zip(tasks, ids, strict=True):
        found = reader.get("n", task_id)
        assert found is not None and found.payload == task.payload


def test_other_kinds_of_entries_only_move_the_position(machine: TaskMachine, log: TaskLog) -> None:
    before = TaskReader(machine.store).state_hash()
    assert machine.apply([log.add(kind=EntryKind.NOOP), log.add(kind=EntryKind.CONFIG, term=3)]) == [[], []]
    assert (machine.applied_index, machine.applied_term, machine.clock_us) == (2, 3, 0)
    assert TaskReader(machine.store).applied() == (2, 3, 0)
    assert TaskReader(machine.store).state_hash() != before
    assert machine.apply([]) == []


def test_a_gap_or_a_repeated_entry_is_refused(machine: TaskMachine, log: TaskLog) -> None:
    first, second, third = (log.add(kind=EntryKind.NOOP) for _ in range(3))
    machine.apply([first])
    for wrong in ([first], [third], [second, second]):
        with pytest.raises(InvariantViolation):
            machine.apply(wrong)
    machine.apply([second, third])
    assert machine.applied_index == 3


class TestRequestIds:
    def test_a_repeated_task_is_made_once_also_after_a_restart(
        self, machine: TaskMachine, log: TaskLog
    ) -> None:
        first = log.create(machine, [NewTask("n", request_id="r"), NewTask("n")])
        log.now_us += WINDOW_US - 1
        machine.close()
        machine.open()
        again = log.create(machine, [NewTask("n"), NewTask("n", request_id="r")])
        assert again.ids[1] == first.ids[0] and not again.problems
        assert TaskReader(machine.store).count("n") == 3

    def test_a_delay_that_is_asked_again_later_is_the_same_request(
        self, machine: TaskMachine, log: TaskLog
    ) -> None:
        first = log.create(machine, [NewTask("n", tts_seconds=60, request_id="r")])
        log.now_us += 5_000_000
        assert log.create(machine, [NewTask("n", tts_seconds=60, request_id="r")]).ids == first.ids

    def test_other_content_is_a_conflict_that_names_the_first(
        self, machine: TaskMachine, log: TaskLog
    ) -> None:
        (first,) = log.create(machine, [NewTask("n", {"a": "1"}, request_id="r")]).ids
        others = [
            NewTask("n", {"a": "2"}, request_id="r"),
            NewTask("n", {"a": "1"}, b"x", request_id="r"),
            NewTask("n", {"a": "1"}, deliver_at_us=5, request_id="r"),
        ]
        created = log.create(machine, others)
        assert created.ids == [""] * 3
        assert created.problems == dict.fromkeys(range(3), Conflict(first))
        assert TaskReader(machine.store).count("n") == 1

    def test_an_id_counts_within_its_namespace(self, machine: TaskMachine, log: TaskLog) -> None:
        ids = log.create(machine, [NewTask(name, request_id="r") for name in ("a", "b", "a")]).ids
        assert ids[0] == ids[2] != ids[1]
        assert parse_id(ids[1])[1] != parse_id(ids[0])[1]

    def test_a_batchs_id_is_not_a_tasks_id(self, machine: TaskMachine, log: TaskLog) -> None:
        log.create(machine, [NewTask("n")], "r")
        log.create(machine, [NewTask("n", request_id="r")])
        assert TaskReader(machine.store).count("n") == 2

    def test_a_repeated_batch_gives_the_first_outcome_item_by_item(
        self, machine: TaskMachine, log: TaskLog
    ) -> None:
        log.create(machine, [NewTask("n", {"a": "1"}, request_id="x")])
        tasks = [NewTask("n"), NewTask("n", {"a": "2"}, request_id="x"), NewTask("n", request_id="y")]
        first = log.create(machine, tasks, "batch")
        log.now_us += 1_000_000
        assert log.create(machine, tasks, "batch") == first
        assert isinstance(first.problems[1], Conflict)

    def test_it_is_forgotten_exactly_at_the_end_of_the_window(
        self, machine: TaskMachine, log: TaskLog
    ) -> None:
        first = log.create(machine, [NewTask("n", {"a": "1"}, request_id="r")])
        log.now_us = START_US + WINDOW_US - 1
        assert log.create(machine, [NewTask("n", {"a": "1"}, request_id="r")]).ids == first.ids
        log.now_us = START_US + WINDOW_US
        second = log.create(machine, [NewTask("n", {"a": "2"}, request_id="r")])
        assert not second.problems and second.ids != first.ids
        # The later use is not forgotten with the earlier one.
        log.now_us += 1_000_000
        assert log.create(machine, [NewTask("n", {"a": "2"}, request_id="r")]).ids == second.ids
        assert len(keys(machine, REQUEST)) == len(keys(machine, EXPIRY)) == 1

    def test_the_table_holds_no_more_than_the_window_at_any_load(
        self, machine: TaskMachine, log: TaskLog
    ) -> None:
        for minute in range(40):
            log.now_us = START_US + minute * 60_000_000
            log.create(machine, [NewTask("n", request_id=f"{minute}-{number}") for number in range(600)])
        assert len(keys(machine, REQUEST)) == len(keys(machine, EXPIRY)) == 15 * 600

    def test_a_command_forgets_a_bounded_number(self, machine: TaskMachine, log: TaskLog) -> None:
        log.create(machine, [NewTask("n", request_id=str(number)) for number in range(1000)])
        log.now_us += WINDOW_US
        log.create(machine, [NewTask("n")])
        assert len(keys(machine, REQUEST)) == len(keys(machine, EXPIRY)) == 1000 - 256


class TestHalting:
    """A command that this program does not know stops the shard; nothing of its entry is applied."""

    @pytest.mark.parametrize(
        "data",
        [
            pb.Command(version=COMMAND_VERSION + 1, create_tasks=pb.CreateTasks()).SerializeToString(),
            pb.Command(create_tasks=pb.CreateTasks()).SerializeToString(),
            pb.Command(version=COMMAND_VERSION).SerializeToString(),
            # Field 99, as a newer program may write it.
            pb.Command(version=COMMAND_VERSION).SerializeToString() + b"\x9a\x06\x00",
            b"\xff\xff\xff",
            b"",
        ],
    )
    def test_an_unknown_command_is_never_skipped(
        self, machine: TaskMachine, log: TaskLog, data: bytes
    ) -> None:
        before = TaskReader(machine.store).state_hash()
        good = log.builder.create_tasks([NewTask("n", request_id="r")], "batch").data
        assert good is not None
        entries = [log.add(good), log.add(good, data)]
        with pytest.raises(UnknownCommand):
            machine.apply(entries)
        assert TaskReader(machine.store).state_hash() == before
        assert machine.applied_index == 0 and machine.clock_us == 0
        # What the failed attempt had in memory is forgotten.
        machine.apply(entries[:1])
        assert TaskReader(machine.store).count("n") == 1
        assert set(TaskReader(machine.store).namespaces()) == {"n"}


def test_a_write_that_the_store_refuses_can_be_applied_again(
    machine: TaskMachine, log: TaskLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = log.builder.create_tasks([NewTask("n", request_id="r")], "batch")
    assert command.data is not None
    entry = log.add(command.data)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", _refuse)
        with pytest.raises(Stalled):
            machine.apply([entry])
    assert machine.applied_index == 0
    ((result,),) = machine.apply([entry])
    (task_id,) = command.outcome(result).ids
    assert TaskReader(machine.store).get("n", task_id) is not None
    assert set(TaskReader(machine.store).namespaces()) == {"n"}


def _refuse(store: Store, batch: Batch) -> None:
    raise Stalled("Write stall")


def test_expiry_does_not_depend_on_how_entries_are_sliced(tmp_path: Path, log: TaskLog) -> None:
    for step in range(12):
        log.now_us += WINDOW_US // 3
        tasks = [NewTask("n", request_id=f"{step % 5}"), NewTask("n", request_id=f"{step}-only")]
        command = log.builder.create_tasks(tasks).data
        assert command is not None
        log.add(command)
    hashes = set()
    for size in (1, 2, 5, 12):
        machine = opened(tmp_path / str(size))
        for at in range(0, 12, size):
            machine.apply(log.entries[at : at + size])
        hashes.add(TaskReader(machine.store).state_hash())
        machine.close()
    assert len(hashes) == 1


def test_state_of_another_version_is_refused(machine: TaskMachine, log: TaskLog) -> None:
    log.create(machine, [NewTask("n")])
    batch = Batch()
    batch.put(FORMAT_KEY, b"1")
    machine.store.write(batch)
    machine.close()
    with pytest.raises(StorageError, match="another version"):
        machine.open()


def test_members_are_registered_and_replaced(machine: TaskMachine, log: TaskLog) -> None:
    def member(name: str, port: int) -> MemberAddresses:
        return MemberAddresses(name, f"h:{port}", f"h:{port + 1}", f"h:{port + 2}", f"h:{port + 3}")

    for registered in (member("b", 10), member("a", 20), member("b", 30)):
        assert log.carry_out(machine, log.builder.register_member(registered)) == b""
    reader = TaskReader(machine.store)
    assert reader.members() == [member("a", 20), member("b", 30)]
    assert reader.member("b") == member("b", 30) and reader.member("c") is None


def test_a_checkpoint_is_the_state_at_its_index(machine: TaskMachine, log: TaskLog, tmp_path: Path) -> None:
    log.create(machine, [NewTask("n", request_id="r")])
    expected = TaskReader(machine.store).state_hash()
    assert machine.checkpoint(tmp_path / "copy") == 1
    log.create(machine, [NewTask("n")])
    copy = opened(tmp_path / "copy")
    assert (copy.applied_index, TaskReader(copy.store).state_hash()) == (1, expected)
    copy.apply(log.entries[1:])
    assert TaskReader(copy.store).state_hash() == TaskReader(machine.store).state_hash()
    copy.close()


def test_a_machine_without_a_due_index_has_the_same_state_otherwise(
    machine: TaskMachine, log: TaskLog, tmp_path: Path
) -> None:
    log.create(machine, [NewTask("n", payload=bytes(5000)), NewTask("n", request_id="r")])
    log.create(machine, [NewTask("n")])
    copy = opened(tmp_path / "copy", with_due_index=False)
    copy.apply(log.entries)
    assert keys(copy, DUE) == [] and len(keys(machine, DUE)) == 3
    ours, theirs = TaskReader(machine.store), TaskReader(copy.store)
    assert ours.state_hash(with_due_index=False) == theirs.state_hash() != ours.state_hash()
    copy.close()


class TestPages:
    def test_pages_join_without_gap_or_repetition(self, machine: TaskMachine, log: TaskLog) -> None:
        ids = log.create(machine, [NewTask("n", deliver_at_us=at // 2) for at in range(25)]).ids
        log.create(machine, [NewTask("nn", deliver_at_us=1), NewTask("m", deliver_at_us=1)])
        reader = TaskReader(machine.store)
        for limit in (1, 5, 7, 25, 26):
            found, after = [], None
            while True:
                page = reader.page("n", 0, 100, limit=limit, after=after)
                assert len(page.tasks) <= limit
                found += [task.id for task in page.tasks]
                after = page.after
                if after is None:
                    break
            assert found == ids

    def test_bounds_are_half_open(self, machine: TaskMachine, log: TaskLog) -> None:
        log.create(machine, [NewTask("n", deliver_at_us=at) for at in range(10)])
        page = TaskReader(machine.store).page("n", 3, 6, limit=10)
        assert [task.deliver_at_us for task in page.tasks] == [3, 4, 5]
        assert TaskReader(machine.store).count("n", 3, 6) == 3
        assert TaskReader(machine.store).page("none", 0, 10, limit=10).tasks == []

    def test_a_wrong_cursor_is_refused(self, machine: TaskMachine) -> None:
        with pytest.raises(InvalidTask):
            TaskReader(machine.store).page("n", 0, 1, limit=1, after="x")


def test_a_moved_task_is_found_by_its_id_and_not_by_its_place(machine: TaskMachine, log: TaskLog) -> None:
    (task_id,) = log.create(machine, [NewTask("n", deliver_at_us=100)]).ids
    deliver_at_us, sequence = parse_id(task_id)
    part, old, new = namespace_part(b"n"), place(deliver_at_us, sequence), place(500, sequence)
    record = bytearray(machine.store.get(TASK + part + old) or b"")
    record[2] |= 2
    record += deliver_at_us.to_bytes(8, "little", signed=True)
    batch = Batch()
    batch.delete(TASK + part + old)
    batch.put(TASK + part + new, bytes(record))
    batch.put(MOVED + part + old, time_bytes(500))
    machine.store.write(batch)
    reader = TaskReader(machine.store)
    task = reader.get("n", task_id)
    assert task is not None and (task.id, task.deliver_at_us) == (task_id, 500)
    assert reader.get("n", format_id(500, sequence)) is None


def test_a_group_of_many_commands_has_a_result_for_each(machine: TaskMachine, log: TaskLog) -> None:
    commands = [log.builder.create_tasks([NewTask("n", {"at": str(at)})]) for at in range(50)]
    data = [command.data for command in commands if command.data is not None]
    (results,) = machine.apply([Entry(Term(1), Index(1), EntryKind.COMMANDS, encode_group(data))])
    reader = TaskReader(machine.store)
    for at, (command, result) in enumerate(zip(commands, results, strict=True)):
        task = reader.get("n", command.outcome(result).ids[0])
        assert task is not None and task.metadata == {"at": str(at)}


def test_position_and_clock_survive_a_restart(machine: TaskMachine, log: TaskLog) -> None:
    log.create(machine, [NewTask("n")])
    log.now_us += 5
    log.create(machine, [NewTask("n")])
    machine.apply([log.add(kind=EntryKind.NOOP, term=4)])
    machine.close()
    assert machine.open() == 3
    assert (machine.applied_term, machine.clock_us) == (4, START_US + 5)
