"""Making commands: every item is judged by itself, and time never runs backwards."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.task_log import START_US, TaskLog, opened
from z4sql.tasks.commands import CommandBuilder, Conflict, settings_outcome
from z4sql.tasks.errors import InvalidTask, RequestIdReused
from z4sql.tasks.ids import parse_id
from z4sql.tasks.model import DELIVER_AT_MAX_US, NamespaceSettings, NewTask
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.requests import WINDOW_US
from z4sql.tasks.settings import LIMITS, SettingsChange

ROOT = Path(__file__).resolve().parents[2]
GOOD = NewTask("n")


@pytest.mark.parametrize(
    ("task", "field"),
    [
        (NewTask(""), "namespace"),
        (NewTask("n" * 256), "namespace"),
        (NewTask("é" * 128), "namespace"),
        (NewTask("a\0b"), "namespace"),
        (NewTask("\ud800"), "namespace"),
        (NewTask("n", {"k": "\ud800"}), "metadata"),
        (NewTask("n", {"\ud800": "v"}), "metadata"),
        (NewTask("n", {str(number): "v" for number in range(65)}), "metadata"),
        (NewTask("n", {"k": "v" * (16 << 10)}), "metadata"),
        (NewTask("n", payload=bytes((1 << 20) + 1)), "payload"),
        (NewTask("n", request_id="r" * 256), "request_id"),
        (NewTask("n", request_id="\udfff"), "request_id"),
        (NewTask("n", tts_seconds=-1), "tts_seconds"),
        (NewTask("n", tts_seconds=1 << 62), "tts_seconds"),
        (NewTask("n", deliver_at_us=-1), "deliver_at"),
        (NewTask("n", deliver_at_us=DELIVER_AT_MAX_US + 1), "deliver_at"),
        (NewTask("n", deliver_at_us=1 << 62), "deliver_at"),
    ],
)
def test_a_wrong_item_is_named_and_stops_no_other(tmp_path: Path, task: NewTask, field: str) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()
    created = log.create(machine, [GOOD, task, GOOD])
    problem = created.problems[1]
    assert isinstance(problem, InvalidTask) and problem.field == field
    assert list(created.problems) == [1] and created.ids[1] == ""
    assert TaskReader(machine.store).count("n") == 2
    assert parse_id(created.ids[2])[1] == parse_id(created.ids[0])[1] + 1
    machine.close()


@pytest.mark.parametrize(
    "task",
    [
        NewTask("n" * 255),
        NewTask("n", {str(number): "v" for number in range(64)}),
        NewTask("n", payload=bytes(1 << 20)),
        NewTask("n", request_id="r" * 255),
        NewTask("n", deliver_at_us=0),
        NewTask("n", deliver_at_us=DELIVER_AT_MAX_US),
    ],
)
def test_the_limits_themselves_are_allowed(tmp_path: Path, task: NewTask) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()
    created = log.create(machine, [task])
    assert not created.problems
    found = TaskReader(machine.store).get(task.namespace, created.ids[0])
    assert found is not None
    assert (found.metadata, found.payload) == (task.metadata, task.payload)
    machine.close()


def test_a_batch_of_wrong_items_proposes_nothing() -> None:
    command = TaskLog().builder.create_tasks([NewTask(""), NewTask("\0")])
    assert command.data is None
    created = command.outcome(None)
    assert created.ids == ["", ""] and set(created.problems) == {0, 1}


def test_a_wrong_request_id_of_the_batch_concerns_every_item() -> None:
    command = TaskLog().builder.create_tasks([GOOD, GOOD], "r" * 256)
    assert command.data is None
    for problem in command.outcome(None).problems.values():
        assert isinstance(problem, InvalidTask) and problem.field == "request_id"


def test_a_delay_wins_over_a_time_and_neither_means_now(tmp_path: Path) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()
    tasks = [NewTask("n", deliver_at_us=5, tts_seconds=2), NewTask("n", deliver_at_us=5), NewTask("n")]
    due = [parse_id(task_id)[0] for task_id in log.create(machine, tasks).ids]
    assert due == [START_US + 2_000_000, 5, START_US]
    machine.close()


def test_ids_of_large_and_small_batches_lead_to_their_tasks(tmp_path: Path) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()
    for size in (1, 7, 8, 600):
        tasks = [NewTask("n", {"at": f"{size}-{at}"}, tts_seconds=at % 3) for at in range(size)]
        ids = log.create(machine, tasks).ids
        reader = TaskReader(machine.store)
        for task, task_id in zip(tasks, ids, strict=True):
            found = reader.get("n", task_id)
            assert found is not None and found.metadata == task.metadata and found.id == task_id
    machine.close()


def test_stamps_never_run_backwards() -> None:
    clock_us, applied_us = [100], [0]
    builder = CommandBuilder(lambda: clock_us[0], lambda: applied_us[0])
    assert builder.stamp_us() == 100
    clock_us[0] = 50
    assert builder.stamp_us() == 100
    applied_us[0] = 200  # another leader's clock was ahead
    assert builder.stamp_us() == 200
    clock_us[0] = 300
    assert builder.stamp_us() == 300


def test_a_batch_is_known_again_by_its_content_alone(tmp_path: Path) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()
    two, four = [GOOD] * 2, [GOOD] * 4
    first = log.create(machine, two, "r")
    log.now_us += 1_000_000
    assert log.create(machine, two, "r").ids == first.ids
    other = log.create(machine, four, "r")
    assert other.ids == [""] * 4
    assert all(isinstance(problem, Conflict) for problem in other.problems.values())
    assert TaskReader(machine.store).count("n") == 2
    machine.close()


def test_settings_merge_and_contradictions_are_results(tmp_path: Path) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()

    def change(**settings: object) -> bytes:
        return log.carry_out(machine, log.builder.set_namespace("n", SettingsChange(**settings)))  # type: ignore[arg-type]

    first = settings_outcome(change(attempts_max=3, paused=True))
    assert (first.attempts_max, first.paused, first.ack_deadline_seconds) == (3, True, 300)
    assert first.created_at_us == START_US
    log.now_us += 1
    second = settings_outcome(change(paused=False, retention_seconds=0, backoff_multiplier=1.5))
    assert (second.attempts_max, second.paused, second.retention_seconds) == (3, False, 0)
    assert second.created_at_us == START_US
    with pytest.raises(InvalidTask, match="backoff") as refused:
        settings_outcome(change(backoff_min_ms=4_000_000))
    assert refused.value.field == "backoff_min_ms"
    reader = TaskReader(machine.store)
    assert reader.settings("n") == second
    assert reader.namespaces() == {"n": second}
    assert reader.settings("other") is None
    machine.close()


def test_a_pause_drops_the_end_of_one_that_is_over(tmp_path: Path) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()

    def change(**settings: object) -> NamespaceSettings:
        log.now_us += 1
        command = log.builder.set_namespace("n", SettingsChange(**settings))  # type: ignore[arg-type]
        return settings_outcome(log.carry_out(machine, command))

    until_us = log.now_us + 1_000
    assert change(paused_until_us=until_us).paused
    assert change(paused=True).paused_until_us == until_us, "it is yet to come"
    log.now_us = until_us
    assert change(attempts_max=3).paused_until_us == until_us, "not asked to pause"
    again = change(paused=True)
    assert (again.paused, again.paused_until_us) == (True, None)
    later_us = log.now_us + 1_000
    assert change(paused=True, paused_until_us=later_us).paused_until_us == later_us
    assert change(paused=True, paused_until_us=0).paused_until_us is None
    machine.close()


def test_settings_are_set_once_under_a_request_id(tmp_path: Path) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()

    def change(request_id: str, **settings: object) -> NamespaceSettings:
        log.now_us += 1
        command = log.builder.set_namespace("n", SettingsChange(**settings), request_id)  # type: ignore[arg-type]
        return settings_outcome(log.carry_out(machine, command))

    first = change("r", attempts_max=5, paused=True)
    change("", attempts_max=7)
    assert change("r", attempts_max=5, paused=True) == first, "the same answer"
    assert TaskReader(machine.store).settings("n") == replace(first, attempts_max=7), "nothing was done"
    for settings in ({"attempts_max": 6}, {"attempts_max": 5}, {"attempts_max": 5, "paused": False}):
        with pytest.raises(RequestIdReused):
            change("r", **settings)
    with pytest.raises(InvalidTask, match="request_id"):
        change("r" * 300, attempts_max=5)
    log.now_us += WINDOW_US
    assert change("r", attempts_max=6).attempts_max == 6, "the window is over"
    machine.close()


def test_two_changes_of_one_entry_build_on_each_other(tmp_path: Path) -> None:
    machine, log = opened(tmp_path / "state"), TaskLog()
    create = log.builder.create_tasks([GOOD]).data
    assert create is not None
    set_namespace = log.builder.set_namespace
    entries = [
        log.add(create, set_namespace("n", SettingsChange(attempts_max=3))),
        log.add(set_namespace("n", SettingsChange(paused=True))),
    ]
    _, (result,) = machine.apply(entries)
    settings = settings_outcome(result)
    assert (settings.attempts_max, settings.paused) == (3, True)
    assert TaskReader(machine.store).settings("n") == settings
    machine.close()


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_a_setting_outside_its_limits_is_refused_by_name(name: str) -> None:
    least, greatest = LIMITS[name]
    for value in (least - 1, greatest + 1, float("nan"), float("inf")):
        with pytest.raises(InvalidTask, match=re.escape(name)):
            TaskLog().builder.set_namespace("n", SettingsChange(**{name: value}))  # type: ignore[arg-type]


def test_generated_code_is_not_stale(tmp_path: Path) -> None:
    for package in ("z4sql/api/_pb", "z4sql/tasks/_pb"):
        (tmp_path / package).mkdir(parents=True)
    subprocess.run([ROOT / "proto/generate", tmp_path], check=True, timeout=60)
    generated = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(generated) == 6
    for path in generated:
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), f"{committed} is stale: run proto/generate"
