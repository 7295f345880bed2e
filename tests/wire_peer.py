"""A front end with fixed answers, so that the wire server can be driven by real clients without an engine.

It is the other side of the interface being proved, not a database.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.compute as pc

from z4sql.sql.errors import SqlError, SyntaxProblem, TimedOut, UnknownDatabase, UnknownTable
from z4sql.sql.result import Ok, Parameter, Prepared, Result, ResultSet
from z4sql.sql.types import Kind, ResultColumn, SqlType


def server_tls(folder: Path) -> ssl.SSLContext:
    """A server's context with a fresh self-signed certificate."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _plain_text(column: pa.Array, sql_type: SqlType) -> pa.Array:
    if sql_type.kind is Kind.TIME:
        texts = [None if us is None else _time_text(us, sql_type.scale) for us in column.to_pylist()]
        return pa.array(texts, pa.binary())
    if pa.types.is_large_binary(column.type) or pa.types.is_binary(column.type):
        return column.cast(pa.binary())
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.binary())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    return column.cast(pa.string()).cast(pa.binary())


def _time_text(us: int, scale: int) -> bytes:
    seconds, rest = divmod(abs(us), 1_000_000)
    text = f"{'-' if us < 0 else ''}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return (text + f".{rest:06}"[: 1 + scale] if scale else text).encode()


if importlib.util.find_spec("z4sql.sql.render") is None:
    stand_in = ModuleType("z4sql.sql.render")
    stand_in.render_text = _plain_text  # type: ignore[attr-defined]
    sys.modules["z4sql.sql.render"] = stand_in

from z4sql.sql.wire.auth import Accounts, NoAccounts  # noqa: E402
from z4sql.sql.wire.connections import ConnectionRegistry  # noqa: E402
from z4sql.sql.wire.server import WireServer  # noqa: E402
from z4sql.sql.wire.settings import WireSettings  # noqa: E402

TEXT = SqlType(Kind.STRING, 255)
INT = SqlType(Kind.INT)
INSTANT = pa.timestamp("us")

EVERY_KIND: tuple[tuple[str, SqlType, pa.Array], ...] = (
    ("nothing", SqlType(Kind.NULL), pa.nulls(3)),
    ("leased", SqlType(Kind.BOOL), pa.array([1, 0, None], pa.int64())),
    ("attempts", INT, pa.array([-(2**63), 0, None], pa.int64())),
    ("sequence", SqlType(Kind.UINT), pa.array([2**64 - 1, 0, None], pa.uint64())),
    (
        "price",
        SqlType(Kind.DECIMAL, 10, 2),
        pa.array([Decimal("12.50"), Decimal("-0.01"), None], pa.decimal128(38, 2)),
    ),
    ("score", SqlType(Kind.DOUBLE), pa.array([1.5, -2.25, None], pa.float64())),
    ("name", TEXT, pa.array(["it's", "żółw", None], pa.string())),
    ("payload", SqlType(Kind.BINARY), pa.array([b"\x00\xff\xfe", b"", None], pa.binary())),
    ("metadata", SqlType(Kind.JSON), pa.array(['{"a": 1}', "[]", None], pa.string())),
    ("day", SqlType(Kind.DATE), pa.array([date(2026, 1, 31), date(1000, 1, 1), None], pa.date32())),
    (
        "created_at",
        SqlType(Kind.DATETIME, scale=6),
        pa.array([datetime(2026, 1, 31, 23, 59, 59, 999999), datetime(1960, 2, 29), None], INSTANT),
    ),
    (
        "deliver_at",
        SqlType(Kind.TIMESTAMP, scale=6),
        pa.array([datetime(2026, 1, 31, 12, 0, 1), datetime(2026, 1, 1, 0, 0, 0, 1), None], INSTANT),
    ),
    ("age", SqlType(Kind.TIME, scale=6), pa.array([-90_061_000_001, 3_600_000_000, None], pa.int64())),
)


