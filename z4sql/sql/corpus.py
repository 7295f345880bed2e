"""MySQL's own answers against ours: ``python -m z4sql.sql.corpus FILE``.

FILE is JSON lines. The first is the meta line: generator of the rows (a Python file beside FILE), schema,
bindings, clock. Each other line is a query with what MySQL answered: the number of rows and a digest of the
text protocol's bytes, or an errno. Ends with one line ``right=N wrong=N error=N``: wrong means that the query
ran but differs, error that it was refused although MySQL answers it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from z4sql.sql.context import StatementContext
from z4sql.sql.engine.engine import Engine
from z4sql.sql.errors import SqlError, SyntaxProblem
from z4sql.sql.lowering import Lowered, lower
from z4sql.sql.render import render_text
from z4sql.sql.types import Collation, ColumnDefinition, Kind, ResultColumn, SqlType, TableDefinition
from z4sql.tasks.encoding import metadata_json

_NAME = SqlType(Kind.STRING, 255, collation=Collation.BIN_0900)
_INSTANT = SqlType(Kind.DATETIME, scale=6)
TASKS = TableDefinition(
    "z4",
    "tasks",
    (
        ColumnDefinition("namespace", _NAME, "varchar(255)", nullable=False),
        ColumnDefinition("id", _NAME, "varchar(255)", nullable=False),
        ColumnDefinition("deliver_at", _INSTANT, "datetime(6)", nullable=False),
        ColumnDefinition("created_at", _INSTANT, "datetime(6)", nullable=False),
        ColumnDefinition("last_retry", _INSTANT, "datetime(6)"),
        ColumnDefinition("metadata", SqlType(Kind.JSON), "json"),
        ColumnDefinition("payload", SqlType(Kind.BINARY, collation=Collation.BINARY), "longblob"),
    ),
)


class CorpusCatalog:
    """The recorded schema: one table."""

    def databases(self) -> list[str]:
        return ["z4"]

    def table(self, database: str, name: str) -> TableDefinition | None:
        # The recorded server ran on a file system with case: so did its table names.
        return TASKS if (database.lower(), name) == ("z4", "tasks") else None

    def tables(self, database: str) -> list[TableDefinition]:
        return [TASKS] if database == "z4" else []


@dataclass(slots=True)
class Verdict:
    """``outcome`` is right, wrong or error."""

    id: str
    sql: str
    outcome: str
    expected: str
    got: str


class Corpus:
    """A file of queries, its rows, and an engine to ask."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text().splitlines()
        self._meta: dict[str, Any] = json.loads(lines[0])
        self._cases: list[dict[str, Any]] = [json.loads(line) for line in lines[1:] if line.strip()]
        generator = self._meta["generator"]
        self._rows = corpus_rows(
            generated_rows(path.parent / generator["file"], generator["n"], generator["seed"])
        )
        self._engine = Engine()
        now = datetime.fromisoformat(self._meta["now"]).replace(tzinfo=UTC)
        self._context = StatementContext(now_us=int(now.timestamp()) * 1_000_000, variable=_variable)

    def run(self) -> Iterable[Verdict]:
        for case in self._cases:
            yield self._judge(case)

    def _judge(self, case: dict[str, Any]) -> Verdict:
        sql, expected = self._bound(case["sql"]), case["bin"]
        shown = (
            f"errno {expected['errno']}"
            if "errno" in expected
            else f"{expected['n']} rows {expected['head']}"
        )
        try:
            columns, rows = self._answer(sql)
        except SqlError as error:
            if "errno" in expected:
                outcome = "right" if error.code == expected["errno"] else "error"
            else:
                outcome = "error"
            return Verdict(case["id"], sql, outcome, shown, f"error {error.code}: {error.message}")
        got = f"{len(rows)} rows {rows[:2]}"
        if "errno" in expected:
            return Verdict(case["id"], sql, "wrong", shown, got)
        right = _digest(rows, ordered=case["ordered"]) == expected["sha"]
        names = [column.name for column in columns]
        if right and names != expected["names"]:
            got = f"names {names} instead of {expected['names']}"
            right = False
        if not right and case.get("loose") and len(rows) == expected["n"]:
            right = True
        return Verdict(case["id"], sql, "right" if right else "wrong", shown, got)

    def _bound(self, sql: str) -> str:
        for name, value in self._meta["bindings"].items():
            sql = sql.replace(f"<<{name}>>", value)
        return sql

    def _answer(self, sql: str) -> tuple[tuple[ResultColumn, ...], list[tuple[bytes | None, ...]]]:
        try:
            query = sqlglot.parse_one(sql, read="mysql")
        except SqlglotError as error:
            raise SyntaxProblem(f"You have an error in your SQL syntax: {error}") from None
        assert isinstance(query, exp.Expression)
        lowered = lower(query, sql, CorpusCatalog(), self._context)
        return lowered.columns, printed_rows(self._engine, self._rows, lowered)


