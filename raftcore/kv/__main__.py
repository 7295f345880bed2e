"""``python -m raftcore.kv``: a node, and every call that a node answers.

Exit codes: 0 done; 1 the key is not there or the comparison failed; 2 wrong usage, or a value out of range;
3 nothing was done, try again; 4 it may or may not be done; 5 refused: the message says why; 6 the node or its
disk failed; 130 interrupted. Errors are one line on standard error. Keys and values are bytes; a value of
``-`` is read from standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog
import uvloop
from google.protobuf.message import Message

import raftcore.application as raft
from raftcore.kv._pb import kv_pb2 as pb
from raftcore.kv.client import KvClient
from raftcore.kv.errors import BadRequest, Compacted, NotTheLeader, Refused, Unavailable
from raftcore.kv.node import Node

DONE, ABSENT, USAGE, UNAVAILABLE, UNKNOWN, REFUSED, FAILED = range(7)
_CODES: dict[type[Exception], int] = {
    BadRequest: USAGE,
    ValueError: USAGE,
    Unavailable: UNAVAILABLE,
    NotTheLeader: UNAVAILABLE,
    raft.OutcomeUnknown: UNKNOWN,
    Refused: REFUSED,
    Compacted: REFUSED,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return uvloop.run(_serve(options) if options.command == "serve" else _call(options))
    except KeyboardInterrupt:
        return 130
    except (raft.RaftError, OSError, ValueError) as error:
        print(f"raftcore.kv: {' '.join(str(error).split())}", file=sys.stderr)
        return _CODES.get(type(error), FAILED)


async def _serve(options: argparse.Namespace) -> int:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    timeout_us = options.election_timeout_ms * 1000
    config = raft.HostConfig(
        name=options.name,
        address=options.address,
        listen=options.address,
        data_dir=options.data_dir / "log",
        core=raft.CoreConfig(election_timeout_us=timeout_us, heartbeat_interval_us=timeout_us // 6),
        state_sync_interval_s=options.sync_interval_s,
        trailing_entries=options.trailing_entries,
    )
    node = Node(config, in_memory=options.in_memory)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await node.start(options.bootstrap)
    try:
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        print(f"ready {options.address}", flush=True)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((stopped, node.host.fatal), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await node.stop()
    if node.host.fatal.done():
        raise raft.StorageError(f"{options.name} failed: {node.host.fatal.exception()}")
    return DONE


async def _call(options: argparse.Namespace) -> int:
    endpoints = options.endpoints.split(",")
    async with KvClient(endpoints, options.timeout_s) as client:
        match options.command:
            case "set":
                value = sys.stdin.buffer.read() if options.value == b"-" else options.value
                expected = {"expected_value": options.if_value, "expected_version": options.if_version}
                return _told(await client.set(options.key, value, options.ttl_ms, **expected))
            case "delete":
                return _told(await client.delete(options.key))
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
                _print(await client.info(endpoints[0]))
            case "ping":
                await client.info(endpoints[0])
            case action:
                await client.change(action, options.name, getattr(options, "address", ""))
    return DONE


def _told(result: pb.WriteResult) -> int:
    _print(result)
    return DONE if result.done else ABSENT


def _print(message: Message) -> None:
    """A message as one line of JSON."""
    print(json.dumps(message, default=_plain), flush=True)


def _plain(value: object) -> object:
    """Bytes that are no text become lone surrogates, which ``os.fsencode`` turns back."""
    match value:
        case Message():
            return {field.name: getattr(value, field.name) for field in value.DESCRIPTOR.fields}
        case bytes():
            return os.fsdecode(value)
        case repeated:
            return list(repeated)  # type: ignore[call-overload]  # nothing else is in a message


_SERVE = (
    "--name --address --data-dir --bootstrap --in-memory --election-timeout-ms --sync-interval-s"
    " --trailing-entries"
)
_COMMANDS = {
    "serve": ("run one node until it is told to stop", _SERVE),
    "set": ("set a key", "key value --ttl-ms --if-version --if-value"),
    "get": ("print a key's value", "key --stale"),
    "delete": ("delete a key", "key"),
    "scan": ("print keys that begin with a prefix, one JSON object a line", "prefix --limit --after --stale"),
    "watch": ("print changes as they come, one JSON object a line", "--from-index --prefix --count"),
    "add-node": ("add a voter", "name address"),
    "add-learner": ("add a member that only listens", "name address"),
    "promote": ("make a learner a voter", "name"),
    "remove-node": ("remove a member", "name"),
    "transfer": ("move leadership, to anybody when no name is given", "name?"),
    "info": ("print what the first endpoint knows, as JSON", ""),
    "ping": ("succeed when the first endpoint answers", ""),
}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "--name": {"required": True},
    "--address": {"required": True, "help": "host:port at which members and clients reach this node"},
    "--data-dir": {"required": True, "type": Path},
    "--bootstrap": {"action": "store_true", "help": "form a cluster, when the node is new"},
    "--in-memory": {"action": "store_true", "help": "keep the state in memory; for small states"},
    "--election-timeout-ms": {"type": int, "default": 600},
    "--sync-interval-s": {"type": float, "default": 60.0, "help": "how often the state is made durable"},
    "--trailing-entries": {"type": int, "default": 10_000, "help": "log kept below what is durable"},
    "key": {"type": os.fsencode},
    "value": {"type": os.fsencode},
    "prefix": {"type": os.fsencode},
    "name?": {"nargs": "?", "default": ""},
    "--ttl-ms": {"type": int, "default": 0, "help": "the key expires after this time"},
    "--if-version": {"type": int, "help": "only if the key has this version; 0: is not there"},
    "--if-value": {"type": os.fsencode, "help": "only if the key has this value"},
    "--stale": {"action": "store_true", "help": "read what the node has, old or not"},
    "--limit": {"type": int, "default": 100},
    "--after": {"type": os.fsencode, "default": b"", "help": "begin behind this key"},
    "--from-index": {"type": int, "default": 1},
    "--prefix": {"type": os.fsencode, "default": b""},
    "--count": {"type": int, "default": 0, "help": "end after so many changes"},
    "--endpoints": {"default": "127.0.0.1:7400", "help": "host:port,... of nodes"},
    "--timeout-s": {"type": float, "default": 10.0},
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m raftcore.kv",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (text, arguments) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        for argument in (arguments if name == "serve" else f"{arguments} --endpoints --timeout-s").split():
            command.add_argument(argument.rstrip("?"), **_ARGUMENTS.get(argument, {}))
    return parser


if __name__ == "__main__":
    sys.exit(main())
