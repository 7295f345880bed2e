"""``z4``: run a peer, or a demonstration cluster."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from z4sql.cli import access, certs
from z4sql.cli.arguments import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage or settings."""
    parser = Parser(prog="z4", description="A distributed database for tasks.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_server(commands.add_parser("server", help="run one peer", allow_abbrev=False))
    demo = commands.add_parser("demo", help="run three peers on loopback with real data", allow_abbrev=False)
    demo.add_argument("--once", action="store_true", help="stop after the queries")
    demo.add_argument("--data-dir", metavar="DIR", help="keep the peers' data and logs here")
    users = commands.add_parser("access", help="make a user for the access file", allow_abbrev=False)
    access.add_parser(users)
    certificates = commands.add_parser("certs", help="make certificates for development", allow_abbrev=False)
    certs.add_parser(certificates)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    options, rest = parser.parse_known_args(arguments)
    if rest:
        options.parser.refuse_rest(rest)
    match options.command:
        case "server":
            return _server(options)
        case "demo":
            return _demo(options)
        case "access":
            return access.run(options)
        case _:
            return certs.run(options)


def _add_server(parser: argparse.ArgumentParser) -> None:
    from z4sql.config import add_flags

    add_flags(parser)


def _server(options: argparse.Namespace) -> int:
    from z4sql.config import ConfigError, load

    try:
        settings = load(vars(options), os.environ)
    except ConfigError as problem:
        print(f"z4 server: {problem}", file=sys.stderr)
        return 2
    # The SQL process is started by exec; gRPC's handlers for forks would only warn.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from z4sql.peer import run

    return run(settings)


def _demo(options: argparse.Namespace) -> int:
    from z4sql.cli.demo import run

    return run(once=options.once, data_dir=options.data_dir)


if __name__ == "__main__":
    sys.exit(main())
