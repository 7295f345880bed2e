"""What a statement gives back to the wire, and what the wire asks of the front end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

import pyarrow as pa

from z4sql.sql.engine.warnings import Warnings
from z4sql.sql.scan.basis import Basis
from z4sql.sql.types import ResultColumn

Parameter = None | int | float | Decimal | str | bytes | datetime | date | timedelta
"""A bound value of a prepared statement."""


_SMALL_BYTES: Final = 64 << 10

Packets = dict[Hashable, tuple[bytes, int]]
"""A whole reply as bytes and the number of its packets, by the manner in which it was written."""


def size_bytes(batch: pa.RecordBatch) -> int:
    """About how large the rows of a batch are; to add up every column is worth it only where that is much."""
    most = int(batch.get_total_buffer_size())
    return most if most <= _SMALL_BYTES else int(batch.nbytes)


@dataclass(slots=True)
class Ok:
    """A statement without rows."""

    warnings: int = 0


@dataclass(slots=True)
class ResultSet:
    """Rows: ``columns`` are known at once, ``batches`` come as they are produced.

    Iterating may raise `SqlError` after the first batches. Whoever stops early calls ``aclose`` on the
    iterator: that cancels the query.
    """

    columns: tuple[ResultColumn, ...]
    batches: AsyncIterator[pa.RecordBatch]
    warnings: Warnings = field(default_factory=Warnings)
    """Complete when ``batches`` has ended."""
    scanned_rows: Callable[[], int] = lambda: 0
    """How many rows were read up to now to answer."""
    basis: Basis | None = None
    """Where it is known what the rows were made of, and that nothing else counts."""
    packets: Packets | None = None
    """For the wire to keep its reply in, of rows that are given more than once."""


Result = Ok | ResultSet


class SessionView(Protocol):
    """What the wire needs to know of a session; the front end owns the rest."""

    connection_id: int
    user: str
    host: str
    database: str | None
    attributes: dict[str, str]

    @property
    def autocommit(self) -> bool: ...

    @property
    def wait_timeout_s(self) -> float: ...

    @property
    def max_allowed_packet(self) -> int: ...


@dataclass(slots=True)
class Prepared:
    """A prepared statement: its text, how many parameters, and its columns (empty when it gives none)."""

    sql: str
    parameter_count: int
    columns: tuple[ResultColumn, ...]


class FrontEnd(Protocol):
    """Runs statements for the wire. Cancelling the task that awaits ``execute`` cancels the query."""

    def open_session(
        self, connection_id: int, user: str, host: str, database: str | None, attributes: dict[str, str]
    ) -> SessionView:
        """:raises UnknownDatabase: (1049)"""
        ...

    def reset_session(self, session: SessionView) -> None: ...

    def close_session(self, session: SessionView) -> None: ...

    def use_database(self, session: SessionView, name: str) -> None: ...

    async def execute(self, session: SessionView, sql: str) -> Result: ...

    async def prepare(self, session: SessionView, sql: str) -> Prepared: ...

    async def execute_prepared(
        self, session: SessionView, statement: Prepared, parameters: Sequence[Parameter]
    ) -> Result: ...

    def field_list(self, session: SessionView, table: str) -> tuple[ResultColumn, ...]: ...

    def statistics(self) -> str: ...
