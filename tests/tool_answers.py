"""The recorded answers of `tests/corpus_statements`: ``python -m tests.tool_answers`` writes them anew.

Look at the difference before you keep it: tools rely on every line. What depends on the clock, or
on former statements, has its number of rows instead of the rows, and so have long listings.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.front_driver import NOW_US, FixedConnections, rows_of
from tests.planner_tables import us
from tests.sql_service import service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.front.session import Session
from z4sql.sql.result import Ok, Result
from z4sql.sql.types import ResultColumn
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

FOLDER = Path(__file__).with_name("corpus_statements")
TOOLS = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
_DAY, _HOUR = us("2022-04-16"), 3_600_000_000
_LATER_US = 50 * _HOUR
_ROWS_CHARACTERS_MAX = 1_500

Rows = list[list[str | int | None]]


@dataclass
class Statement:
    """``outcome``: ``rows``, ``ok`` or an error code; ``before``: statements of the same session.

    ``columns`` and ``rows`` as a client shows them; ``count``: of rows that are not recorded.
    """

    sql: str
    outcome: str | int
    before: list[str] = field(default_factory=list)
    columns: list[str] | None = None
    rows: Rows | None = None
    count: int | None = None

    def written(self) -> str:
        known = {name: value for name, value in asdict(self).items() if value is not None and value != []}
        if self.rows is not None:
            known["rows"] = self.rows
        return json.dumps(known, ensure_ascii=False)


def statements(tool: str) -> list[Statement]:
    return [Statement(**json.loads(line)) for line in (FOLDER / f"{tool}.jsonl").read_text().splitlines()]


@contextmanager
def filled_machine(directory: Path) -> Iterator[TaskMachine]:
    """Two namespaces with a task each hour of three days."""
    machine = open_machine(directory / "state")
    for namespace in ("welcome_emails", "other"):
        add_tasks(
            machine,
            [
                NewTask(namespace, {"user_id": f"u{at % 5}@example.com"}, b"p", _DAY + at * _HOUR)
                for at in range(-24, 48)
            ],
        )
    yield machine
    machine.close()


@asynccontextmanager
async def front_over(machine: TaskMachine, now_us: int = NOW_US) -> AsyncIterator[Front]:
    service, copy = service_over(machine)
    yield Front(service, Z4Catalog(), FixedConnections(), lambda: now_us)
    assert copy.readers == 0
    service.close()


async def session_for(front: Front, statement: Statement) -> Session:
    session = front.open_session(1, "root", "localhost", "z4", {})
    for sql in statement.before:
        await front.execute(session, sql)
    return session


async def drained(result: Result) -> tuple[tuple[ResultColumn, ...], Rows] | None:
    """The columns and rows of a result; None when it has none."""
    if isinstance(result, Ok):
        return None
    rows = [
        [cell if cell is None or isinstance(cell, (int, str)) else str(cell) for cell in row]
        for row in await rows_of(result)
    ]
    assert all(len(row) == len(result.columns) for row in rows)
    return result.columns, rows


async def answered(front: Front, statement: Statement) -> Statement:
    """The statement with the answer that it gets."""
    told = Statement(statement.sql, "ok", statement.before)
    try:
        found = await drained(await front.execute(await session_for(front, statement), statement.sql))
    except SqlError as error:
        told.outcome = error.code
        return told
    if found is not None:
        told.outcome, told.columns, told.rows = "rows", [column.name for column in found[0]], found[1]
    return told


def shortened(now: Statement, later: Statement) -> Statement:
    """What to record of the answers at two times."""
    if now.rows is None:
        return now
    is_timed = "EXPLAIN ANALYZE" in now.sql
    if is_timed or now.rows != later.rows or len(json.dumps(now.rows)) > _ROWS_CHARACTERS_MAX:
        now.count, now.rows = len(now.rows), None
    return now


async def _write() -> None:
    with tempfile.TemporaryDirectory() as directory, filled_machine(Path(directory)) as machine:
        async with front_over(machine) as front, front_over(machine, NOW_US + _LATER_US) as later:
            # What counts statements is no answer to record either.
            await answered(later, Statement("SELECT 1", "rows"))
            for tool in TOOLS:
                told = [
                    shortened(await answered(front, one), await answered(later, one))
                    for one in statements(tool)
                ]
                (FOLDER / f"{tool}.jsonl").write_text("".join(one.written() + "\n" for one in told))


if __name__ == "__main__":
    asyncio.run(_write())
