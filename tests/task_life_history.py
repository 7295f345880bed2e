"""A random history of tasks: a log of commands, and what a model says that each of them answers.

Commands are made from what the model knows, which is ahead of any machine: so several commands of one entry
take up the same task.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.task_life_model import LifeModel, ModelTask
from tests.task_log import START_US, TaskLog
from z4sql.tasks.due import Due
from z4sql.tasks.ids import format_id
from z4sql.tasks.keys import namespace_part, place, sequence_of
from z4sql.tasks.life import (
    ALLOWED_STATES,
    ChangeKind,
    ChangeProblem,
    LifeCommands,
    RangeChange,
    RangeChanged,
    RangeKind,
    Retired,
    SettleKind,
    Settlement,
    TaskChange,
    change_outcome,
    lease_outcome,
    range_outcome,
    range_places,
    retire_outcome,
    settle_outcome,
)
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import State
from z4sql.tasks.requests import WINDOW_US

NAMESPACES = ("a", "aa", "é")
SECOND_US = 1_000_000
_PAYLOADS = (b"", b"small", b"i" * 4096, b"a" * 4097, b"b" * 5000)


@dataclass
class Step:
    """One command, how to read its result, and what that must be."""

    data: bytes
    meaning: Callable[[bytes], Any]
    expected: Any


class History:
    """Grows entry by entry; ``witness`` applies each at once, and lends its etags to the commands."""

    def __init__(self, seed: int, witness: TaskMachine) -> None:
        self.random = random.Random(seed)
        self.log = TaskLog()
        self.model = LifeModel()
        self.life = LifeCommands(self.log.builder.stamp_us)
        self.steps: list[list[Step]] = []
        self._witness = witness
        self._gone: list[ModelTask] = []
        self._etags: dict[int, tuple[str, int]] = {}
        self._made = 0

    def grow(self, entries: int) -> None:
        for _ in range(entries):
            self._made = 0
            self.log.now_us += self.random.choice((0, 0, 1, SECOND_US, 7 * SECOND_US))
            if self.random.random() < 0.03:
                self.log.now_us += WINDOW_US
            steps = [self._step() for _ in range(self.random.randint(1, 5))]
            entry = self.log.add(*(step.data for step in steps))
            self.steps.append(steps)
            (results,) = self._witness.apply([entry])
            self.check(len(self.steps) - 1, results)
            self._read_etag()

    def check(self, position: int, results: list[bytes]) -> None:
        """The results of an entry are what the model says."""
        for step, result in zip(self.steps[position], results, strict=True):
            found = step.meaning(result)
            assert found == step.expected, f"entry {position + 1}: {found} is not {step.expected}"

    def _step(self) -> Step:
        before = dict(self.model.tasks)
        kinds = (self._create, self._lease, self._settle, self._change, self._change_range, self._retire)
        step = self.random.choices(kinds, (3, 6, 7, 6, 1, 1))[0]()
        self._gone += [task for sequence, task in before.items() if sequence not in self.model.tasks]
        return step

    def _pick(self, *states: State) -> ModelTask | None:
        """A task, likely in one of the states; sometimes one that is gone."""
        fitting = [task for task in self.model.tasks.values() if task.state in states]
        if fitting and self.random.random() < 0.9:
            return self.random.choice(fitting)
        every = [*self.model.tasks.values(), *self._gone[-5:]]
        return self.random.choice(every) if every else None

    def _some(self, *states: State) -> list[ModelTask]:
        picked = [self._pick(*states) for _ in range(self.random.randint(1, 4))]
        return [task for task in picked if task is not None]

    def _soon_us(self) -> int:
        return self.log.now_us + self.random.choice((-2, 0, 1, 3, 8, 500)) * SECOND_US

    def _token(self, count: int) -> int:
        first = sequence_of(len(self.log.entries) + 1, self._made)
        self._made += count
        return first

    def _create(self) -> Step:
        asked = []
        for _ in range(self.random.randint(1, 4)):
            due_us = max(self._soon_us(), START_US - 5 * SECOND_US)
            expire_us = self.random.choice((None, None, due_us + 1, due_us + 2 * SECOND_US))
            asked.append(
                NewTask(
                    self.random.choice(NAMESPACES),
                    {"k": "v" * self.random.randint(0, 3)},
                    self.random.choice(_PAYLOADS),
                    due_us,
                    expire_at_us=expire_us,
                    request_id=self.random.choice(("", "", "", "s", "t")),
                )
            )
        command = self.log.builder.create_tasks(asked)
        assert command.data is not None and not command.invalid
        first = self._token(len(asked))
        ids: list[str | None] = []
        for ordinal, task in enumerate(asked):
            made = self._made_once(task, first + ordinal)
            ids.append(made if isinstance(made, str) else None)

        def meaning(result: bytes) -> list[str | None]:
            return [task_id or None for task_id in command.outcome(result).ids]

        return Step(command.data, meaning, ids)

    def _made_once(self, task: NewTask, sequence: int) -> object:
        """The id of what was made, now or by an earlier request with its id; or a conflict."""
        due_us = task.due_us(self.log.now_us)

        def act() -> object:
            made = ModelTask(
                task.namespace,
                sequence,
                due_us,
                due_us,
                self.log.now_us,
                due_us,
                dict(task.metadata),
                task.payload,
                task.expire_at_us,
            )
            self.model.add(made)
            return format_id(due_us, sequence)

        asked = (dict(task.metadata), task.payload, due_us, task.expire_at_us)
        key = task.request_id and f"{task.namespace}|{task.request_id}"
        return self.model.once(key, asked, self.log.now_us, act)

    def _lease(self) -> Step:
        now_us, until_us = self.log.now_us, self.log.now_us + self.random.choice((0, 1, 5)) * SECOND_US
        owner = self.random.choice(("worker", "ü", ""))
        takes = self._some(State.SCHEDULED)
        times = [(task.next_attempt_at_us or now_us) + self.random.choice((0, 0, 0, 1)) for task in takes]
        due = [Due(place_of(task), at_us, 0, None) for task, at_us in zip(takes, times, strict=True)]
        data = self.life.lease(owner, until_us, due)
        asked = [(task.sequence, task.deliver_at_us, at_us) for task, at_us in zip(takes, times, strict=True)]
        expected = self.model.lease(asked, owner, until_us, now_us, self._token(len(takes)))
        return Step(data, lease_outcome, expected)

    def _settle(self) -> Step:
        now_us, items = self.log.now_us, []
        expected = []
        # Answers get lost, and what was said is said again.
        again = self._some(State.DONE) if self.random.random() < 0.3 else []
        for task in self._some(State.LEASED) + again:
            kind = self.random.choice(list(SettleKind))
            if task.state is State.DONE and self.random.random() < 0.5:
                kind = SettleKind.ACK
            token = task.lease_token + self.random.choice((0, 0, 0, 0, 1))
            at_us, error = self._soon_us(), self.random.choice(("", "fehler ö"))
            items.append(Settlement(place_of(task), token, kind, at_us, error))
            expected.append(self.model.settle(task.sequence, token, kind, at_us, error, now_us))
        return Step(self.life.settle(items), settle_outcome, expected)

    def _change(self) -> Step:
        now_us, kind = self.log.now_us, self.random.choice(list(ChangeKind))
        task = self._pick(*ALLOWED_STATES[kind])
        if task is None:
            return self._create()
        etag, revision = "", None
        if task.sequence in self._etags and self.random.random() < 0.4:
            etag, revision = self._etags[task.sequence]
        deliver_at_us = self.random.choice((task.origin_us, task.deliver_at_us, self._soon_us()))
        metadata = self.random.choice((None, {"x": "1", "é": "2"}))
        payload = self.random.choice((None, *_PAYLOADS))
        if metadata is None and payload is None:
            payload = b"new"
        request_id = self.random.choice(("", "", "r", "s"))
        # Where a task was moved to is no id.
        known: ModelTask | None = task
        id_us = task.origin_us
        if task.deliver_at_us != id_us and self.random.random() < 0.3:
            known, id_us = None, task.deliver_at_us
        where = namespace_part(task.namespace.encode()) + place(id_us, task.sequence)
        change = TaskChange(where, kind, etag, deliver_at_us, metadata, payload)
        data = self.life.change_task(change, request_id)

        def act() -> object:
            answer = self.model.change(
                known,
                kind,
                now_us,
                revision=revision,
                deliver_at_us=deliver_at_us,
                metadata=metadata,
                payload=payload,
            )
            return place_of(answer) if isinstance(answer, ModelTask) else answer

        asked = (
            where,
            kind,
            etag,
            deliver_at_us if kind is ChangeKind.RESCHEDULE else None,
            (metadata, payload) if kind is ChangeKind.UPDATE else None,
        )
        expected = self.model.once(request_id, asked, now_us, act)
        return Step(data, _change_meaning, expected)

    def _change_range(self) -> Step:
        namespace, kind = self.random.choice(NAMESPACES), self.random.choice(list(RangeKind))
        from_us = self.random.choice((0, self.log.now_us - SECOND_US, self.log.now_us))
        to_us = self.random.choice((self.log.now_us, self.log.now_us + SECOND_US, (1 << 63) - 1, 1 << 63))
        states = self.random.choice(
            (frozenset[State](), frozenset({State.DONE, State.DEAD}), frozenset({State.SCHEDULED}))
        )
        limit = self.random.choice((1, 2, 5))
        data = self.life.change_tasks(
            RangeChange(*range_places(namespace, from_us, to_us), kind, states, limit)
        )
        changed, examined, following = self.model.change_range(
            namespace, from_us, to_us, kind, states, limit=limit, now_us=self.log.now_us
        )
        next_place = None if following is None else namespace_part(namespace.encode()) + place(*following)
        return Step(
            data,
            range_outcome,
            RangeChanged(changed, examined, next_place),
        )

    def _retire(self) -> Step:
        forget = self._some(State.DONE, State.DEAD, State.CANCELED, State.EXPIRED)
        expire = self._some(State.SCHEDULED)
        data = self.life.retire([place_of(task) for task in forget], [place_of(task) for task in expire])
        expected = self.model.retire(
            [(task.sequence, task.deliver_at_us) for task in forget],
            [(task.sequence, task.deliver_at_us) for task in expire],
            self.log.now_us,
        )
        return Step(
            data,
            retire_outcome,
            Retired(*expected),
        )

    def _read_etag(self) -> None:
        """Remember the etag of a task as it is now, for later entries."""
        if not self.model.tasks:
            return
        task = self.random.choice(list(self.model.tasks.values()))
        stored = TaskReader(self._witness.store).task_at(place_of(task))
        assert stored is not None
        self._etags[task.sequence] = (stored.etag, task.revision)


def place_of(task: ModelTask) -> bytes:
    return namespace_part(task.namespace.encode()) + place(task.deliver_at_us, task.sequence)


def _change_meaning(result: bytes) -> bytes | ChangeProblem | None:
    changed = change_outcome(result)
    return changed.problem if changed.problem is not None else changed.place
