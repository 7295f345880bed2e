"""The machine against a model made of dicts, however the log is sliced and wherever it restarts."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from raftcore.core.types import EntryKind
from tests.task_log import START_US, TaskLog, opened
from z4sql.tasks.commands import Conflict, CreateCommand, Created, settings_outcome
from z4sql.tasks.errors import InvalidTask, RequestIdReused, TaskError
from z4sql.tasks.ids import format_id, format_ids, parse_id
from z4sql.tasks.keys import DUE, PAYLOAD, sequence_of
from z4sql.tasks.model import DELIVER_AT_MAX_US, NamespaceSettings, NewTask
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.requests import WINDOW_US
from z4sql.tasks.settings import SettingsChange, merged

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
tasks = st.builds(
    NewTask,
    namespace=st.sampled_from(["a", "aa", "é", "a "]),
    metadata=st.dictionaries(text, text, max_size=3),
    payload=st.sampled_from([b"", b"p", b"q" * 4096, b"r" * 4097]),
    deliver_at_us=st.none() | st.integers(0, 3) | st.just(DELIVER_AT_MAX_US),
    tts_seconds=st.sampled_from([0, 0, 1, 3600]),
    request_id=st.sampled_from(["", "", "r", "s"]),
)
creates = st.tuples(st.lists(tasks, min_size=1, max_size=10), st.sampled_from(["", "", "", "B", "C"]))
changes = st.tuples(
    st.tuples(st.sampled_from(["a", "z"]), st.sampled_from(["", "", "B", "C"])),
    st.builds(
        SettingsChange,
        attempts_max=st.none() | st.integers(1, 9),
        backoff_min_ms=st.none() | st.sampled_from([0, 5000, 5_000_000]),
        backoff_max_ms=st.none() | st.sampled_from([1000, 6_000_000]),
        paused=st.none() | st.booleans(),
        paused_until_us=st.none() | st.none() | st.sampled_from([0, START_US + 1, START_US + 2 * WINDOW_US]),
    ).filter(lambda change: not (change.paused is False and change.paused_until_us)),
)
pauses = st.sampled_from([0, 1, 1_000_000, WINDOW_US // 2, WINDOW_US - 1, WINDOW_US, 3 * WINDOW_US])
entries = st.none() | st.lists(st.tuples(pauses, creates | changes), min_size=1, max_size=4)
"""None is an entry without commands; otherwise, for each command, how far the clock moves before it."""


@dataclass
class Model:
    """What the machine should hold, and answer."""

    tasks: dict[tuple[str, str], NewTask] = field(default_factory=dict)
    settings: dict[str, NamespaceSettings] = field(default_factory=dict)
    requests: dict[tuple[str, str], tuple[int, object, object]] = field(default_factory=dict)

    def create(self, asked: list[NewTask], request_id: str, now_us: int, first: int) -> Created:
        content = [self.content(task) for task in asked]
        known = self.find("", request_id, now_us)
        if known is not None:
            if known[0] == content:
                assert isinstance(known[1], Created)
                return known[1]
            return Created([""] * len(asked), dict.fromkeys(range(len(asked)), Conflict("")))
        created = Created([""] * len(asked), {})
        for position, task in enumerate(asked):
            self.settings.setdefault(task.namespace, NamespaceSettings(created_at_us=now_us))
            before = self.find(task.namespace, task.request_id, now_us)
            if before is None:
                task_id = format_id(task.due_us(now_us), first + position)
                self.tasks[task.namespace, task_id] = task
                self.remember(task.namespace, task.request_id, now_us, content[position], task_id)
                created.ids[position] = task_id
            elif before[0] == content[position]:
                created.ids[position] = str(before[1])
            else:
                created.problems[position] = Conflict(str(before[1]))
        self.remember("", request_id, now_us, content, created)
        return created

    def change(
        self, name: str, change: SettingsChange, request_id: str, now_us: int
    ) -> NamespaceSettings | TaskError:
        known = self.find("", request_id, now_us)
        if known is not None:
            if known[0] != (name, change):
                return RequestIdReused()
            assert isinstance(known[1], NamespaceSettings | InvalidTask)
            return known[1]
        answer = self.changed(name, change, now_us)
        self.remember("", request_id, now_us, (name, change), answer)
        return answer

    def changed(self, name: str, change: SettingsChange, now_us: int) -> NamespaceSettings | InvalidTask:
        try:
            before = self.settings.get(name, NamespaceSettings(created_at_us=now_us))
            after = merged(before, change.given(), now_us)
        except InvalidTask as problem:
            return problem
        self.settings[name] = after
        return after

    def find(self, scope: str, request_id: str, now_us: int) -> tuple[object, object] | None:
        stamp_us, content, result = self.requests.get((scope, request_id), (-WINDOW_US, None, None))
        return (content, result) if request_id and now_us < stamp_us + WINDOW_US else None

    def remember(self, scope: str, request_id: str, now_us: int, content: object, result: object) -> None:
        if request_id:
            self.requests[scope, request_id] = (now_us, content, result)

    @staticmethod
    def content(task: NewTask) -> object:
        time = ("in", task.tts_seconds) if task.tts_seconds else ("at", task.deliver_at_us)
        return (task.namespace, dict(task.metadata), task.payload, time)


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, min_size=1, max_size=12), st.lists(st.integers(1, 5)), st.integers(0, 12))
def test_the_machine_is_the_model_however_its_log_is_cut(
    history: list[list[tuple[int, object]] | None], slices: list[int], restart_at: int
) -> None:
    log, model = TaskLog(), Model()
    made: list[list[object]] = []
    expected: list[list[object]] = []
    for commands in history:
        index = len(log.entries) + 1
        if commands is None:
            log.add(kind=EntryKind.NOOP)
            made.append([])
            expected.append([])
            continue
        data, outcomes, answers, count = [], [], [], 0
        for pause_us, (what, how) in commands:  # type: ignore[misc]
            log.now_us += pause_us
            if isinstance(how, SettingsChange):
                name, request_id = what
                data.append(log.builder.set_namespace(name, how, request_id))
                outcomes.append(None)
                answers.append(model.change(name, how, request_id, log.now_us))
                continue
            command = log.builder.create_tasks(what, how)
            assert command.data is not None
            repeated = model.find("", how, log.now_us) is not None
            data.append(command.data)
            outcomes.append(command)
            answers.append(model.create(what, how, log.now_us, sequence_of(index, count)))
            count += 0 if repeated else len(what)
        log.add(*data)
        made.append(outcomes)
        expected.append(answers)
    directory = Path(tempfile.mkdtemp())
    try:
        _check(directory, log, model, made, expected, slices, restart_at)
    finally:
        shutil.rmtree(directory)


def _check(
    directory: Path,
    log: TaskLog,
    model: Model,
    made: list[list[object]],
    expected: list[list[object]],
    slices: list[int],
    restart_at: int,
) -> None:
    one_by_one, sliced = opened(directory / "a"), opened(directory / "b")
    for entry, commands, answers in zip(log.entries, made, expected, strict=True):
        (results,) = one_by_one.apply([entry])
        assert [_meaning(*pair) for pair in zip(commands, results, strict=True)] == [
            _comparable(answer) for answer in answers
        ]
    sizes = iter(slices)
    at, restarted = 0, False
    while at < len(log.entries):
        size = next(sizes, 3)
        sliced.apply(log.entries[at : at + size])
        at += size
        if at >= restart_at and not restarted:
            sliced.close()
            sliced.open()
            restarted = True
    reader = TaskReader(one_by_one.store)
    assert reader.state_hash() == TaskReader(sliced.store).state_hash()
    stored = {}
    for name in model.settings:
        page = reader.page(name, 0, DELIVER_AT_MAX_US + 1, limit=1000)
        assert page.after is None
        assert [task.id for task in page.tasks] == sorted(task.id for task in page.tasks)
        stored |= {(name, task.id): (task.metadata, task.payload, task.request_id) for task in page.tasks}
    assert stored == {
        key: (task.metadata, task.payload, task.request_id) for key, task in model.tasks.items()
    }
    assert reader.namespaces() == model.settings
    assert sum(1 for _ in one_by_one.store.keys(DUE, b"e")) == len(model.tasks)
    large = sum(len(task.payload) > 4096 for task in model.tasks.values())
    assert sum(1 for _ in one_by_one.store.keys(PAYLOAD, b"q")) == large
    one_by_one.close()
    sliced.close()


def _meaning(command: object, result: bytes) -> object:
    if isinstance(command, CreateCommand):
        return command.outcome(result)
    try:
        return settings_outcome(result)
    except TaskError as problem:
        return _comparable(problem)


def _comparable(answer: object) -> object:
    if isinstance(answer, RequestIdReused):
        return RequestIdReused
    return str(answer) if isinstance(answer, InvalidTask) else answer


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, (1 << 64) - 1))
def test_an_id_is_its_place(deliver_at_us: int, sequence: int) -> None:
    import numpy as np

    task_id = format_id(deliver_at_us, sequence)
    assert parse_id(task_id) == parse_id(task_id.lower()) == (deliver_at_us, sequence)
    many = format_ids(np.array([deliver_at_us], np.int64), np.array([sequence], np.uint64))
    assert many.tobytes().decode() == task_id


@given(st.text(max_size=30))
def test_any_text_is_an_id_or_is_refused(words: str) -> None:
    try:
        where = parse_id(words)
    except InvalidTask as problem:
        assert problem.field == "task_id"
    else:
        assert format_id(*where) == words.upper()
