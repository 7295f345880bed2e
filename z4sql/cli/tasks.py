"""``z4t task`` and ``z4t dead``: single tasks, and those that failed for good."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from z4sql.cli.command import (
    FAILED,
    OK,
    USAGE,
    CommandError,
    Commands,
    add_command,
    add_range_flags,
    confirm,
    connected,
    counted,
    duration,
    instant,
    namespace_of,
    positive,
    print_json,
    references,
)
from z4sql.cli.explaining import explain
from z4sql.cli.showing import EVENT_TITLES, LIST_TITLES, event_rows, task_json, task_pairs, task_row
from z4sql.cli.tables import print_pairs, print_table

if TYPE_CHECKING:
    from z4sql.client import Client, ConnectedConsumer, Namespace, Task

_LIST_LIMIT = 100
_DAY = timedelta(days=1)


def add(commands: Commands) -> None:
    """Register ``task`` and ``dead`` with what they offer."""
    task = add_command(commands, "task", None, "create, find, explain and change tasks")
    _add_task_commands(task.add_subparsers(dest="subcommand", required=True, metavar="COMMAND"))
    dead = add_command(commands, "dead", None, "list and redrive tasks that failed for good")
    _add_dead_commands(dead.add_subparsers(dest="subcommand", required=True, metavar="COMMAND"))


def _add_task_commands(commands: Commands) -> None:
    create = add_command(
        commands, "create", _create, "create a task and print its id",
        example="z4t task create welcome_emails --in 3h --payload hello -m user=42",
    )  # fmt: skip
    create.add_argument("name", nargs="?", metavar="NAMESPACE")
    when = create.add_mutually_exclusive_group()
    when.add_argument("--at", metavar="TIME", type=instant, help="when it is due; now when not given")
    when.add_argument("--in", dest="delay", metavar="DURATION", type=duration, help="due after so long")
    content = create.add_mutually_exclusive_group()
    content.add_argument("--payload", metavar="TEXT", help="its content")
    content.add_argument("--payload-file", metavar="FILE", help="its content, from a file or - for stdin")
    create.add_argument(
        *("-m", "--metadata"), action="append", default=[], metavar="KEY=VALUE", help="may be repeated"
    )
    create.add_argument("--expire", metavar="TIME", type=instant, help="not delivered at or after this")
    create.add_argument("--request-id", default="", metavar="ID", help="the same id gives the same task")

    listing = add_command(
        commands, "list", _list, "print the tasks of a namespace by deliver_at",
        example="z4t task list welcome_emails --from -1h --to +1h -s scheduled,leased",
    )  # fmt: skip
    _add_list_flags(listing)
    add_range_flags(listing)

    _add_reference(add_command(commands, "get", _get, "print all about a task"))
    _add_reference(
        add_command(commands, "explain", _explain, "say why a task has, or has not, been delivered")
    )
    for name, change, explanation in (
        ("cancel", _cancel, "cancel tasks that are not finished"),
        ("run", _run_now, "make tasks due at once"),
        ("remove", _remove, "forget tasks, whatever their state"),
    ):
        parser = add_command(commands, name, change, explanation)
        _add_references(parser)
    reschedule = add_command(
        commands, "reschedule", _reschedule, "give tasks another time",
        example="z4t task reschedule welcome_emails 4003NPD1EW7TK0000000000000 --at +3h",
    )  # fmt: skip
    _add_references(reschedule)
    reschedule.add_argument("--at", metavar="TIME", type=instant, required=True, help="the new deliver_at")


def _add_dead_commands(commands: Commands) -> None:
    listing = add_command(commands, "list", _dead_list, "print the dead tasks of a namespace")
    _add_list_flags(listing)
    add_range_flags(listing, states=False)
    redrive = add_command(
        commands, "redrive", _redrive, "try dead (or canceled, or expired) tasks again",
        example="z4t dead redrive welcome_emails --all --from -1d",
    )  # fmt: skip
    redrive.add_argument("references", nargs="*", metavar="[NAMESPACE] ID")
    redrive.add_argument("--all", action="store_true", help="all dead tasks of NAMESPACE in the range")
    redrive.add_argument("--dry-run", action="store_true", help="with --all: count, and change nothing")
    redrive.add_argument("--yes", action="store_true", help="do not ask")
    add_range_flags(redrive)


def _add_list_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAMESPACE")
    parser.add_argument(
        "--limit", type=positive, default=_LIST_LIMIT, help=f"at most so many; {_LIST_LIMIT} when not given"
    )
    parser.add_argument("--all", action="store_true", help="without a limit")
    parser.add_argument("--payload", action="store_true", dest="with_payload", help="with payloads (json)")


def _add_reference(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("references", nargs="+", metavar="[NAMESPACE] ID", help="or NAMESPACE/ID")


def _add_references(parser: argparse.ArgumentParser) -> None:
    _add_reference(parser)
    parser.add_argument("--etag", default="", help="only when the task was not changed since (one task)")


def _create(options: argparse.Namespace) -> None:
    namespace = namespace_of(options, options.name)
    metadata = _metadata(options.metadata)
    payload = _payload(options)
    if options.expire is not None and options.expire <= datetime.now(UTC):
        raise CommandError("--expire: must lie in the future", USAGE)
    with connected(options) as client:
        task_id = client.create(
            namespace,
            deliver_at=options.at,
            delay=options.delay,
            metadata=metadata,
            payload=payload,
            request_id=options.request_id,
            expire_at=options.expire,
        )
    if options.output == "json":
        print_json({"id": task_id, "namespace": namespace})
    else:
        print(task_id)


def _metadata(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"metadata {pair!r} is not KEY=VALUE", USAGE)
        found[name] = value
    return found


def _payload(options: argparse.Namespace) -> bytes:
    if options.payload_file is None:
        return (options.payload or "").encode("utf-8", "surrogateescape")
    if options.payload_file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(options.payload_file).read_bytes()
    except OSError as problem:
        raise CommandError(f"{options.payload_file}: {problem.strerror}", USAGE) from None


def _get(options: argparse.Namespace) -> None:
    namespace, ids = references(options, options.references)
    with connected(options) as client:
        for at, task_id in enumerate(ids):
            task = client.get(namespace, task_id, linearizable=True)
            if options.output == "json":
                print_json(task_json(task, with_events=True))
                continue
            now = datetime.now(UTC)
            if at:
                print()
            print_pairs(task_pairs(task, now))
            print()
            print_table(EVENT_TITLES, event_rows(task, now))


def _explain(options: argparse.Namespace) -> None:
    namespace, ids = references(options, options.references)
    with connected(options) as client:
        settings = _settings(client, namespace)
        for at, task_id in enumerate(ids):
            task = client.get(namespace, task_id, linearizable=True)
            now = datetime.now(UTC)
            consumers = _consumers(client, namespace) if task.state == "scheduled" else None
            lines = explain(task, settings, now, consumers)
            if options.output == "json":
                print_json({"task": task_json(task, with_events=True), "explanation": lines})
                continue
            if at:
                print()
            for line in lines:
                print(" ".join(line.split()))
            print()
            print_table(EVENT_TITLES, event_rows(task, now))


def _settings(client: Client, namespace: str) -> Namespace | None:
    from z4sql.client import NotFound

    try:
        return client.namespaces.get(namespace)
    except NotFound:
        return None


def _consumers(client: Client, namespace: str) -> Sequence[ConnectedConsumer] | None:
    """Who is connected; None when that cannot be told, by an older cluster for one."""
    from z4sql.client import Z4Error

    try:
        return client.namespaces.consumers(namespace)
    except Z4Error:
        return None


def _list(options: argparse.Namespace) -> None:
    _print_list(options, options.states)


def _dead_list(options: argparse.Namespace) -> None:
    _print_list(options, ("dead",))


def _print_list(options: argparse.Namespace, states: tuple[str, ...]) -> None:
    namespace = namespace_of(options, options.name)
    limit = None if options.all else options.limit
    with connected(options) as client:
        tasks = client.list(
            namespace,
            deliver_from=options.deliver_from,
            deliver_to=options.deliver_to,
            states=states,
            with_payload=options.with_payload,
            page_size=min(500, limit + 1) if limit else 500,
        )
        shown = tasks if limit is None else islice(tasks, limit)
        if options.output == "json":
            count = 0
            for count, task in enumerate(shown, start=1):  # noqa: B007 - counted while they come
                print_json(task_json(task, with_payload=options.with_payload), lines=True)
        else:
            now = datetime.now(UTC)
            count = print_table(LIST_TITLES, (task_row(task, now) for task in shown))
        if not count:
            client.namespaces.get(namespace)
            print(f"no tasks of {namespace!r} there", file=sys.stderr)
        if limit is not None and next(tasks, None) is not None:
            print(f"only the first {limit}: say --all, or --limit N", file=sys.stderr)


def _cancel(options: argparse.Namespace) -> int:
    return _change(options, lambda client, *one: client.cancel(*one, etag=options.etag))


def _run_now(options: argparse.Namespace) -> int:
    return _change(options, lambda client, *one: client.run_now(*one, etag=options.etag))


def _reschedule(options: argparse.Namespace) -> int:
    return _change(options, lambda client, *one: client.reschedule(*one, options.at, etag=options.etag))


def _remove(options: argparse.Namespace) -> int:
    def remove(client: Client, namespace: str, task_id: str) -> None:
        client.remove(namespace, task_id, etag=options.etag)

    return _change(options, remove)


def _change(options: argparse.Namespace, change: Callable[[Client, str, str], Task | None]) -> int:
    """Change each task; the others are changed, too, when one cannot be."""
    namespace, ids = references(options, options.references)
    with connected(options) as client:
        return _each(client, options, change, namespace, ids)


def _each(
    client: Client,
    options: argparse.Namespace,
    change: Callable[[Client, str, str], Task | None],
    namespace: str,
    ids: Iterable[str],
) -> int:
    from z4sql.cli.failures import code_of, report
    from z4sql.client import InvalidTask, NotFound, PreconditionFailed

    worst = OK
    for task_id in ids:
        try:
            task = change(client, namespace, task_id)
        except (InvalidTask, NotFound, PreconditionFailed) as problem:
            text = str(problem)
            report(text if task_id in text else f"{task_id}: {text}")
            worst = code_of(problem) if worst in (OK, code_of(problem)) else FAILED
            continue
        if options.output == "json":
            print_json({"id": task_id} if task is None else task_json(task), lines=True)
        elif task is None:
            print(f"{task_id} removed")
        else:
            print(f"{task_id} {_standing(task)}")
    return worst


def _standing(task: Task) -> str:
    from z4sql.cli.times import format_both

    now = datetime.now(UTC)
    if task.state == "scheduled":
        return f"scheduled, due {format_both(task.next_attempt_at, now)}"
    return task.state


def _redrive(options: argparse.Namespace) -> int:
    if not options.all:
        if len(options.references) + bool(options.namespace) < 2 and "/" not in "".join(options.references):
            raise CommandError("name tasks as NAMESPACE ID, or say NAMESPACE --all", USAGE)
        return _change(options, lambda client, *one: client.redrive(*one))
    if len(options.references) > 1:
        raise CommandError("with --all, name the namespace only", USAGE)
    namespace = namespace_of(options, next(iter(options.references), None))
    states = options.states or ("dead",)
    with connected(options) as client:
        count = change_range(options, client, namespace, "redrive", states=states)
    if options.output == "json":
        print_json({"changed": count, "dry_run": options.dry_run})
    else:
        print(changed_text(options, count, "redriven"))
    return OK


def changed_text(options: argparse.Namespace, count: int, done: str) -> str:
    """``2 tasks were purged``, or would be."""
    were = "would be" if options.dry_run else "was" if count == 1 else "were"
    return f"{counted(count, 'task')} {were} {done}"


def change_range(
    options: argparse.Namespace,
    client: Client,
    namespace: str,
    change: str,
    *,
    states: tuple[str, ...],
) -> int:
    """Count, ask, then change; how many were (with --dry-run: would be) changed.

    :raises NotFound: when there is no such namespace: it may be misspelt.
    """
    client.namespaces.get(namespace)
    noun = f"{' or '.join(states)} task" if states else "task"

    def carry_out(*, dry_run: bool) -> int:
        return client.change_tasks(
            namespace,
            change,
            deliver_from=options.deliver_from,
            deliver_to=options.deliver_to,
            states=states,
            dry_run=dry_run,
            timeout_s=options.timeout_s or _DAY.total_seconds(),
        )

    if options.dry_run:
        return carry_out(dry_run=True)
    if not options.yes:
        count = carry_out(dry_run=True)
        if not count:
            return 0
        confirm(f"{change} {counted(count, noun)} of {namespace!r}?", yes=False)
    return carry_out(dry_run=False)