@dataclass
class FixedSession:
    connection_id: int
    user: str
    host: str
    database: str | None
    attributes: dict[str, str]
    autocommit: bool = True
    wait_timeout_s: float = 60.0
    max_allowed_packet: int = 64 << 20


@dataclass
class FixedFront:
    """Statements: see `execute`. Counters tell what was cancelled, produced and closed."""

    connections: ConnectionRegistry = field(default_factory=ConnectionRegistry)
    executed: list[str] = field(default_factory=list)
    bound: list[list[Parameter]] = field(default_factory=list)
    resets: int = 0
    batches_produced: int = 0
    open_results: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    sessions: dict[int, FixedSession] = field(default_factory=dict)
    wait_timeout_s: float = 60.0
    max_allowed_packet: int = 64 << 20

    def open_session(
        self, connection_id: int, user: str, host: str, database: str | None, attributes: dict[str, str]
    ) -> FixedSession:
        session = FixedSession(connection_id, user, host, None, attributes)
        session.wait_timeout_s = self.wait_timeout_s
        session.max_allowed_packet = self.max_allowed_packet
        if database is not None:
            self.use_database(session, database)
        self.sessions[connection_id] = session
        return session

    def reset_session(self, session: FixedSession) -> None:
        self.resets += 1

    def close_session(self, session: FixedSession) -> None:
        self.sessions.pop(session.connection_id, None)

    def use_database(self, session: FixedSession, name: str) -> None:
        if name.lower() != "z4":
            raise UnknownDatabase(f"Unknown database '{name}'")
        session.database = name

    def field_list(self, session: FixedSession, table: str) -> tuple[ResultColumn, ...]:
        if table != "tasks":
            raise UnknownTable(f"Table 'z4.{table}' doesn't exist")
        return tuple(
            ResultColumn(
                name, sql_type, table="tasks", original_table="tasks", original_name=name, database="z4"
            )
            for name, sql_type, _ in EVERY_KIND
        )

    def statistics(self) -> str:
        return "Uptime: 1  Threads: 1  Questions: 1"

    async def execute(self, session: FixedSession, sql: str) -> Result:
        self.executed.append(sql)
        words = sql.strip().rstrip(";").split()
        match [word.lower() for word in words]:
            case ["every", "kind"]:
                return result(
                    [ResultColumn(name, sql_type) for name, sql_type, _ in EVERY_KIND],
                    self._one(
                        pa.RecordBatch.from_arrays([a for *_, a in EVERY_KIND], [n for n, *_ in EVERY_KIND])
                    ),
                )
            case ["rows", count]:
                return result(NUMBERED, self._numbered(int(count)))
            case ["rows", count, "then", "fail"]:
                return result(NUMBERED, self._numbered(int(count), SqlError("it broke", code=1105)))
            case ["rows", count, "then", "hang"]:
                return result(NUMBERED, self._numbered(int(count), hang=True))
            case ["text", *lengths]:
                texts = pa.array(["x" * int(length) for length in lengths], pa.string())
                return result([ResultColumn("x", SqlType(Kind.STRING, 0))], self._one(batch_of(x=texts)))
            case ["sleep"]:
                return await self._sleep()
            case ["sleep", "until", "timeout"]:
                raise TimedOut
            case ["kill", "query", victim]:
                self.connections.kill(int(victim), query_only=True, by_user=session.user)
                return Ok()
            case ["kill", victim] | ["kill", "connection", victim]:
                self.connections.kill(int(victim), query_only=False, by_user=session.user)
                return Ok()
            case ["crash", *_]:
                raise ZeroDivisionError(f"while running {sql}")
            case ["lost", "peer"]:
                raise ConnectionResetError("the store's process is gone")
            case ["syntax"]:
                raise SyntaxProblem("You have an error in your SQL syntax")
            case ["select", "connection_id()"]:
                ids = pa.array([session.connection_id], pa.int64())
                return result([ResultColumn("connection_id()", INT)], self._one(batch_of(x=ids)))
            case ["show", "processlist"]:
                listed = self.connections.list()
                batch = batch_of(
                    Id=pa.array([one.connection_id for one in listed], pa.int64()),
                    Info=pa.array([one.info for one in listed], pa.string()),
                )
                return result([ResultColumn("Id", INT), ResultColumn("Info", TEXT)], self._one(batch))
            case ["select", "database()"]:
                names = pa.array([session.database], pa.string())
                return result([ResultColumn("database()", TEXT)], self._one(batch_of(x=names)))
            case [("select" | "show"), *_]:
                return result([ResultColumn("1", INT)], self._one(batch_of(x=pa.array([1], pa.int64()))))
            case _:
                return Ok()

    async def prepare(self, session: FixedSession, sql: str) -> Prepared:
        if sql.startswith("syntax"):
            raise SyntaxProblem("You have an error in your SQL syntax")
        columns: tuple[ResultColumn, ...] = ()
        if sql.startswith("rows"):
            columns = NUMBERED
        elif sql.startswith(("echo", "SELECT", "select")):
            columns = (ResultColumn("echo", TEXT),)
        elif sql.startswith("every"):
            columns = tuple(ResultColumn(name, sql_type) for name, sql_type, _ in EVERY_KIND)
        return Prepared(sql, sql.count("?"), columns)

    async def execute_prepared(
        self, session: FixedSession, statement: Prepared, parameters: Sequence[Parameter]
    ) -> Result:
        self.bound.append(list(parameters))
        if statement.sql.startswith(("echo", "SELECT", "select")):
            texts = pa.array([repr(value) for value in parameters] or ["nothing"], pa.string())
            return result([ResultColumn("echo", TEXT)], self._one(batch_of(x=texts)))
        sql = statement.sql
        for value in parameters:
            sql = sql.replace("?", str(value), 1)
        return await self.execute(session, sql)

    async def _sleep(self) -> Result:
        self.started.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Ok()

    async def _one(self, batch: pa.RecordBatch) -> AsyncIterator[pa.RecordBatch]:
        yield batch

    async def _numbered(
        self, rows: int, error: SqlError | None = None, *, hang: bool = False
    ) -> AsyncIterator[pa.RecordBatch]:
        self.open_results += 1
        try:
            for start in range(0, rows, BATCH_ROWS):
                self.batches_produced += 1
                numbers = pa.array(range(start, min(start + BATCH_ROWS, rows)), pa.int64())
                yield batch_of(
                    n=numbers, text=pc.binary_join_element_wise("row", numbers.cast(pa.string()), "-")
                )
            if error is not None:
                raise error
            if hang:
                await self._sleep()
        finally:
            self.open_results -= 1


