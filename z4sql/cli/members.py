"""``z4t info``, ``health``, ``add-peer``, ``remove-peer`` and ``check``: the cluster itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from z4sql.cli.command import Commands, access, add_command, print_json, reached

if TYPE_CHECKING:
    from google.protobuf.message import Message

_TIMEOUT_S = 60.0


def add(commands: Commands) -> None:
    """Register the commands."""
    add_command(commands, "info", _info, "print members and leader as JSON")
    add_command(commands, "health", _health, "succeed while the peer knows a leader")
    adding = add_command(
        commands, "add-peer", _add_peer, "add a peer (-p, -id) and wait until it votes",
        example="z4t -t 127.0.0.1:6355 -p peer2:6356 -id peer2 add-peer",
    )  # fmt: skip
    removing = add_command(commands, "remove-peer", _remove_peer, "remove a peer (-id)")
    for parser in (adding, removing):
        add_member_flags(parser, suppress=True)
    add_command(
        commands, "check", _check, "compare the states of all members: 0 equal, 1 different, 4 not compared"
    )


def add_member_flags(parser: argparse.ArgumentParser, *, suppress: bool) -> None:
    """``-p`` and ``-id``, before or behind the command."""
    default = argparse.SUPPRESS if suppress else None
    parser.add_argument(
        "-p", dest="peer", metavar="HOST:PORT", default=default, help="add-peer: where it listens for peers"
    )
    parser.add_argument(
        "-id", dest="id", metavar="NAME", default=default, help="add-peer, remove-peer: the name of the peer"
    )


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
    print_json(shown)


def _health(options: argparse.Namespace) -> None:
    from z4sql.api._pb import z4_pb2 as pb

    _call(options, "CheckHealth", pb.CheckHealthRequest(), pb.Status())
    print("healthy")


def _add_peer(options: argparse.Namespace) -> None:
    """Without a limit of the user's it takes as long as the newcomer gets nearer; to give up undoes it."""
    _need(options, ("-p HOST:PORT", options.peer), ("-id NAME", options.id))
    from google.protobuf.empty_pb2 import Empty

    from z4sql.api._pb import z4_pb2 as pb

    request = pb.AddClusterMemberRequest(member_address=options.peer, member_id=options.id)
    _call(options, "AddClusterMember", request, Empty(), timeout_s=None)
    print("peer added")


def _remove_peer(options: argparse.Namespace) -> None:
    _need(options, ("-id NAME", options.id))
    from google.protobuf.empty_pb2 import Empty

    from z4sql.api._pb import z4_pb2 as pb

    _call(options, "RemoveClusterMember", pb.RemoveClusterMemberRequest(member_id=options.id), Empty())
    print("peer removed")


def _check(options: argparse.Namespace) -> int:
    from z4sql.cli.check import check

    return check(reached(options)[0], options.timeout_s or _TIMEOUT_S, access(options))


def _need(options: argparse.Namespace, *flags: tuple[str, str | None]) -> None:
    for flag, value in flags:
        if not value:
            options.parser.error(f"needs {flag}")


def _call(
    options: argparse.Namespace,
    method: str,
    request: Message,
    answer: Message,
    timeout_s: float | None = _TIMEOUT_S,
) -> None:
    """Ask the first endpoint that can be reached; it has ``timeout_s``, unless the user said another."""
    target = reached(options)[0]
    shown = access(options)
    with shown.dial_blocking(target) as channel:
        call = channel.unary_unary(f"/z4.Admin/{method}")
        data = call(
            request.SerializeToString(),
            timeout=options.timeout_s or timeout_s,
            metadata=shown.metadata(target),
        )
    answer.ParseFromString(data)
