"""``python -m raftcore.kv``: a node, and every call that a node answers.

Exit codes: 0 done; 1 the key is not there or the comparison failed; 2 wrong usage, or a value out of range;
3 nothing was done, try again; 4 it may or may not be done; 5 refused: the message says why; 6 the node or its
disk failed; 130 interrupted. Errors are one line on standard error. Keys and values are bytes; a value of
``-`` is read from standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from raftcore.core.config import CoreConfig
from raftcore.core.errors import OutcomeUnknown, RaftError, StorageError
from raftcore.host.config import HostConfig
from raftcore.kv import messages as kv
from raftcore.kv.client import KvClient
from raftcore.kv.errors import BadRequest, Compacted, NotTheLeader, Refused, Unavailable
from raftcore.kv.node import Node
from raftcore.kv.server import Server

DONE, ABSENT, USAGE, UNAVAILABLE, UNKNOWN, REFUSED, FAILED = range(7)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_serve(options) if options.command == "serve" else _call(options))
    except KeyboardInterrupt:
        return 130
    except (RaftError, OSError, ValueError) as error:
        print(f"raftcore.kv: {' '.join(str(error).split())}", file=sys.stderr)
        return _exit_code(error)


def _exit_code(error: Exception) -> int:
    match error:
        case BadRequest() | ValueError():
            return USAGE
        case Unavailable() | NotTheLeader():
            return UNAVAILABLE
        case OutcomeUnknown():
            return UNKNOWN
        case Refused() | Compacted():
            return REFUSED
        case _:
            return FAILED


async def _serve(options: argparse.Namespace) -> int:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    timeout_us = options.election_timeout_ms * 1000
    config = HostConfig(
        name=options.name,
        address=options.peer_address,
        listen=options.peer_address,
        data_dir=options.data_dir / "log",
        core=CoreConfig(election_timeout_us=timeout_us, heartbeat_interval_us=timeout_us // 6),
        state_sync_interval_s=options.sync_interval_s,
        trailing_entries=options.trailing_entries,
    )
    node = Node(config, options.address, in_memory=options.in_memory)
    server = Server(node)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await node.start(options.bootstrap)
    try:
        await server.start()
        print(f"ready {options.address}", flush=True)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((stopped, node.host.fatal), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await server.stop()
        await node.stop()
    if node.host.fatal.done():
        raise StorageError(f"{options.name} failed: {node.host.fatal.exception()}")
    return DONE


async def _call(options: argparse.Namespace) -> int:
    endpoints = options.endpoints.split(",")
    async with KvClient(endpoints, options.timeout_s) as client:
        match options.command:
            case "set" | "delete":
                result = await client.write(_operation(options))
                print(json.dumps(asdict(result)))
                return DONE if result.done else ABSENT
            case "get":
                item = await client.get(options.key, stale=options.stale)
                if item is None:
                    return ABSENT
                sys.stdout.buffer.write(item.value + b"\n")
            case "scan":
                found = await client.scan(options.prefix, options.limit, options.after, stale=options.stale)
                for item in found.items:
                    _print(item)
                if found.more:
                    after = os.fsdecode(found.items[-1].key)
                    print(f"raftcore.kv: more: go on with --after {after!r}", file=sys.stderr)
            case "watch":
                left = options.count
                async for change in client.watch(options.from_index, options.prefix):
                    _print(change)
                    left -= 1
                    if not left:
                        break
            case "info":
                print(json.dumps(asdict(await client.info(endpoints[0]))))
            case "ping":
                await client.info(endpoints[0])
            case _:
                await client.change(options.request(options))
    return DONE


def _operation(options: argparse.Namespace) -> kv.ClientOperation:
    if options.command == "delete":
        return kv.Delete(options.key)
    value = sys.stdin.buffer.read() if options.value == b"-" else options.value
    if options.if_version is None and options.if_value is None:
        return kv.Set(options.key, value, options.ttl_ms)
    return kv.CompareAndSet(options.key, value, options.if_value, options.if_version, options.ttl_ms)


def _print(shown: kv.Item | kv.Change) -> None:
    """Bytes that are no text become lone surrogates, which ``os.fsencode`` turns back."""
    fields = asdict(shown) | {"key": os.fsdecode(shown.key), "value": os.fsdecode(shown.value)}
    print(json.dumps(fields), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m raftcore.kv",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run one node until it is told to stop")
    serve.add_argument("--name", required=True)
    serve.add_argument("--address", required=True, help="host:port at which clients reach this node")
    serve.add_argument("--peer-address", required=True, help="host:port at which members reach this node")
    serve.add_argument("--data-dir", required=True, type=Path)
    serve.add_argument("--bootstrap", action="store_true", help="form a cluster, when the node is new")
    serve.add_argument("--in-memory", action="store_true", help="write all of the state now and then")
    serve.add_argument("--election-timeout-ms", type=int, default=600)
    serve.add_argument("--sync-interval-s", type=float, default=60.0, help="how often the state is written")
    serve.add_argument("--trailing-entries", type=int, default=10_000, help="log kept below what is written")

    caller = argparse.ArgumentParser(add_help=False)
    caller.add_argument("--endpoints", default="127.0.0.1:7400", help="host:port,... of nodes")
    caller.add_argument("--timeout-s", type=float, default=10.0)

    def command(name: str, text: str, *arguments: str, **defaults: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, parents=[caller])
        for argument in arguments:
            made.add_argument(argument, type=os.fsencode if argument in ("key", "value", "prefix") else str)
        made.set_defaults(**defaults)
        return made

    set_ = command("set", "set a key", "key", "value")
    set_.add_argument("--ttl-ms", type=int, default=0, help="the key expires after this time")
    only_if = set_.add_mutually_exclusive_group()
    only_if.add_argument("--if-version", type=int, help="only if the key has this version; 0: is not there")
    only_if.add_argument("--if-value", type=os.fsencode, help="only if the key has this value")
    get = command("get", "print a key's value", "key")
    command("delete", "delete a key", "key")
    scan = command("scan", "print keys that begin with a prefix, one JSON object a line", "prefix")
    scan.add_argument("--limit", type=int, default=100)
    scan.add_argument("--after", type=os.fsencode, default=b"", help="begin behind this key")
    for each in (get, scan):
        each.add_argument("--stale", action="store_true", help="read what the node has, old or not")
    watch = command("watch", "print changes as they come, one JSON object a line")
    watch.add_argument("--from-index", type=int, default=1)
    watch.add_argument("--prefix", type=os.fsencode, default=b"")
    watch.add_argument("--count", type=int, default=0, help="end after so many changes")
    adding = ("name", "peer_address")
    command("add-node", "add a voter", *adding, request=lambda o: kv.AddNode(o.name, o.peer_address))
    command(
        *("add-learner", "add a member that only listens", *adding),
        request=lambda o: kv.AddNode(o.name, o.peer_address, learner=True),
    )
    command("promote", "make a learner a voter", "name", request=lambda o: kv.PromoteNode(o.name))
    command("remove-node", "remove a member", "name", request=lambda o: kv.RemoveNode(o.name))
    transfer = command("transfer", "move leadership, to anybody when no name is given")
    transfer.add_argument("name", nargs="?", default="")
    transfer.set_defaults(request=lambda o: kv.Transfer(o.name))
    command("info", "print what the first endpoint knows, as JSON")
    command("ping", "succeed when the first endpoint answers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
