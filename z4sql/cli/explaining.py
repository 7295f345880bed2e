"""Why a task has, or has not, been delivered: in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from z4sql.cli.times import format_both, format_duration, format_instant

if TYPE_CHECKING:
    from z4sql.client import ConnectedConsumer, Namespace, Task, TaskEvent

_LATE: Final = timedelta(seconds=1)


def explain(
    task: Task,
    namespace: Namespace | None,
    now: datetime,
    consumers: Sequence[ConnectedConsumer] | None = None,
) -> list[str]:
    """Sentences, the answer first. ``namespace`` None: its settings are the cluster's defaults.

    ``consumers``: who is connected to the namespace; None: not known.
    """
    match task.state:
        case "scheduled":
            return _scheduled(task, namespace, now, consumers)
        case "leased":
            return _leased(task, namespace, now)
        case "done":
            return _done(task)
        case "dead":
            return _dead(task, namespace, now)
        case "canceled":
            return [
                f"It was canceled at {format_both(task.finished_at, now)}{_tried(task)}.",
                f"To deliver it after all: z4t dead redrive {task.namespace} {task.id}",
            ]
        case "expired":
            return [
                f"It expired: nobody had finished it by {format_both(task.expire_at, now)}{_tried(task)}.",
                f"To deliver it after all: z4t dead redrive {task.namespace} {task.id}",
            ]
        case _:
            return [f"Its state is {task.state}, which this version of z4t does not know."]


def _scheduled(
    task: Task, namespace: Namespace | None, now: datetime, consumers: Sequence[ConnectedConsumer] | None
) -> list[str]:
    due_at = task.next_attempt_at or task.deliver_at
    waits = due_at > now
    lines = []
    if task.expire_at is not None and task.expire_at <= now:
        lines.append(f"It was not delivered before it expired, at {format_both(task.expire_at, now)}.")
    elif waits and task.attempts:
        lines.append(f"It waits for its next attempt, at {format_both(due_at, now)}.")
    elif waits:
        lines.append(f"It is not due yet: it will be due at {format_both(due_at, now)}.")
    elif namespace is None or not namespace.is_paused(now):
        lines.append(_due(task, due_at, now, consumers))
    if namespace is not None and namespace.is_paused(now):
        lines.append(_paused(namespace, now))
    elif waits and consumers is not None and not consumers:
        lines.append(f"No consumer of {task.namespace!r} is connected now: somebody must be by then.")
    lines += _failures(task, namespace, now)
    if waits and task.expire_at is not None:
        if task.expire_at <= due_at:
            lines.append(f"It expires before that, at {format_both(task.expire_at, now)}.")
        else:
            lines.append(f"It expires at {format_both(task.expire_at, now)}.")
    return lines


def _due(task: Task, due_at: datetime, now: datetime, consumers: Sequence[ConnectedConsumer] | None) -> str:
    if now - due_at < _LATE and (consumers is None or any(consumer.takes for consumer in consumers)):
        return f"It is due since {format_instant(due_at)} and about to be delivered."
    return f"It is due since {format_both(due_at, now)}, and nobody took it: {_why_nobody(task, consumers)}."


def _why_nobody(task: Task, consumers: Sequence[ConnectedConsumer] | None) -> str:
    if consumers is None:
        return f"no consumer of {task.namespace!r} is connected, or all have as many tasks as they asked for"
    if not consumers:
        return f"no consumer of {task.namespace!r} is connected"
    one = len(consumers) == 1
    are = f"{'one consumer' if one else f'{len(consumers)} consumers'} of {task.namespace!r} connected"
    taking = sum(consumer.takes for consumer in consumers)
    if taking:
        return f"{are}, {taking} of them ready to take more; what was due before it comes first"
    if all(consumer.draining for consumer in consumers):
        return f"{are}, about to leave and taking no more"
    held = sum(consumer.leases for consumer in consumers)
    return f"{are}, with as many tasks as {'it' if one else 'they'} asked for ({held} held)"


def _paused(namespace: Namespace, now: datetime) -> str:
    until = (
        f"resume it with: z4t namespace resume {namespace.name}"
        if namespace.paused_until is None
        else f"until {format_both(namespace.paused_until, now)}"
    )
    return f"The namespace {namespace.name!r} is paused, nothing of it is delivered; {until}"


def _failures(task: Task, namespace: Namespace | None, now: datetime) -> list[str]:
    """How the attempts before ended."""
    if not task.attempts:
        return []
    of = f" of at most {namespace.attempts_max}" if namespace is not None else ""
    ended = _newest(task, "nacked", "lease_expired", "released")
    at = ended.at if ended else task.last_attempt_at
    when = f", at {format_both(at, now)}" if at else ""
    if ended is not None and ended.kind == "lease_expired":
        owner = _newest(task, "leased")
        holder = f" ({owner.detail})" if owner is not None and owner.detail else ""
        why = f"its consumer{holder} gave no answer before the lease ended"
    elif task.last_error:
        why = task.last_error
    else:
        why = "its consumer gave no reason"
    return [f"Attempt {task.attempts}{of} failed{when}: {why}"]


def _leased(task: Task, namespace: Namespace | None, now: datetime) -> list[str]:
    of = f" of at most {namespace.attempts_max}" if namespace is not None else ""
    until = task.lease_until
    held = f"attempt {task.attempts}{of} began at {format_both(task.last_attempt_at, now)}"
    if until is not None and until <= now:
        lines = [
            f"Its lease by {task.lease_owner!r} ended at {format_both(until, now)}; it is delivered again."
        ]
    else:
        lines = [
            f"It is leased by {task.lease_owner!r} until {format_both(until, now)}: {held}.",
            "If that consumer says nothing by then, it is delivered again.",
        ]
    if task.last_error:
        lines.append(f"The attempt before failed: {task.last_error}")
    return lines


def _done(task: Task) -> list[str]:
    leased = _newest(task, "leased")
    owner = f" to {leased.detail!r}" if leased is not None and leased.detail else ""
    begun = task.last_attempt_at
    lines = [f"It is done since {format_instant(task.finished_at)}." if task.finished_at else "It is done."]
    if begun is not None:
        lines.append(f"It was delivered{owner} at {format_instant(begun)}{_lateness(task, begun)}.")
        if task.finished_at is not None:
            took = format_duration(task.finished_at - begun)
            lines.append(f"It was acknowledged {took} later, in attempt {task.attempts}.")
    return lines


def _lateness(task: Task, begun: datetime) -> str:
    if task.attempts != 1 or begun < task.deliver_at:
        return ""
    return f", {format_duration(begun - task.deliver_at)} after it was due"


def _dead(task: Task, namespace: Namespace | None, now: datetime) -> list[str]:
    used_up = namespace is not None and task.attempts >= namespace.attempts_max
    why = "its attempts are used up" if used_up else "its consumer said that no further attempt can succeed"
    of = f" of {namespace.attempts_max}" if namespace is not None else ""
    return [
        f"It is dead since {format_both(task.finished_at, now)}: {why} ({task.attempts}{of}).",
        f"The last error: {task.last_error or 'none was given'}",
        f"To try again: z4t dead redrive {task.namespace} {task.id}",
    ]


def _tried(task: Task) -> str:
    return f", after {task.attempts} attempt{'s' if task.attempts > 1 else ''}" if task.attempts else ""


def _newest(task: Task, *kinds: str) -> TaskEvent | None:
    return next((event for event in reversed(task.events) if event.kind in kinds), None)