BATCH_ROWS = 300
NUMBERED = (ResultColumn("n", INT), ResultColumn("text", TEXT))


def batch_of(**columns: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def result(columns: Sequence[ResultColumn], batches: AsyncIterator[pa.RecordBatch]) -> ResultSet:
    return ResultSet(tuple(columns), batches)


@asynccontextmanager
async def serving(
    front: FixedFront | None = None,
    accounts: Accounts | None = None,
    settings: WireSettings | None = None,
) -> AsyncIterator[tuple[int, FixedFront]]:
    """(port, front) of a server on the running loop."""
    front = front or FixedFront()
    settings = settings or WireSettings(failed_login_pause_s=0.0)
    server = WireServer(front, accounts or NoAccounts(), settings, front.connections)
    port = await server.start("127.0.0.1", 0)
    try:
        yield port, front
    finally:
        await server.stop(0.2)


@contextmanager
def serving_in_thread(
    front: FixedFront | None = None,
    accounts: Accounts | None = None,
    settings: WireSettings | None = None,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[tuple[int, FixedFront]]:
    """The same on a loop in a thread of its own, for clients that block."""
    ready: list[tuple[int, FixedFront]] = []
    loop = new_loop()
    stopping = asyncio.Event()
    up = threading.Event()

    async def serve() -> None:
        async with serving(front, accounts, settings) as running:
            ready.append(running)
            up.set()
            await stopping.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert up.wait(10), "the server did not start"
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()
        assert not thread.is_alive()
