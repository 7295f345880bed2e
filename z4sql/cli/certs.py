"""``z4 certs``: an authority and certificates for development."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, help="where the files go; none of them may be there")
    parser.add_argument(
        "names", nargs="*", default=["peer1", "peer2", "peer3"], help="one certificate for each"
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="what the certificates are valid for (default: localhost, 127.0.0.1, ::1 and the names)",
    )


def run(options: argparse.Namespace) -> int:
    from z4sql.access.certificates import make_set

    hosts = options.host or ["localhost", "127.0.0.1", "::1", *options.names]
    try:
        for path in make_set(options.directory, options.names, hosts):
            print(path)
    except OSError as problem:
        print(f"z4 certs: {problem.filename or options.directory}: {problem.strerror}", file=sys.stderr)
        return 1
    return 0
