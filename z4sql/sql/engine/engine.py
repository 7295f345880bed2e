"""DuckDB, locked down: it sees the text that the lowering made and the relations handed to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import structlog
from duckdb.func import FunctionNullHandling

from z4sql.sql.engine.functions import FUNCTIONS
from z4sql.sql.errors import Interrupted, LimitExceeded, SqlError

BATCH_ROWS = 8_192
_MACROS = Path(__file__).with_name("macros.sql")

_log = structlog.get_logger()


class Engine:
    """One database per process; each running query has a cursor of its own."""

    def __init__(self, memory_limit_mb: int = 512) -> None:
        self._memory_limit_mb = memory_limit_mb
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": 1,
                "memory_limit": f"{memory_limit_mb}MB",
                "temp_directory": "",
                "autoload_known_extensions": False,
                "autoinstall_known_extensions": False,
                "allow_community_extensions": False,
                "python_enable_replacements": False,
            },
        )
        self._connection.execute(_MACROS.read_text())
        for name, implementation, arguments, result in FUNCTIONS:
            self._connection.create_function(
                name,
                implementation,
                [duckdb.sqltype(argument) for argument in arguments],
                duckdb.sqltype(result),
                null_handling=FunctionNullHandling.SPECIAL,
            )
        self._connection.execute("SET preserve_insertion_order=true")
        self._connection.execute("SET enable_external_access=false")
        self._connection.execute("SET lock_configuration=true")
        self._lock = threading.Lock()

    def run(self, sql: str, sources: Mapping[str, object]) -> RunningQuery:
        """Start a query over ``sources`` (name -> Arrow table, reader, or object with an Arrow stream)."""
        with self._lock:
            cursor = self._connection.cursor()
        return RunningQuery(cursor, sql, sources, self._memory_limit_mb)

    def close(self) -> None:
        self._connection.close()


class RunningQuery:
    """``batches`` is walked in one thread; ``cancel`` may be called from any."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        sql: str,
        sources: Mapping[str, object],
        memory_limit_mb: int,
    ) -> None:
        self._cursor = cursor
        self._sql = sql
        self._sources = sources
        self._memory_limit_mb = memory_limit_mb
        self._cancelled = False
        self.failure: SqlError | None = None
        """What a source raised: the engine would only repeat its text."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Batches of the result, as they are produced. :raises SqlError:"""
        try:
            for name, source in self._sources.items():
                self._cursor.register(name, source)
            reader = self._cursor.sql(self._sql).to_arrow_reader(BATCH_ROWS)
            while True:
                if self._cancelled:
                    raise Interrupted()
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                yield batch
        except SqlError:
            raise
        except Exception as error:
            raise self._mapped(error) from error

    def cancel(self) -> None:
        """Interrupt the query; ``batches`` then raises `Interrupted`."""
        self._cancelled = True
        self._cursor.interrupt()

    def close(self) -> None:
        self._cursor.close()

    def _mapped(self, error: Exception) -> SqlError:
        if self.failure is not None:
            return self.failure
        if self._cancelled or isinstance(error, duckdb.InterruptException):
            return Interrupted()
        if isinstance(error, duckdb.OutOfMemoryException):
            return LimitExceeded(
                f"The query needs more than the {self._memory_limit_mb} MB of memory that a query may use;"
                " select fewer rows or columns, or a shorter range"
            )
        if isinstance(error, duckdb.BinderException) and "GROUP BY" in str(error):
            if " group by " not in self._sql:
                return SqlError(
                    "In aggregated query without GROUP BY, the SELECT list contains a nonaggregated column;"
                    " this is incompatible with sql_mode=only_full_group_by",
                    code=1140,
                    state="42000",
                )
            return SqlError(
                "Expression of SELECT list is not in GROUP BY clause and contains nonaggregated column"
                " which is not functionally dependent on columns in GROUP BY clause;"
                " this is incompatible with sql_mode=only_full_group_by",
                code=1055,
                state="42000",
            )
        if isinstance(error, duckdb.BinderException) and "aggregate" in str(error).lower():
            return SqlError("Invalid use of group function", code=1111)
        _log.error("engine_failed", kind=type(error).__name__, error=str(error)[:2000], sql=self._sql[:2000])
        return SqlError("The query could not be executed by this version of z4")
