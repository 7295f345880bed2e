"""The SQL process: a follower copy of its peer's state, the engine, and the listener for MySQL clients.

It is a process of its own so that no query, however bad, can hold up consensus or delivery: it is nicer, its
memory is bounded, and it ends with its peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import ssl
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvloop

from z4sql.access.book import AccessBook
from z4sql.access.model import without_accounts
from z4sql.access.tls import ServerTls, TlsFiles
from z4sql.allocator import keep_freed_memory
from z4sql.sql.accounts import FileAccounts
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.copy.follower import FollowerCopy
from z4sql.sql.engine.engine import Engine
from z4sql.sql.front.front import Front
from z4sql.sql.metering import Meter, Metered
from z4sql.sql.query import QueryService, QuerySettings
from z4sql.sql.wire.auth import Accounts, NoAccounts
from z4sql.sql.wire.connections import ConnectionRegistry
from z4sql.sql.wire.server import WireServer
from z4sql.sql.wire.settings import WireSettings
from z4sql.telemetry import configure_logging

_NICENESS: Final = 5
_ADDRESS_SPACE_BYTES: Final = 16 << 30
_DATA_BYTES: Final = 4 << 30
"""Values under way inside a function of the engine are not counted by the engine's own limit."""
_GRACE_S: Final = 2.0
_REPORT_S: Final = 1.0
_CERTIFICATES_LOOK_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1

_log = structlog.get_logger()


@dataclass(slots=True, frozen=True)
class ProcessOptions:
    """``feed``: the peer's socket. ``memory_limit_mb``: of the engine, for all queries together."""

    feed: Path
    host: str = "127.0.0.1"
    port: int = 3306
    memory_limit_mb: int = 512
    queries_max: int = 8
    debug: bool = False
    access_file: Path | None = None
    tls: TlsFiles | None = None
    tls_required: bool = False
    reporting: bool = False
    """Whether the parent wants to be told of what clients ask, on standard output."""


def run(options: ProcessOptions) -> int:
    """Serve until a signal, or the end of standard input or of the parent. Returns the exit code."""
    configure_logging(debug=options.debug)
    keep_freed_memory()
    # What was imported stays; queries leave few cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    _bind_to_parent()
    _lower_priority()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(options))


async def _serve(options: ProcessOptions) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    copy = FollowerCopy(options.feed)
    engine = Engine(options.memory_limit_mb)
    catalog = Z4Catalog()
    queries = QueryService(copy, engine, catalog, QuerySettings(running_max=options.queries_max))
    connections = ConnectionRegistry()
    book = AccessBook(options.access_file) if options.access_file else None
    accounts: Accounts = FileAccounts(book) if book else NoAccounts()
    facts: dict[str, str | int | float | None] = {"hostname": socket.gethostname()}
    front = Front(
        queries,
        catalog,
        connections,
        lambda: time.time_ns() // 1000,
        user=book.by_name if book else without_accounts,
        position=lambda: (copy.applied_index, copy.lag_ms),
        facts=facts,
    )
    tls = ServerTls(options.tls) if options.tls else None
    settings = WireSettings(tls=tls.context if tls else None, tls_required=options.tls_required)
    meter = Meter()
    server = WireServer(Metered(front, meter), accounts, settings, connections)
    try:
        port = await server.start(options.host, options.port)
    except OSError as error:
        _log.error("sql_listen_failed", host=options.host, port=options.port, reason=str(error))
        return 1
    facts["port"] = port
    facts["have_ssl"] = facts["have_openssl"] = "YES" if tls else "DISABLED"
    facts["require_secure_transport"] = int(settings.tls_required)
    facts["max_connections"] = settings.connections_max
    queries.start_building()
    following = asyncio.create_task(copy.run(), name="follower copy")
    following.add_done_callback(lambda _: stopping.set())
    parent = asyncio.create_task(_watch_parent(stopping), name="parent watch")
    # The parent reads standard output; logs go to standard error.
    sys.stdout.write(json.dumps({"event": "sql_ready", "port": port}) + "\n")
    sys.stdout.flush()
    reloading = asyncio.create_task(_reload(tls), name="certificates") if tls else None
    reporting = asyncio.create_task(_report(meter, connections, port)) if options.reporting else None
    _log.info("sql_started", port=port)
    await stopping.wait()
    await server.stop(_GRACE_S)
    for task in filter(None, (parent, following, reloading, reporting)):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    queries.close()
    engine.close()
    _log.info("sql_stopped")
    return 0


async def _report(meter: Meter, connections: ConnectionRegistry, port: int) -> None:
    """Tell the parent what clients did, once a second."""
    told = 0
    while True:
        await asyncio.sleep(_REPORT_S)
        taken, open_now = meter.take(), len(connections.list())
        if taken is not None or open_now != told:
            told = open_now
            report = {"event": "sql_counts", "port": port, "connections": open_now, **(taken or {})}
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()


async def _reload(tls: ServerTls) -> None:
    """Take up new certificates; a pair that does not fit leaves the former one in force."""
    while True:
        await asyncio.sleep(_CERTIFICATES_LOOK_S)
        try:
            if tls.refresh():
                _log.info("certificates_read")
        except (OSError, ssl.SSLError) as error:
            _log.error("certificates_refused", reason=str(error))


async def _watch_parent(stopping: asyncio.Event) -> None:
    """Stop at the end of standard input, if that is the parent's pipe."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        return
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        continue
    stopping.set()


def _bind_to_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, on Linux; elsewhere standard input has to do."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _lower_priority() -> None:
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    for kind, wanted in (
        (resource.RLIMIT_AS, _ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_DATA, _DATA_BYTES),
    ):
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.getrlimit(kind)
            limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
            resource.setrlimit(kind, (limit, hard))
