"""Tasks and namespaces as ``z4t`` shows them: stable JSON for programs, lines for people."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from z4sql.cli.command import counted
from z4sql.cli.times import format_both, format_duration, format_instant, format_relative

if TYPE_CHECKING:
    from z4sql.client import Namespace, Task

LIST_TITLES: Final = ("ID", "STATE", "DELIVER AT", "", "ATTEMPTS", "LAST ERROR")
NAMESPACE_TITLES: Final = ("NAME", "PAUSED", "ATTEMPTS", "ACK DEADLINE", "BACKOFF", "RETENTION", "CREATED")
EVENT_TITLES: Final = ("AT", "", "EVENT", "ATTEMPT", "DETAIL")
_PAYLOAD_SHOWN: Final = 200


def task_json(task: Task, *, with_payload: bool = True, with_events: bool = False) -> dict[str, object]:
    """What is not set is left out. A payload that is no text is ``payload_base64``."""
    shown: dict[str, object] = {
        "id": task.id,
        "namespace": task.namespace,
        "state": task.state,
        "deliver_at": format_instant(task.deliver_at),
        "created_at": format_instant(task.created_at),
        "attempts": task.attempts,
    }
    for name in ("last_attempt_at", "next_attempt_at", "lease_until", "finished_at", "expire_at"):
        at = getattr(task, name)
        if at is not None:
            shown[name] = format_instant(at)
    for name in ("lease_owner", "last_error", "request_id", "etag"):
        text = getattr(task, name)
        if text:
            shown[name] = text
    shown["metadata"] = dict(sorted(task.metadata.items()))
    if with_payload:
        shown |= payload_json(task.payload)
    if with_events:
        shown["events"] = [
            {
                "at": format_instant(event.at),
                "kind": event.kind,
                "attempt": event.attempt,
                "detail": event.detail,
            }
            for event in task.events
        ]
    return shown


def payload_json(payload: bytes) -> dict[str, str]:
    """``payload`` when it is text, else ``payload_base64``."""
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(payload).decode()}


def task_row(task: Task, now: datetime) -> tuple[str, ...]:
    """Under `LIST_TITLES`."""
    return (
        task.id,
        task.state,
        format_instant(task.deliver_at.replace(microsecond=0)),
        _when(task, now),
        str(task.attempts),
        task.last_error,
    )


def _when(task: Task, now: datetime) -> str:
    """How far away deliver_at is, unless the task waits for another time than that."""
    due_at = task.next_attempt_at
    if task.state != "scheduled" or due_at is None or due_at == task.deliver_at:
        return format_relative(task.deliver_at, now)
    return f"next attempt {format_relative(due_at, now)}"


def task_pairs(task: Task, now: datetime) -> list[tuple[str, str]]:
    """Everything about a task, by name; empty for what is not set."""
    return [
        ("id", task.id),
        ("namespace", task.namespace),
        ("state", task.state),
        ("deliver at", format_both(task.deliver_at, now)),
        ("created at", format_both(task.created_at, now)),
        ("attempts", str(task.attempts)),
        ("last attempt at", format_both(task.last_attempt_at, now)),
        ("next attempt at", format_both(task.next_attempt_at, now)),
        ("leased by", task.lease_owner),
        ("leased until", format_both(task.lease_until, now)),
        ("last error", task.last_error),
        ("finished at", format_both(task.finished_at, now)),
        ("expires at", format_both(task.expire_at, now)),
        ("request id", task.request_id),
        ("metadata", ", ".join(f"{name}={value}" for name, value in sorted(task.metadata.items()))),
        ("payload", _payload_text(task.payload)),
    ]


def event_rows(task: Task, now: datetime) -> list[tuple[str, ...]]:
    """Under `EVENT_TITLES`."""
    return [
        (
            format_instant(event.at),
            format_relative(event.at, now),
            event.kind,
            str(event.attempt) if event.attempt else "",
            event.detail,
        )
        for event in task.events
    ]


def namespace_json(namespace: Namespace) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": namespace.name,
        "paused": namespace.paused,
        "ack_deadline_seconds": namespace.ack_deadline_seconds,
        "attempts_max": namespace.attempts_max,
        "backoff_min_ms": namespace.backoff_min_ms,
        "backoff_max_ms": namespace.backoff_max_ms,
        "backoff_multiplier": namespace.backoff_multiplier,
        "retention_seconds": namespace.retention_seconds,
        "created_at": format_instant(namespace.created_at),
    }
    if namespace.paused_until is not None:
        shown["paused_until"] = format_instant(namespace.paused_until)
    return shown


def pause_text(namespace: Namespace, now: datetime) -> str:
    """``no``, ``yes``, or until when."""
    if not namespace.is_paused(now):
        return "no"
    return "yes" if namespace.paused_until is None else f"until {format_both(namespace.paused_until, now)}"


def namespace_row(namespace: Namespace, now: datetime) -> tuple[str, ...]:
    """Under `NAMESPACE_TITLES`."""
    return (
        namespace.name,
        pause_text(namespace, now),
        str(namespace.attempts_max),
        _seconds(namespace.ack_deadline_seconds),
        _backoff(namespace),
        _seconds(namespace.retention_seconds),
        format_instant(namespace.created_at),
    )


def namespace_pairs(namespace: Namespace, now: datetime) -> list[tuple[str, str]]:
    return [
        ("name", namespace.name),
        ("paused", pause_text(namespace, now)),
        ("attempts", f"{namespace.attempts_max} at most"),
        ("ack deadline", _seconds(namespace.ack_deadline_seconds)),
        ("backoff", _backoff(namespace)),
        ("retention", _seconds(namespace.retention_seconds)),
        ("created at", format_both(namespace.created_at, now)),
    ]


def _payload_text(payload: bytes) -> str:
    if not payload:
        return ""
    shown = payload_json(payload)
    text = shown.get("payload") or f"base64 {shown.get('payload_base64')}"
    clipped = text if len(text) <= _PAYLOAD_SHOWN else text[:_PAYLOAD_SHOWN] + "…"
    return f"{clipped} ({counted(len(payload), 'byte')})"


def _seconds(seconds: int) -> str:
    return format_duration(timedelta(seconds=seconds)) if seconds else "0 s"


def _backoff(namespace: Namespace) -> str:
    low, high = (
        format_duration(timedelta(milliseconds=ms))
        for ms in (namespace.backoff_min_ms, namespace.backoff_max_ms)
    )
    return f"{low} × {namespace.backoff_multiplier:g} to {high}"
