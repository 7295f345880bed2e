"""``z4 access``: lines for the access file. Secrets are read or made here, never taken from arguments."""

from __future__ import annotations

import argparse
import getpass
import json
import sys

from z4sql.access.file import new_token, password_hashes, password_text, token_hash
from z4sql.access.model import Role


def add_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", help="the user's name")
    parser.add_argument(
        "--role", action="append", choices=[str(role) for role in Role], default=[], help="may be repeated"
    )
    parser.add_argument(
        "--namespace", action="append", default=[], metavar="NAME", help="NAME or PREFIX*; may be repeated"
    )
    parser.add_argument(
        "--password",
        action="store_true",
        help="a password for MySQL clients, read from the terminal or stdin",
    )
    parser.add_argument("--token", action="store_true", help="make a token for gRPC clients; shown once")


def run(options: argparse.Namespace) -> int:
    """Print a [users.NAME] table; a new token goes to standard error, so that output can be appended."""
    lines = [f"[users.{json.dumps(options.user)}]"]
    lines.append(f"roles = {json.dumps([str(role) for role in options.role or [Role.READ]])}")
    if options.namespace:
        lines.append(f"namespaces = {json.dumps(options.namespace)}")
    if options.password:
        password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        try:
            lines.append(f"passwords = [{json.dumps(password_text(password_hashes(password)))}]")
        except ValueError as problem:
            print(f"z4 access: {problem}", file=sys.stderr)
            return 2
    if options.token:
        token = new_token()
        print(f"token of {options.user}, shown only now: {token}", file=sys.stderr)
        lines.append(f"tokens = [{json.dumps(token_hash(token).hex())}]")
    print("\n".join(lines))
    return 0
