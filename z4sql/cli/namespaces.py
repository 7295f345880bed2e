"""``z4t namespace``: settings, pausing, purging."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from z4sql.cli.command import (
    OK,
    USAGE,
    CommandError,
    Commands,
    add_command,
    add_range_flags,
    connected,
    duration,
    instant,
    namespace_of,
    positive,
    print_json,
)
from z4sql.cli.showing import NAMESPACE_TITLES, namespace_json, namespace_pairs, namespace_row
from z4sql.cli.tables import print_pairs, print_table
from z4sql.cli.tasks import change_range, changed_text

if TYPE_CHECKING:
    from z4sql.client import Client, Namespace


def add(commands: Commands) -> None:
    """Register ``namespace`` with what it offers."""
    parser = add_command(commands, "namespace", None, "show and set how tasks are delivered and kept")
    nouns = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    add_command(nouns, "list", _list, "print all namespaces")
    _named(nouns, "show", _show, "print the settings of a namespace")
    setting = _named(
        nouns, "set", _set, "change settings; the namespace comes into being if it is new",
        example="z4t namespace set welcome_emails --attempts-max 5 --ack-deadline 30s --retention 7d",
    )  # fmt: skip
    setting.add_argument("--ack-deadline", type=duration, metavar="DURATION", help="how long a lease lasts")
    setting.add_argument("--attempts-max", type=positive, metavar="N", help="then a task is dead")
    setting.add_argument(
        "--backoff-min", type=duration, metavar="DURATION", help="pause after the first failure"
    )
    setting.add_argument("--backoff-max", type=duration, metavar="DURATION", help="the longest pause")
    setting.add_argument("--backoff-multiplier", type=float, metavar="X", help="growth of the pause")
    setting.add_argument("--retention", type=duration, metavar="DURATION", help="keep finished tasks so long")
    pause = _named(nouns, "pause", _pause, "deliver nothing until resumed")
    until = pause.add_mutually_exclusive_group()
    until.add_argument("--until", type=instant, metavar="TIME", help="resume by itself then")
    until.add_argument(
        "--for", dest="length", type=duration, metavar="DURATION", help="resume by itself after"
    )
    _named(nouns, "resume", _resume, "deliver again")
    purge = _named(
        nouns, "purge", _purge, "forget the tasks of a namespace, whatever their state",
        example="z4t namespace purge welcome_emails -s done,dead --to -7d",
    )  # fmt: skip
    add_range_flags(purge)
    purge.add_argument("--dry-run", action="store_true", help="count, and change nothing")
    purge.add_argument("--yes", action="store_true", help="do not ask")


def _named(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    explanation: str,
    *,
    example: str = "",
) -> argparse.ArgumentParser:
    parser = add_command(commands, name, run, explanation, example=example)
    parser.add_argument("name", nargs="?", metavar="NAMESPACE")
    return parser


def _list(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    with connected(options) as client:
        found = client.namespaces.list()
        if options.output == "json":
            for namespace in found:
                print_json(namespace_json(namespace), lines=True)
        else:
            print_table(NAMESPACE_TITLES, (namespace_row(namespace, now) for namespace in found))


def _show(options: argparse.Namespace) -> None:
    with connected(options) as client:
        _print(options, client.namespaces.get(namespace_of(options, options.name)))


def _set(options: argparse.Namespace) -> None:
    given = {
        "ack_deadline_seconds": _whole(options.ack_deadline, "--ack-deadline"),
        "attempts_max": options.attempts_max,
        "backoff_min_ms": _milliseconds(options.backoff_min),
        "backoff_max_ms": _milliseconds(options.backoff_max),
        "backoff_multiplier": options.backoff_multiplier,
        "retention_seconds": _whole(options.retention, "--retention"),
    }
    if not any(value is not None for value in given.values()):
        raise CommandError("say what to set, for example --attempts-max 5", USAGE)
    with connected(options) as client:
        _change(options, client, lambda name: client.namespaces.set(name, **given))


def _pause(options: argparse.Namespace) -> None:
    until = options.until if options.length is None else datetime.now(UTC) + options.length
    if until is not None and until <= datetime.now(UTC):
        flag = "--until" if options.length is None else "--for"
        raise CommandError(f"{flag}: must end in the future", USAGE)
    with connected(options) as client:
        _change(options, client, lambda name: client.namespaces.pause(name, until=until))


def _resume(options: argparse.Namespace) -> None:
    name = namespace_of(options, options.name)
    with connected(options) as client:
        client.namespaces.get(name)
        _print(options, client.namespaces.resume(name))


def _change(options: argparse.Namespace, client: Client, change: Callable[[str], Namespace]) -> None:
    """Print what ``change`` made of the namespace, and whether it is new: it may be misspelt."""
    from z4sql.client import NotFound

    name = namespace_of(options, options.name)
    known = True
    try:
        client.namespaces.get(name)
    except NotFound:
        known = False
    _print(options, change(name))
    if not known:
        print(f"z4t: {name!r} is a new namespace", file=sys.stderr)


def _purge(options: argparse.Namespace) -> int:
    namespace = namespace_of(options, options.name)
    with connected(options) as client:
        count = change_range(options, client, namespace, "purge", states=options.states)
    if options.output == "json":
        print_json({"changed": count, "dry_run": options.dry_run})
    else:
        print(changed_text(options, count, "purged"))
    return OK


def _print(options: argparse.Namespace, namespace: Namespace) -> None:
    if options.output == "json":
        print_json(namespace_json(namespace))
    else:
        print_pairs(namespace_pairs(namespace, datetime.now(UTC)))


def _whole(length: timedelta | None, flag: str) -> int | None:
    """Seconds. :raises CommandError: for what is no whole number of them."""
    if length is None:
        return None
    if length.microseconds:
        raise CommandError(f"{flag}: whole seconds only", USAGE)
    return length // timedelta(seconds=1)


def _milliseconds(length: timedelta | None) -> int | None:
    return None if length is None else length // timedelta(milliseconds=1)