def printed_rows(engine: Engine, table: pa.Table, lowered: Lowered) -> list[tuple[bytes | None, ...]]:
    """Run a lowered query over ``table``, which holds every source's columns; its rows as text."""
    sources = {name: table.select(use.columns or ("namespace",)) for name, use in lowered.sources.items()}
    running = engine.run(lowered.sql, sources)
    rows: list[tuple[bytes | None, ...]] = []
    try:
        for batch in running.batches():
            cells = [
                render_text(column, result.type).to_pylist()
                for column, result in zip(batch.columns, lowered.columns, strict=True)
            ]
            rows += zip(*cells, strict=True)
    finally:
        running.close()
    return rows


def _variable(name: str) -> object:
    """The few variables that the recorded queries look at."""
    known = {"version_comment": "MySQL", "cte_max_recursion_depth": 1000}
    if name not in known:
        raise SqlError(f"Unknown system variable '{name}'", code=1193)
    return known[name]


def _digest(rows: Sequence[tuple[bytes | None, ...]], *, ordered: bool) -> str:
    encoded = [b"\x1f".join(b"\x00N" if cell is None else cell for cell in row) for row in rows]
    if not ordered:
        encoded.sort()
    return hashlib.sha256(b"\x1e".join(encoded)).hexdigest()[:32]


def generated_rows(generator: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """The rows that a Python file makes: its ``gen(count, seed)``."""
    spec = importlib.util.spec_from_file_location("corpus_rows", generator)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(generator)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows: list[dict[str, Any]] = module.gen(count, seed)
    return rows


def corpus_rows(rows: list[dict[str, Any]]) -> pa.Table:
    """Generated rows as the engine reads them, columns as in `TASKS`."""
    instant = pa.timestamp("us")
    return pa.table(
        {
            "namespace": pa.array([row["namespace"] for row in rows], pa.string()),
            "id": pa.array([row["id"] for row in rows], pa.string()),
            "deliver_at": pa.array([row["deliver_at"] for row in rows], instant),
            "created_at": pa.array([row["created_at"] for row in rows], instant),
            "last_retry": pa.array([row["last_retry"] for row in rows], instant),
            "metadata": pa.array([metadata_json(row["metadata"]).decode() for row in rows], pa.string()),
            "payload": pa.array([row["payload"] for row in rows], pa.binary()),
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare our answers with MySQL's own.")
    parser.add_argument("file", type=Path)
    counts = {"right": 0, "wrong": 0, "error": 0}
    for verdict in Corpus(parser.parse_args().file).run():
        counts[verdict.outcome] += 1
        if verdict.outcome != "right":
            print(f"{verdict.outcome} {verdict.id}: {verdict.sql}")
            print(f"  MySQL: {verdict.expected}\n  here:  {verdict.got}")
    print(" ".join(f"{outcome}={count}" for outcome, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
