"""DuckDB, locked down: it sees the text that the lowering made and the relations handed to it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import structlog
from duckdb.func import FunctionNullHandling, PythonUDFType

from z4sql.sql.engine.functions import FUNCTIONS, WARNING
from z4sql.sql.engine.refusals import refusal
from z4sql.sql.engine.regexp_problems import regexp_problem
from z4sql.sql.engine.stopping import stoppable
from z4sql.sql.engine.warnings import HEEDING, silenced
from z4sql.sql.engine.window_keys import rewritten_keys
from z4sql.sql.engine.zone_shifts import ZONES
from z4sql.sql.errors import Interrupted, LimitExceeded, SqlError, Unsupported

BATCH_ROWS = 8_192
_MACROS = Path(__file__).with_name("macros.sql")

_HEEDING_PREFIX: Final = "my_"
_UNDECLARED_PREFIX: Final = "told_"
"""Of functions that warn without the engine's knowing, which works out what is the same only once."""
_SILENT_PREFIX: Final = "silent_"
"""Of functions that never warn, which may therefore stand anywhere."""
_CALL: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|(?P<prefix>\bmy_(?=\w+\())""")

_STREAMED_KINDS: Final[dict[str, type[Exception]]] = {
    "INTERRUPT Error": duckdb.InterruptException,
    "Out of Memory Error": duckdb.OutOfMemoryException,
    "Out of Range Error": duckdb.OutOfRangeException,
    "Conversion Error": duckdb.ConversionException,
    "Invalid Input Error": duckdb.InvalidInputException,
}

_TOLD: Final = re.compile("1690 (DOUBLE value is out of range in '.*')")
"""What the macros raise themselves."""

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
        self._define(_HEEDING_PREFIX)
        self._connection.execute("SET preserve_insertion_order=true")
        # Connector/J sorts by a column that is always NULL.
        self._connection.execute("SET GLOBAL order_by_non_integer_literal=true")
        self._connection.execute("SET enable_external_access=false")
        self._connection.execute("SET lock_configuration=true")
        self._lock = threading.Lock()
        self._prefixes = {_HEEDING_PREFIX}

    def run(self, sql: str, sources: Mapping[str, object]) -> RunningQuery:
        """Start a query over ``sources`` (name -> Arrow table, reader, or object with an Arrow stream)."""
        return RunningQuery(self._cursor(), sql, sources, self._memory_limit_mb, self._by)

    def members(self) -> MemberExtractor:
        """An extractor of members of metadata, for one thread; to be closed."""
        return MemberExtractor(self._cursor)

    def close(self) -> None:
        self._connection.close()

    def _by(self, prefix: str, sql: str) -> str:
        """The same by the functions whose names have that prefix."""
        with self._lock:
            if prefix not in self._prefixes:
                self._define(prefix)
                self._prefixes.add(prefix)
        return _CALL.sub(lambda call: prefix if call["prefix"] else call[0], sql)

    def _define(self, prefix: str) -> None:
        """Functions and macros under names with ``prefix``."""
        warns, is_declared = prefix != _SILENT_PREFIX, prefix == _HEEDING_PREFIX
        for name, implementation, arguments, result in FUNCTIONS:
            self._connection.create_function(
                prefix + name.removeprefix(_HEEDING_PREFIX),
                stoppable(implementation if warns else silenced(implementation)),
                [duckdb.sqltype(argument) for argument in arguments],
                duckdb.sqltype(result),
                null_handling=FunctionNullHandling.SPECIAL,
                side_effects=is_declared and name in WARNING,
            )
        for name, of_moments, arguments, result in ZONES:
            self._connection.create_function(
                prefix + name.removeprefix(_HEEDING_PREFIX),
                of_moments,
                [duckdb.sqltype(argument) for argument in arguments],
                duckdb.sqltype(result),
                type=PythonUDFType.ARROW,
                null_handling=FunctionNullHandling.SPECIAL,
            )
        for name, over_columns, arguments, result in HEEDING:
            self._connection.create_function(
                prefix + name.removeprefix(_HEEDING_PREFIX),
                stoppable(over_columns if warns else silenced(over_columns)),
                [duckdb.sqltype(argument) for argument in arguments],
                duckdb.sqltype(result),
                type=PythonUDFType.ARROW,
                null_handling=FunctionNullHandling.SPECIAL,
                side_effects=is_declared,
            )
        self._connection.execute(re.sub(rf"\b{_HEEDING_PREFIX}", prefix, _MACROS.read_text()))

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            return self._connection.cursor()


class MemberExtractor:
    """Members of flat JSON documents, exactly as a query would extract them."""

    def __init__(self, opened: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._opened = opened
        self._cursor: duckdb.DuckDBPyConnection | None = None

    def members(self, metadata: pa.Array, legs: Sequence[str]) -> list[pa.Array]:
        """For each leg of a JSON pointer a dictionary column: the member's text, NULL where there is none."""
        if self._cursor is None:
            self._cursor = self._opened()
        pointers = ["'/" + leg.replace("'", "''") + "'" for leg in legs]
        listed = ", ".join(f"found[{at + 1}] as m{at}" for at in range(len(legs)))
        self._cursor.register("documents", pa.table({"document": metadata}))
        # All members at once: a document is parsed once for each call.
        extracted = f"json_extract_string(document, [{', '.join(pointers)}])"
        sql = f"select {listed} from (select {extracted} as found from documents)"  # noqa: S608 - quoted above
        found = self._cursor.sql(sql).to_arrow_table()
        return [_single(column.combine_chunks()).dictionary_encode() for column in found.columns]

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()


def _single(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _kind(error: Exception) -> type[Exception]:
    """The class of an engine's error. Behind the first batch they come through Arrow, as text alone."""
    if isinstance(error, OSError):
        for words, kind in _STREAMED_KINDS.items():
            if str(error).startswith(words):
                return kind
    return type(error)


class RunningQuery:
    """``batches`` is walked in one thread; ``cancel`` may be called from any."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        sql: str,
        sources: Mapping[str, object],
        memory_limit_mb: int,
        by: Callable[[str, str], str],
    ) -> None:
        """``by`` writes a text for the engine with functions of another prefix."""
        self._once = partial(by, _UNDECLARED_PREFIX)
        self._silent = partial(by, _SILENT_PREFIX)
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
            reader = self._reader()
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

    def _reader(self) -> pa.RecordBatchReader:
        try:
            return self._cursor.sql(self._sql).to_arrow_reader(BATCH_ROWS)
        except duckdb.BinderException as error:
            if "volatile" not in str(error):
                raise
        # What is declared to warn may not stand in the keys of a window.
        try:
            sql = rewritten_keys(self._sql, self._once, self._silent)
            return self._cursor.sql(sql).to_arrow_reader(BATCH_ROWS)
        except duckdb.BinderException as error:
            if "volatile" not in str(error):
                raise
        # Nor in other places that are rare: such a query does not warn at all.
        return self._cursor.sql(self._silent(self._sql)).to_arrow_reader(BATCH_ROWS)

    def cancel(self) -> None:
        """Interrupt the query; ``batches`` then raises `Interrupted`."""
        self._cancelled = True
        self._cursor.interrupt()

    def close(self) -> None:
        self._cursor.close()

    def _mapped(self, error: Exception) -> SqlError:
        if self.failure is not None:
            return self.failure
        kind = _kind(error)
        if self._cancelled or issubclass(kind, duckdb.InterruptException):
            return Interrupted()
        if issubclass(kind, duckdb.OutOfMemoryException):
            return LimitExceeded(
                f"The query needs more than the {self._memory_limit_mb} MB of memory that a query may use;"
                " select fewer rows or columns, or a shorter range"
            )
        if "More than one row returned by a subquery" in str(error):
            return SqlError("Subquery returns more than 1 row", code=1242, state="21000")
        if isinstance(error, duckdb.BinderException) and "volatile" in str(error):
            return Unsupported("This version of z4 doesn't yet support 'RAND() or UUID() in OVER ()'")
        refused = refusal(str(error))
        if refused is None and issubclass(kind, duckdb.InvalidInputException):
            refused = regexp_problem(str(error))
        if refused is not None:
            return refused
        told = _TOLD.search(str(error)) if issubclass(kind, duckdb.InvalidInputException) else None
        if told is not None:
            return SqlError(told[1], code=1690, state="22003")
        is_bad_input = issubclass(kind, duckdb.ConversionException | duckdb.InvalidInputException)
        if is_bad_input and "JSON" in str(error):
            return SqlError("Invalid JSON text in an argument of a function", code=3141, state="22032")
        if issubclass(kind, duckdb.OutOfRangeException | duckdb.ConversionException):
            return SqlError("A value is out of range in an expression", code=1690, state="22003")
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
        if "Max expression depth" in str(error):
            return SqlError("The statement is nested too deeply for the engine; use shorter lists", code=1436)
        _log.error("engine_failed", kind=type(error).__name__, error=str(error)[:2000], sql=self._sql[:2000])
        return SqlError("The query could not be executed by this version of z4")
