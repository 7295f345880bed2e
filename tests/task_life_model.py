"""What the machine should do with tasks, said again in dicts: places, keys and records do not appear here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from z4sql.tasks.events import EVENTS_MAX, EventKind
from z4sql.tasks.life import (
    ALLOWED_STATES,
    CHANGE_OF_RANGE,
    ChangeKind,
    ChangeProblem,
    RangeKind,
    SettleKind,
    SettleOutcome,
)
from z4sql.tasks.record import FINISHED, State
from z4sql.tasks.requests import WINDOW_US


@dataclass
class ModelTask:
    namespace: str
    sequence: int
    origin_us: int
    deliver_at_us: int
    created_at_us: int
    next_attempt_at_us: int | None
    metadata: dict[str, str]
    payload: bytes
    expire_at_us: int | None
    state: State = State.SCHEDULED
    attempts: int = 0
    lease_token: int = 0
    lease_owner: str = ""
    lease_until_us: int | None = None
    last_error: str = ""
    last_attempt_at_us: int | None = None
    finished_at_us: int | None = None
    events: list[tuple[EventKind, int, int, str]] = field(default_factory=list)
    revision: int = 0

    @property
    def order(self) -> tuple[int, int]:
        return self.deliver_at_us, self.sequence

    @property
    def stands_at_us(self) -> int:
        at_us = self.lease_until_us if self.state is State.LEASED else self.next_attempt_at_us
        at_us = self.finished_at_us if self.state in FINISHED else at_us
        assert at_us is not None
        return at_us

    def note(self, kind: EventKind, at_us: int, detail: str = "") -> None:
        self.revision += 1
        last = self.events[-1] if self.events else None
        if last and kind is EventKind.EXTENDED and (last[0], last[2]) == (kind, self.attempts):
            self.events.pop()
        self.events = [*self.events, (kind, at_us, self.attempts, detail)][-EVENTS_MAX:]

    def end_lease(self) -> None:
        self.lease_token, self.lease_owner, self.lease_until_us = 0, "", None

    def finish(self, state: State, now_us: int) -> None:
        self.end_lease()
        self.state, self.next_attempt_at_us, self.finished_at_us = state, None, now_us


class LifeModel:
    """Tasks by sequence. ``now_us`` of every call is the stamp of the command."""

    def __init__(self) -> None:
        self.tasks: dict[int, ModelTask] = {}
        self.requests: dict[str, tuple[int, object, object]] = {}

    def add(self, task: ModelTask) -> None:
        self.tasks[task.sequence] = task

    def lease(
        self, takes: list[tuple[int, int, int]], owner: str, until_us: int, now_us: int, token: int
    ) -> list[int]:
        """``takes``: (sequence, deliver_at, next attempt) as the leader saw them."""
        tokens = []
        for ordinal, (sequence, deliver_at_us, next_us) in enumerate(takes):
            task = self.tasks.get(sequence)
            fits = (
                task is not None
                and task.deliver_at_us == deliver_at_us
                and task.state is State.SCHEDULED
                and task.next_attempt_at_us == next_us <= now_us
                and (task.expire_at_us is None or now_us < task.expire_at_us)
            )
            tokens.append(token + ordinal if fits else 0)
            if not fits or task is None:
                continue
            task.state, task.lease_token = State.LEASED, token + ordinal
            task.lease_owner, task.lease_until_us = owner, until_us
            task.attempts += 1
            task.last_attempt_at_us = now_us
            task.note(EventKind.LEASED, now_us, owner)
        return tokens

    def settle(
        self, sequence: int, token: int, kind: SettleKind, at_us: int, error: str, now_us: int
    ) -> SettleOutcome:
        task = self.tasks.get(sequence)
        expired = kind in {SettleKind.LEASE_EXPIRED, SettleKind.LEASE_EXPIRED_DEAD}
        if task is None or task.lease_token != token:
            return SettleOutcome.STALE
        if task.state is State.DONE and kind is SettleKind.ACK:
            return SettleOutcome.REPEATED
        if task.state is not State.LEASED:
            return SettleOutcome.STALE
        assert task.lease_until_us is not None
        if expired and now_us < task.lease_until_us:
            return SettleOutcome.STALE
        if expired:
            error = error or "the lease ended without an answer"
        name = {SettleKind.LEASE_EXPIRED_DEAD: "LEASE_EXPIRED"}.get(kind, kind.name)
        past = {"ACK": "ACKED", "NACK": "NACKED", "EXTEND": "EXTENDED", "RELEASE": "RELEASED"}
        task.note(
            EventKind[past.get(name, name)], now_us, task.lease_owner if kind is SettleKind.EXTEND else error
        )
        if kind is SettleKind.EXTEND:
            task.lease_until_us = at_us
        elif kind is SettleKind.ACK:
            task.finish(State.DONE, now_us)
            task.lease_token = token
        elif kind is SettleKind.RELEASE:
            task.end_lease()
            task.state = State.SCHEDULED
            task.attempts -= 1
        elif kind in {SettleKind.DEAD, SettleKind.LEASE_EXPIRED_DEAD}:
            task.last_error = error
            task.finish(State.DEAD, now_us)
            if expired:
                task.note(EventKind.DEAD, now_us)
        else:
            task.end_lease()
            task.state, task.next_attempt_at_us, task.last_error = State.SCHEDULED, at_us, error
        return SettleOutcome.DONE

    def change(
        self,
        found: ModelTask | None,
        kind: ChangeKind,
        now_us: int,
        *,
        revision: int | None = None,
        deliver_at_us: int = 0,
        metadata: dict[str, str] | None = None,
        payload: bytes | None = None,
    ) -> ModelTask | ChangeProblem:
        """``revision``: what an etag stands for."""
        task = None if found is None else self.tasks.get(found.sequence)
        if task is None:
            return ChangeProblem.NOT_FOUND
        if revision is not None and revision != task.revision:
            return ChangeProblem.WRONG_ETAG
        if task.state not in ALLOWED_STATES[kind]:
            return ChangeProblem.WRONG_STATE
        if kind is ChangeKind.REMOVE:
            del self.tasks[task.sequence]
        elif kind is ChangeKind.CANCEL:
            task.note(EventKind.CANCELED, now_us)
            task.finish(State.CANCELED, now_us)
        elif kind is ChangeKind.RESCHEDULE:
            task.note(EventKind.RESCHEDULED, now_us, "*")
            task.deliver_at_us = task.next_attempt_at_us = deliver_at_us
        elif kind is ChangeKind.RUN_NOW:
            assert task.next_attempt_at_us is not None
            task.note(EventKind.RUN_NOW, now_us)
            task.next_attempt_at_us = min(task.next_attempt_at_us, now_us)
        elif kind is ChangeKind.UPDATE:
            names = [name for name, new in (("metadata", metadata), ("payload", payload)) if new is not None]
            task.note(EventKind.UPDATED, now_us, ", ".join(names))
            task.metadata = task.metadata if metadata is None else metadata
            task.payload = task.payload if payload is None else payload
        else:
            task.attempts = 0
            task.note(EventKind.REDRIVEN, now_us)
            task.state, task.next_attempt_at_us, task.finished_at_us = State.SCHEDULED, now_us, None
            if task.expire_at_us is not None and task.expire_at_us <= now_us:
                task.expire_at_us = None
        return task

    def change_range(
        self,
        namespace: str,
        from_us: int,
        to_us: int,
        kind: RangeKind,
        states: frozenset[State],
        *,
        limit: int,
        now_us: int,
    ) -> tuple[int, int, tuple[int, int] | None]:
        """How many were changed and examined, and the (deliver_at, sequence) to go on from."""
        inside = sorted(
            (task for task in self.tasks.values() if task.namespace == namespace
             and from_us <= task.deliver_at_us < to_us),
            key=lambda task: task.order,
        )  # fmt: skip
        changed = 0
        for task in inside[:limit]:
            if not states or task.state in states:
                answer = self.change(task, CHANGE_OF_RANGE[kind], now_us)
                changed += isinstance(answer, ModelTask)
        return changed, len(inside[:limit]), inside[limit].order if len(inside) > limit else None

    def retire(
        self, forget: list[tuple[int, int]], expire: list[tuple[int, int]], now_us: int
    ) -> tuple[int, int]:
        """(sequence, deliver_at) as the leader saw them."""
        forgotten = expired = 0
        for sequence, deliver_at_us in forget:
            task = self.tasks.get(sequence)
            if task is not None and task.deliver_at_us == deliver_at_us and task.state in FINISHED:
                del self.tasks[sequence]
                forgotten += 1
        for sequence, deliver_at_us in expire:
            task = self.tasks.get(sequence)
            if task is None or task.deliver_at_us != deliver_at_us or task.state is not State.SCHEDULED:
                continue
            if task.expire_at_us is not None and task.expire_at_us <= now_us:
                task.note(EventKind.EXPIRED, now_us)
                task.finish(State.EXPIRED, now_us)
                expired += 1
        return forgotten, expired

    def once(self, request_id: str, asked: object, now_us: int, act: Callable[[], object]) -> object:
        """What ``act`` answers, or what it answered under the same request id within the window."""
        if not request_id:
            return act()
        stamp_us, before, answer = self.requests.get(request_id, (-WINDOW_US, None, None))
        if now_us < stamp_us + WINDOW_US:
            return answer if before == asked else ChangeProblem.CONFLICT
        answer = act()
        self.requests[request_id] = (now_us, asked, answer)
        return answer
