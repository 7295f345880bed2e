"""``z4t``: a running cluster from the command line.

Data goes to stdout, errors to stderr in one line. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or a
value that the cluster does not take, 3 not found, 4 unavailable, 5 the task's state does not allow it, 6
access denied, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from z4sql.cli.arguments import Parser
from z4sql.cli.command import FAILED, INTERRUPTED, OK, common_flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # JSON is UTF-8 whatever the terminal's language, and nothing a user stored may fail to be printed.
        sys.stdout.reconfigure(encoding="utf-8")
    options, rest = make_parser().parse_known_args(arguments)
    if rest:
        options.parser.refuse_rest(rest)
    try:
        return options.run(options) or OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough; what the interpreter still flushes must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        from z4sql.cli.failures import failed

        return failed(error)


def make_parser() -> argparse.ArgumentParser:
    """All commands. What they do is imported when they run: help must not wait for it."""
    from z4sql.cli import bench, completion, consume, members, namespaces, produce, tasks

    parser = Parser(
        prog="z4t",
        description="See and change a z4 cluster. Flags may stand before or behind the command.",
        epilog="exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not found, 4 unavailable, "
        "5 the task's state does not allow it, 6 access denied, 130 interrupted",
        parents=[common_flags(suppress=False)],
        allow_abbrev=False,
    )
    members.add_member_flags(parser, suppress=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (tasks, namespaces, produce, consume, bench, members, completion):
        module.add(commands)
    return parser


class _Version(argparse.Action):
    """Looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"z4t {version('z4')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
