"""Listing and changing tasks: one by its id, or all of a range in bounded steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, assert_never

from grpc import StatusCode

from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.messages import instant_us, task_message
from z4sql.api.methods import Context, Methods
from z4sql.api.parsing import parse
from z4sql.api.passing import Passing, time_left
from z4sql.api.status import OUTCOME_UNKNOWN, CallError, invalid, reused
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.ids import format_id
from z4sql.tasks.keys import SUFFIX_BYTES, unpack_place
from z4sql.tasks.life import (
    ALLOWED_STATES,
    CHANGE_OF_RANGE,
    RANGE_LIMIT_MAX,
    ChangeKind,
    ChangeProblem,
    LifeCommands,
    RangeChange,
    RangeKind,
    TaskChange,
    change_outcome,
    id_place,
    range_outcome,
    range_places,
)
from z4sql.tasks.model import DELIVER_AT_MAX_US, DELIVER_AT_MIN_US, out_of_range
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import STATE_NAMES, State

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1_000
PAYLOADS_PER_PAGE_MAX: Final = 64
PAGE_BYTES: Final = 2 << 20
"""A page that holds payloads ends behind the task that reaches it."""
RANGE_TIMEOUT_S: Final = 600.0
"""How long a change of a range may take for a caller that sets no deadline."""
_STATES: Final = {name: State(number) for number, name in enumerate(STATE_NAMES)}
_RANGE_KINDS: Final = {kind.name.lower(): kind for kind in RangeKind}
_KINDS: Final = {kind.name.lower(): kind for kind in ChangeKind}


class Changing:
    """Handlers of /z4.Collection/ListTasks, ChangeTask and ChangeTasks."""

    def __init__(
        self,
        passing: Passing,
        builder: CommandBuilder,
        reader: Callable[[], TaskReader | None],
        on_removed: Callable[[str, str, int], None],
    ) -> None:
        """``on_removed`` is told method, namespace and count of the tasks that were forgotten."""
        self._passing = passing
        self._commands = LifeCommands(builder.stamp_us)
        self._reader = reader
        self._on_removed = on_removed

    def register(self, methods: Methods) -> None:
        methods.unary("/z4.Collection/ListTasks", self.list_tasks)
        methods.unary("/z4.Collection/ChangeTask", self.change_task)
        methods.unary("/z4.Collection/ChangeTasks", self.change_tasks)

    async def list_tasks(self, data: bytes, _context: Context) -> bytes:
        request = parse(pb.ListTasksRequest, data)
        from_us, to_us = time_range(request)
        if request.page_size > PAGE_SIZE_MAX:
            raise invalid("page_size", f"must not exceed {PAGE_SIZE_MAX}")
        limit = request.page_size or PAGE_SIZE
        try:
            page = self._open_reader().page(
                request.namespace,
                from_us,
                to_us,
                limit=min(limit, PAYLOADS_PER_PAGE_MAX) if request.with_payload else limit,
                after=request.page_token or None,
                states=states_of(request.states) or frozenset(State),
                with_payload=request.with_payload,
            )
        except InvalidTask as problem:
            field = "page_token" if problem.field == "task_id" else problem.field
            raise invalid(field, problem.problem) from None
        response = pb.ListTasksResponse(next_page_token=page.after or "")
        size = 0
        for before, task in zip((None, *page.tasks), page.tasks, strict=False):
            if before is not None and size >= PAGE_BYTES:
                response.next_page_token = format_id(*unpack_place(before.place[-SUFFIX_BYTES:]))
                break
            response.tasks.append(task_message(task))
            size += len(task.payload)
        return response.SerializeToString()

    async def change_task(self, data: bytes, context: Context) -> bytes:
        request = parse(pb.ChangeTaskRequest, data)
        change = _change(request)
        passed = await self._passing.unary("/z4.Collection/ChangeTask", data, context)
        if passed is not None:
            answer, address = passed
            return answer + pb.ChangeTaskResponse(forwarded_to=address).SerializeToString()
        before = self._open_reader().get(request.namespace, request.task_id)

        def make() -> bytes:
            try:
                return self._commands.change_task(change, request.request_id)
            except InvalidTask as problem:
                raise invalid(problem.field, problem.problem) from None

        changed = change_outcome(await self._passing.carry_out(make, time_left(context)))
        if changed.problem is not None or changed.place is None:
            raise self._refusal(request, change.kind, changed.problem or ChangeProblem.NOT_FOUND)
        if change.kind is ChangeKind.REMOVE:
            self._on_removed("ChangeTask", request.namespace, 1)
            task = before
        else:
            task = self._open_reader().task_at(changed.place)
        response = pb.ChangeTaskResponse()
        if task is not None:
            response.task.CopyFrom(task_message(task))
        return response.SerializeToString()

    async def change_tasks(self, data: bytes, context: Context) -> bytes:
        request = parse(pb.ChangeTasksRequest, data)
        kind = _RANGE_KINDS.get(request.change)
        if kind is None:
            raise invalid("change", f"must be one of {', '.join(_RANGE_KINDS)}")
        states = states_of(request.states)
        from_us, to_us = time_range(request)
        try:
            lo, hi = range_places(request.namespace, from_us, to_us)
        except InvalidTask as problem:
            raise invalid(problem.field, problem.problem) from None
        passed = await self._passing.unary(
            "/z4.Collection/ChangeTasks", data, context, timeout_s=RANGE_TIMEOUT_S
        )
        if passed is not None:
            answer, address = passed
            return answer + pb.ChangeTasksResponse(forwarded_to=address).SerializeToString()
        if request.dry_run:
            count = await self._count(request.namespace, from_us, to_us, kind, states)
            return pb.ChangeTasksResponse(changed=count).SerializeToString()
        count = 0
        try:
            # What comes into the range while it is changed is changed, too; the caller's deadline ends it.
            async for changed in self._steps(lo, hi, kind, states, context):
                count += changed
        except CallError as error:
            raise _broken_off(error, count) if count else error from None
        finally:
            if kind is RangeKind.PURGE:
                self._on_removed("ChangeTasks", request.namespace, count)
        return pb.ChangeTasksResponse(changed=count).SerializeToString()

    async def _steps(
        self, lo: bytes, hi: bytes, kind: RangeKind, states: frozenset[State], context: Context
    ) -> AsyncIterator[int]:
        """Change a range of places in bounded commands; how many tasks each of them changed."""
        place: bytes | None = lo
        while place is not None:
            step = RangeChange(place, hi, kind, states, RANGE_LIMIT_MAX)
            result = await self._passing.carry_out(
                lambda step=step: self._commands.change_tasks(step),  # type: ignore[misc]  # bound early
                time_left(context),
            )
            outcome = range_outcome(result)
            yield outcome.changed
            place = outcome.next_place

    async def _count(
        self, namespace: str, from_us: int, to_us: int, kind: RangeKind, states: frozenset[State]
    ) -> int:
        """How many tasks a change would change, now."""
        allowed = ALLOWED_STATES[CHANGE_OF_RANGE[kind]]
        wanted = allowed & states if states else allowed
        count, after = 0, None
        while True:
            page = self._open_reader().page(
                namespace, from_us, to_us, limit=500, after=after, states=wanted, with_payload=False
            )
            count += len(page.tasks)
            after = page.after
            if after is None:
                return count
            await asyncio.sleep(0)

    def _open_reader(self) -> TaskReader:
        return opened(self._reader())

    def _refusal(self, request: pb.ChangeTaskRequest, kind: ChangeKind, problem: ChangeProblem) -> CallError:
        match problem:
            case ChangeProblem.NOT_FOUND:
                return CallError(
                    StatusCode.NOT_FOUND,
                    f"task not found: {request.task_id} in namespace {request.namespace!r}",
                    reason="TASK_NOT_FOUND",
                )
            case ChangeProblem.WRONG_STATE:
                task = self._open_reader().get(request.namespace, request.task_id)
                state = "gone" if task is None else STATE_NAMES[task.state]
                allowed = " or ".join(STATE_NAMES[one] for one in sorted(ALLOWED_STATES[kind]))
                return CallError(
                    StatusCode.FAILED_PRECONDITION,
                    f"state: the task is {state}; {kind.name.lower()} needs one that is {allowed}",
                    reason="WRONG_STATE",
                    field="state",
                )
            case ChangeProblem.WRONG_ETAG:
                return CallError(
                    StatusCode.FAILED_PRECONDITION,
                    "etag: the task was changed since it was read; read it again",
                    reason="WRONG_ETAG",
                    field="etag",
                )
            case ChangeProblem.CONFLICT:
                return reused()
            case _:
                assert_never(problem)


def opened(reader: TaskReader | None) -> TaskReader:
    """:raises CallError: when this peer holds no state yet."""
    if reader is None:
        raise CallError(StatusCode.UNAVAILABLE, "this peer is not a member of a cluster yet", retry_ms=500)
    return reader


def _broken_off(error: CallError, count: int) -> CallError:
    """A change of a range ended amid its steps: it may not be said any more that nothing was done."""
    return CallError(
        StatusCode.DEADLINE_EXCEEDED,
        f"broken off ({error.reason}) after {count} tasks were changed; ask again for the rest",
        reason=OUTCOME_UNKNOWN,
    )


def states_of(names: object) -> frozenset[State]:
    """States by their names. :raises CallError: naming the one that is none."""
    found = set()
    for name in names:  # type: ignore[attr-defined]  # protobuf's containers carry no common type
        if name not in _STATES:
            raise invalid("states", f"{name!r} is none of {', '.join(STATE_NAMES)}")
        found.add(_STATES[name])
    return frozenset(found)


def time_range(request: pb.ListTasksRequest | pb.ChangeTasksRequest) -> tuple[int, int]:
    """``[from, to)`` in microseconds. Python keeps `from` for itself."""
    from_us, to_us = DELIVER_AT_MIN_US, DELIVER_AT_MAX_US + 1
    if request.HasField("from"):
        from_us = instant_us(getattr(request, "from"))
    if request.HasField("to"):
        to_us = instant_us(request.to)
    for field, given in (("from", from_us), ("to", to_us)):
        if not DELIVER_AT_MIN_US <= given <= DELIVER_AT_MAX_US + 1:
            raise invalid(field, out_of_range(field, given).problem)
    if from_us > to_us:
        raise invalid("to", "must not be before from")
    return from_us, to_us


def _change(request: pb.ChangeTaskRequest) -> TaskChange:
    """What is asked for. :raises CallError:"""
    name = request.WhichOneof("change")
    if name is None:
        raise invalid("change", f"is required: one of {', '.join(_KINDS)}")
    kind = _KINDS[name]
    update = request.update
    try:
        return TaskChange(
            id_place(request.namespace, request.task_id),
            kind,
            request.etag,
            instant_us(request.reschedule),
            dict(update.metadata.pairs) if update.HasField("metadata") else None,
            update.payload if update.HasField("payload") else None,
        )
    except InvalidTask as problem:
        raise invalid(problem.field, problem.problem) from None
