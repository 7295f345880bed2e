"""One query asked twice: of our lowering and engine, and of a reference server over the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pymysql

from tests.reference_server import ReferenceServer
from z4sql.sql.context import Catalog, StatementContext
from z4sql.sql.corpus import CorpusCatalog, corpus_rows, generated_rows, printed_rows
from z4sql.sql.engine.engine import Engine
from z4sql.sql.engine.warnings import Warnings, collecting
from z4sql.sql.errors import SqlError
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.source import read_source
from z4sql.sql.lowering import lower
from z4sql.sql.types import Kind

CORPUS = Path(__file__).resolve().parent / "corpus" / "gen_tasks.py"
NOW = datetime(2026, 3, 5, 12, 34, 56, tzinfo=UTC)
SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)
"""MySQL's default."""
TABLE = """\
CREATE TABLE tasks (
    namespace varchar(255) COLLATE {exact} not null, id varchar(255) COLLATE {exact} not null,
    deliver_at datetime(6) not null, created_at datetime(6) not null, last_retry datetime(6) null,
    metadata json, payload longblob
)"""
# MySQL's defaults where MariaDB's are others: digits of a second beyond those asked for are rounded.
MARIADB_SESSION = (
    f"SET sql_mode = '{SQL_MODE},TIME_ROUND_FRACTIONAL'",
    "SET group_concat_max_len = 1024",
    "SET collation_connection = utf8mb4_unicode_520_nopad_ci",
)
MYSQL_SESSION = (f"SET sql_mode = '{SQL_MODE}'", "SET collation_connection = utf8mb4_0900_ai_ci")

Row = tuple[bytes | None, ...]
Answer = list[Row] | str
"""Rows of the text protocol's cells, or ``error``."""


class Ours:
    """Lowering and engine over rows of the corpus."""

    def __init__(self, rows: Sequence[dict[str, Any]], zone: tzinfo = UTC) -> None:
        self._table: pa.Table = corpus_rows(list(rows))
        self._engine = Engine()
        self._parser = QueryParser()
        self.catalog: Catalog = CorpusCatalog()
        self.context = StatementContext(int(NOW.timestamp()) * 1_000_000, zone)
        self.types: tuple[Kind, ...] = ()
        self.error: SqlError | None = None
        self.warnings = Warnings()

    def answer(self, sql: str) -> Answer:
        """The answer; ``error``, ``types`` and ``warnings`` tell more of the last one."""
        self.error, self.types, self.warnings = None, (), Warnings()
        try:
            with collecting(self.warnings):
                return self._rows(sql)
        except SqlError as error:
            self.error = error
            return "error"

    def _rows(self, sql: str) -> list[Row]:
        query = self._parser.parse(read_source(sql)).copy()
        lowered = lower(query, sql, self.catalog, self.context)
        self.types = tuple(column.type.kind for column in lowered.columns)
        return printed_rows(self._engine, self._table, lowered)

    def close(self) -> None:
        self._engine.close()


class Theirs:
    """A reference server that holds the same rows."""

    def __init__(self, server: ReferenceServer, rows: Sequence[dict[str, Any]]) -> None:
        from z4sql.tasks.encoding import metadata_json

        self._connection = server.connect()
        self.is_mariadb = server.is_mariadb
        exact = "utf8mb4_nopad_bin" if server.is_mariadb else "utf8mb4_0900_bin"
        with self._connection.cursor() as cursor:
            cursor.execute("DROP DATABASE IF EXISTS z4")
            cursor.execute(f"CREATE DATABASE z4 CHARACTER SET utf8mb4 COLLATE {exact}")
            cursor.execute("USE z4")
            cursor.execute(TABLE.format(exact=exact))
            cursor.execute("SET time_zone = '+00:00'")
            for statement in MARIADB_SESSION if server.is_mariadb else MYSQL_SESSION:
                cursor.execute(statement)
            cursor.execute(f"SET timestamp = {int(NOW.timestamp())}")
            self._insert(cursor, rows, metadata_json)

    def _insert(self, cursor: Any, rows: Sequence[dict[str, Any]], metadata_json: Any) -> None:
        def instant(value: int | None) -> str | None:
            if value is None:
                return None
            seconds, micros = divmod(value, 1_000_000)
            return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{micros:06d}"

        values = [
            (
                row["namespace"],
                row["id"],
                instant(row["deliver_at"]),
                instant(row["created_at"]),
                instant(row["last_retry"]),
                metadata_json(row["metadata"]).decode(),
                row["payload"],
            )
            for row in rows
        ]
        cursor.executemany("INSERT INTO tasks VALUES (%s, %s, %s, %s, %s, %s, %s)", values)

    def answer(self, sql: str) -> Answer:
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(sql)
            except (pymysql.err.MySQLError, ValueError) as error:
                return f"error {error}"
            return [
                tuple(cell.encode() if isinstance(cell, str) else cell for cell in row)
                for row in cursor.fetchall()
            ]

    def warnings(self) -> list[tuple[int, str]]:
        """Of the last query: codes and messages."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS")
            return [(int(code), message) for _, code, message in cursor.fetchall()]

    def close(self) -> None:
        self._connection.close()


def rows_of_corpus(count: int) -> list[dict[str, Any]]:
    """About ``count`` rows that are awkward on purpose, always the same."""
    return generated_rows(CORPUS, count, 4242)


def same(one: bytes | None, other: bytes | None, kind: Kind) -> bool:
    """Whether two cells agree: doubles by value, to the digits that a double has."""
    if one == other:
        return True
    if one is None or other is None or kind not in (Kind.DOUBLE, Kind.DECIMAL):
        return False
    try:
        left, right = Decimal(one.decode()), Decimal(other.decode())
    except ArithmeticError:
        return False
    if kind is Kind.DECIMAL:
        return left == right
    return abs(left - right) <= max(abs(left), abs(right)) * Decimal("1e-12")
