"""The shape of queries: clauses, joins, sets, recursion and names, answered as MySQL answers them.

``tests/corpus/query_shapes.jsonl`` has what MySQL 9.7 said over tables without rows: the names of columns
and the rows, or the code and message of the error. ``session_shapes.jsonl`` is one session, in its order.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.converters import encoders

from tests.planner_tables import NOW_US
from tests.sql_service import service_over
from tests.task_stores import open_machine
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.front.front import Front
from z4sql.sql.wire.auth import NoAccounts
from z4sql.sql.wire.connections import ConnectionRegistry
from z4sql.sql.wire.server import WireServer

CORPUS = Path(__file__).resolve().parents[1] / "corpus"


def told(port: int, statements: list[str]) -> list[dict[str, Any]]:
    """What a server says to each of the statements, as the corpus has it."""
    answers: list[dict[str, Any]] = []
    with (
        pymysql.connect(
            host="127.0.0.1", port=port, user="root", database="z4", conv=dict[Any, Any](encoders)
        ) as connection,
        connection.cursor() as cursor,
    ):
        for sql in statements:
            try:
                cursor.execute(sql)
            except pymysql.err.MySQLError as error:
                answers.append({"sql": sql, "error": list(error.args)})
                continue
            rows = [[_text(cell) for cell in row] for row in cursor.fetchall()]
            columns = [each[0] for each in cursor.description or ()]
            answers.append({"sql": sql, "columns": columns, "rows": rows})
    return answers


def _text(cell: str | bytes | None) -> str | None:
    return cell.decode("latin-1") if isinstance(cell, bytes) else cell


async def told_by_ours(directory: Path, statements: list[str]) -> list[dict[str, Any]]:
    """As `told`, by a server of ours without tasks."""
    machine = open_machine(directory)
    service, _ = service_over(machine)
    connections = ConnectionRegistry()
    front = Front(service, Z4Catalog(), connections, lambda: NOW_US)
    server = WireServer(front, NoAccounts(), connections=connections)
    port = await server.start("127.0.0.1", 0)
    try:
        return await asyncio.to_thread(told, port, statements)
    finally:
        await server.stop(1)
        service.close()
        machine.close()


@pytest.mark.parametrize("file", ["query_shapes.jsonl", "session_shapes.jsonl"])
async def test_statements_get_the_recorded_answers(tmp_path: Path, file: str) -> None:
    cases = [json.loads(line) for line in (CORPUS / file).read_text().splitlines()]
    answers = await told_by_ours(tmp_path / "state", [case["sql"] for case in cases])
    wrong = [one for one, case in zip(answers, cases, strict=True) if _sorted(one) != _sorted(case)]
    assert wrong == []


def _sorted(answer: dict[str, Any]) -> dict[str, Any]:
    """Rows come in any order where the query asks for none."""
    if "rows" not in answer or "ORDER BY" in answer["sql"] or "ROLLUP" in answer["sql"]:
        return answer
    return answer | {"rows": sorted(answer["rows"], key=repr)}
