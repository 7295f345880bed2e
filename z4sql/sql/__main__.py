"""``python -m z4sql.sql``: the SQL process of a peer, which the peer starts itself."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from z4sql.access.tls import TlsFiles
from z4sql.sql.process import ProcessOptions, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop, or until standard input ends. Exit code 1: it could not listen."""
    parser = argparse.ArgumentParser(prog="python -m z4sql.sql", description=__doc__)
    parser.add_argument("--feed", type=Path, required=True, metavar="SOCKET", help="the peer's feed")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=3306, help="port for MySQL clients (0: any)")
    parser.add_argument(
        "--memory-limit-mb", type=int, default=512, help="what running queries may hold together"
    )
    parser.add_argument("--queries-max", type=int, default=8, help="how many queries run at once")
    parser.add_argument("--debug", action="store_true", help="log at debug level")
    parser.add_argument("--access-file", type=Path, metavar="FILE", help="users; without it anybody logs in")
    for part in ("cert", "key", "ca"):
        parser.add_argument(f"--tls-{part}", type=Path, metavar="FILE", help="PEM; all three offer TLS")
    parser.add_argument("--tls-required", action="store_true", help="refuse logins without TLS")
    parser.add_argument("--report", action="store_true", help="tell the parent what clients ask")
    given = parser.parse_args(arguments)
    tls = (given.tls_cert, given.tls_key, given.tls_ca)
    if any(tls) and not all(tls):
        parser.error("--tls-cert, --tls-key and --tls-ca belong together")
    return run(
        ProcessOptions(
            feed=given.feed,
            host=given.host,
            port=given.port,
            memory_limit_mb=given.memory_limit_mb,
            queries_max=given.queries_max,
            debug=given.debug,
            access_file=given.access_file,
            tls=TlsFiles(*tls) if all(tls) else None,
            tls_required=given.tls_required,
            reporting=given.report,
        )
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is closed. The binding of the engine would go on to print a page about types of its own.
    os._exit(code)
