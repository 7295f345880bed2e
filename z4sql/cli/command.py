"""What the commands of ``z4t`` share: flags, the client, references to tasks, questions, exit codes."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from z4sql.cli.times import parse_duration, parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from z4sql.client import AsyncClient, Client
    from z4sql.client.access import Access

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
UNAVAILABLE: Final = 4
PRECONDITION: Final = 5
DENIED: Final = 6
INTERRUPTED: Final = 130

DEFAULT_ENDPOINT: Final = "127.0.0.1:6355"
STATES: Final = ("scheduled", "leased", "done", "dead", "canceled", "expired")
TIMEOUT_S: Final = 10.0
_CONNECT_TIMEOUT_S: Final = 2.0
_COUNT_MAX: Final = 10**15
_PORT_MAX: Final = 65_535

Commands = Any
"""What `add_subparsers` returns; argparse keeps the type to itself."""


class CommandError(Exception):
    """Ends a command with one line on stderr and ``code``."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def common_flags(*, suppress: bool) -> argparse.ArgumentParser:
    """Flags that may stand before and behind the command; ``suppress``: leave what is not given alone."""

    def default(value: object) -> object:
        return argparse.SUPPRESS if suppress else value

    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    group = flags.add_argument_group("connection and output")
    group.add_argument(
        *("-t", "--endpoint"),
        dest="endpoints",
        metavar="HOST:PORT[,...]",
        default=default(None),
        help=f"peers' gRPC service [Z4_ENDPOINT, else {DEFAULT_ENDPOINT}]",
    )
    group.add_argument(
        *("-timeout", "--timeout"),
        dest="timeout_s",
        metavar="TIME",
        type=_seconds,
        default=default(None),
        help="give up after this, for example 30s",
    )
    group.add_argument(
        *("-o", "--output"),
        dest="output",
        choices=("table", "json"),
        default=default("table"),
        help="for people, or stable JSON",
    )
    group.add_argument(
        *("-ns", "--namespace"),
        dest="namespace",
        metavar="NAME",
        default=default(None),
        help="the namespace, where a command takes one",
    )
    for flag, meaning in (
        ("--token-file", "a file with the token to show [Z4_TOKEN_FILE, or the token in Z4_TOKEN]"),
        ("--ca", "use TLS, and trust this authority [Z4_TLS_CA_FILE]"),
    ):
        group.add_argument(flag, metavar="FILE", default=default(None), help=meaning)
    group.add_argument("-q", dest="queue", metavar="NAME", default=default(None), help=argparse.SUPPRESS)
    return flags


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int | None] | None,
    explanation: str,
    *,
    example: str = "",
) -> argparse.ArgumentParser:
    """A command that ``run`` carries out, with the common flags; None: it has commands of its own."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=explanation,
        description=explanation[:1].upper() + explanation[1:] + ".",
        epilog=f"example: {example}" if example else None,
        parents=[common_flags(suppress=True)],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_range_flags(parser: argparse.ArgumentParser, *, states: bool = True) -> None:
    """``--from``, ``--to`` and ``--state``: tasks by the time they were to be delivered."""
    parser.add_argument(
        "--from",
        dest="deliver_from",
        metavar="TIME",
        type=instant,
        help="deliver_at at or after, for example -2h",
    )
    parser.add_argument("--to", dest="deliver_to", metavar="TIME", type=instant, help="deliver_at before")
    if states:
        parser.add_argument(
            *("-s", "--state"),
            dest="states",
            metavar="STATE[,...]",
            type=_states,
            default=(),
            help=", ".join(STATES),
        )


def instant(text: str) -> datetime:
    """For argparse. :raises argparse.ArgumentTypeError:"""
    try:
        return parse_instant(text, datetime.now(UTC))
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def duration(text: str) -> timedelta:
    """For argparse. :raises argparse.ArgumentTypeError:"""
    try:
        return parse_duration(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def positive(text: str) -> int:
    """For argparse: a number from 1. :raises argparse.ArgumentTypeError:"""
    if not text.isdecimal() or not 1 <= int(text) <= _COUNT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_COUNT_MAX}")
    return int(text)


def endpoints(options: argparse.Namespace) -> list[str]:
    """Where to connect. :raises CommandError: for what is no HOST:PORT."""
    given = options.endpoints or os.environ.get("Z4_ENDPOINT") or DEFAULT_ENDPOINT
    found = [one.strip() for one in given.split(",") if one.strip()]
    for one in found or [given]:
        host, _, port = one.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= _PORT_MAX:
            raise CommandError(f"-t: {one!r} is not HOST:PORT, for example {DEFAULT_ENDPOINT}", USAGE)
    return found


def reached(options: argparse.Namespace) -> list[str]:
    """The endpoints, first one that takes connections. :raises CommandError: when none does."""
    found = endpoints(options)
    for one in found:
        host, _, port = one.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S):
                return [one, *(other for other in found if other != one)]
        except OSError:
            continue
    raise CommandError(
        f"cannot reach {', '.join(found)}: is the peer up, and is this its service port?", UNAVAILABLE
    )


@contextmanager
def connected(options: argparse.Namespace) -> Iterator[Client]:
    """A client of the cluster. :raises CommandError: when no endpoint takes connections."""
    found = reached(options)
    shown = access(options)
    from z4sql.client import Client

    timeout_s = options.timeout_s or TIMEOUT_S
    with Client(found, timeout_s=timeout_s, token=shown.token, tls=shown.tls) as client:
        yield client


def asynchronous(options: argparse.Namespace, endpoints: list[str], timeout_s: float) -> AsyncClient:
    """For commands that do several things at once; ``timeout_s``, unless the user said another."""
    from z4sql.client import AsyncClient

    shown = access(options)
    return AsyncClient(endpoints, timeout_s=options.timeout_s or timeout_s, token=shown.token, tls=shown.tls)


def access(options: argparse.Namespace) -> Access:
    """Token and TLS. :raises CommandError: when a file cannot be read, or a token would go in plain text."""
    from z4sql.client.access import Access, Tls

    token = os.environ.get("Z4_TOKEN", "")
    token_file = options.token_file or ("" if token else os.environ.get("Z4_TOKEN_FILE"))
    authority = options.ca or os.environ.get("Z4_TLS_CA_FILE")
    try:
        if token_file:
            token = Path(token_file).read_text().strip()
        shown = Access(token, Tls(authority) if authority else None)
        if shown.tls is not None:
            shown.tls.credentials()
        for endpoint in endpoints(options):
            shown.check(endpoint)
    except OSError as problem:
        raise CommandError(f"{problem.filename}: {problem.strerror}", USAGE) from None
    except ValueError as problem:
        plain = "a token is not sent in plain text: say --ca FILE"
        raise CommandError(str(problem) if authority else plain, USAGE) from None
    return shown


def namespace_of(options: argparse.Namespace, given: str | None = None) -> str:
    """The namespace, from its place or from -ns. :raises CommandError: when neither is given."""
    name = given or options.namespace or options.queue
    if not name:
        raise CommandError("name a namespace, as NAMESPACE or with -ns", USAGE)
    return str(name)


def references(options: argparse.Namespace, given: Sequence[str]) -> tuple[str, list[str]]:
    """Namespace and task ids of ``NAMESPACE ID...``, ``NAMESPACE/ID...``, or ``ID...`` with -ns.

    :raises CommandError: when one is missing, or they are of several namespaces.
    """
    namespace = options.namespace or options.queue
    words = list(given)
    if not namespace and words and "/" not in words[0]:
        namespace = words.pop(0)
    ids = []
    for word in words:
        name, slash, task_id = word.rpartition("/")
        if slash and namespace and name != namespace:
            raise CommandError(
                f"{word!r} is not in namespace {namespace!r}: name tasks of one at a time", USAGE
            )
        if slash:
            namespace = name
        ids.append(task_id)
    if not namespace or not ids or not all(ids):
        raise CommandError("name tasks as NAMESPACE ID, NAMESPACE/ID, or ID with -ns NAMESPACE", USAGE)
    return namespace, ids


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless ``yes``. :raises CommandError: when the answer is no, or nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nobody can be asked here: say --yes", USAGE)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was done")


def counted(count: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def print_json(value: object, *, lines: bool = False) -> None:
    """``lines``: one line for each value of a list."""
    indent, separators = (None, (",", ":")) if lines else (2, None)
    print(json.dumps(value, indent=indent, separators=separators, ensure_ascii=False))


def _seconds(text: str) -> float:
    seconds = duration(text).total_seconds()
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be more than nothing")
    return seconds


def _states(text: str) -> tuple[str, ...]:
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in found:
        if word not in STATES:
            raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(STATES)}")
    return found
