"""``z4t``: administration of a running cluster.

Data goes to stdout, errors to stderr in one line. Exit codes: 0 done, 1 refused or failed, 2 wrong usage,
3 not found, 4 unavailable, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

DEFAULT_TARGET = "127.0.0.1:6355"
_TIMEOUT_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = _COMMANDS[options.command]
    for flag, value in _NEEDS[options.command](options).items():
        if not value:
            parser.error(f"{options.command} needs {flag}")
    try:
        command(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        return _report(error, options.target)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="z4t",
        description="Administer a z4 cluster. Flags come before the command.",
        epilog="example: z4t -t 127.0.0.1:6355 -p peer2:6356 -id peer2 add-peer",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-t", dest="target", metavar="HOST:PORT", default=DEFAULT_TARGET, help="a peer's gRPC service"
    )
    parser.add_argument("-p", dest="peer", metavar="HOST:PORT", help="peer port of the peer to add")
    parser.add_argument("-id", dest="id", metavar="NAME", help="name of the peer to add or remove")
    parser.add_argument(
        "-timeout",
        dest="timeout_s",
        metavar="SECONDS",
        type=float,
        default=_TIMEOUT_S,
        help="give up after this",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("info", help="print members and leader as JSON")
    commands.add_parser("health", help="succeed while the peer knows a leader")
    commands.add_parser("add-peer", help="add a peer (-p, -id) and wait until it votes")
    commands.add_parser("remove-peer", help="remove a peer (-id)")
    return parser


def _info(options: argparse.Namespace) -> None:
    from z4sql.api._pb import z4_pb2 as pb

    info = pb.ClusterInfo()
    _call(options, "GetClusterInfo", pb.GetClusterInfoRequest(), info)
    shown: dict[str, object] = {}
    if info.server_id:
        shown["server_id"] = info.server_id
    if info.leader_address:
        shown["leader_address"] = info.leader_address
    if info.members:
        shown["members"] = [{"id": member.id, "address": member.address} for member in info.members]
    print(json.dumps(shown, indent=2, ensure_ascii=False))


def _health(options: argparse.Namespace) -> None:
    from z4sql.api._pb import z4_pb2 as pb

    _call(options, "CheckHealth", pb.CheckHealthRequest(), pb.Status())
    print("healthy")


def _add_peer(options: argparse.Namespace) -> None:
    from google.protobuf.empty_pb2 import Empty

    from z4sql.api._pb import z4_pb2 as pb

    request = pb.AddClusterMemberRequest(member_address=options.peer, member_id=options.id)
    _call(options, "AddClusterMember", request, Empty())
    print("peer added")


def _remove_peer(options: argparse.Namespace) -> None:
    from google.protobuf.empty_pb2 import Empty

    from z4sql.api._pb import z4_pb2 as pb

    _call(options, "RemoveClusterMember", pb.RemoveClusterMemberRequest(member_id=options.id), Empty())
    print("peer removed")


def _call(options: argparse.Namespace, method: str, request: Message, answer: Message) -> None:
    import grpc

    with grpc.insecure_channel(options.target) as channel:
        call = channel.unary_unary(f"/z4.Admin/{method}")
        answer.ParseFromString(call(request.SerializeToString(), timeout=options.timeout_s))


def _report(error: Exception, target: str) -> int:
    import grpc

    if not isinstance(error, grpc.RpcError):
        print(f"z4t: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    code, details = _outcome(error)
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower():
        details = f"cannot reach {target}: is the peer up, and is this its service port?"
    print(f"z4t: {' '.join(details.split())}", file=sys.stderr)
    if code is grpc.StatusCode.NOT_FOUND:
        return 3
    return 4 if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED) else 1


def _outcome(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    code = error.code()
    return code, error.details() or code.name


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "info": _info,
    "health": _health,
    "add-peer": _add_peer,
    "remove-peer": _remove_peer,
}

_NEEDS: dict[str, Callable[[argparse.Namespace], dict[str, str | None]]] = {
    "info": lambda options: {},
    "health": lambda options: {},
    "add-peer": lambda options: {"-p HOST:PORT": options.peer, "-id NAME": options.id},
    "remove-peer": lambda options: {"-id NAME": options.id},
}

if __name__ == "__main__":
    sys.exit(main())
