"""The SQL process beside a peer: real clients, a copy that follows, restarts, and an end with its peer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import pymysql
import pytest

from tests.feeding_peer import FeedingPeer, sql_process
from tests.planner_tables import us
from z4sql.tasks.model import NewTask

T = TypeVar("T")
DAY = us("2022-04-16")
QUESTION = (
    "SELECT * FROM tasks WHERE namespace='welcome_emails' "
    "AND deliver_at BETWEEN '2022-04-16' AND '2022-04-17' "
    "AND JSON_EXTRACT(metadata,'$.user_id')='newuser@example.com'"
)


async def ask(port: int, *statements: str) -> list[tuple[object, ...]]:
    """The rows of the last statement, through PyMySQL."""

    def run() -> list[tuple[object, ...]]:
        connection = pymysql.connect(
            host="127.0.0.1", port=port, user="root", database="z4", read_timeout=20, connect_timeout=20
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    return await asyncio.to_thread(run)


async def until(check: Callable[[], T], timeout_s: float = 20) -> T:
    async with asyncio.timeout(timeout_s):
        while not (found := check()):
            await asyncio.sleep(0.02)
    return found


def fill(peer: FeedingPeer) -> str:
    peer.add([NewTask("welcome_emails", {"user_id": f"u{at}"}, b"", DAY + at) for at in range(100)])
    (task_id,) = peer.add(
        [NewTask("welcome_emails", {"user_id": "newuser@example.com"}, b"hi", DAY + 3_600_000_000)]
    )
    return task_id


async def test_the_three_questions_of_the_product(tmp_path: Path) -> None:
    async with sql_process(tmp_path) as (peer, supervisor):
        task_id = fill(peer)
        linearizable = "SET SESSION z4_consistency = 'linearizable'"
        (row,) = await ask(supervisor.port, linearizable, QUESTION)
        assert row[:5] == (
            "welcome_emails",
            task_id,
            datetime(2022, 4, 16, 1),
            '{"user_id": "newuser@example.com"}',
            b"hi",
        )
        for sql, missing in (
            ("SELECT * FROM tasks WHERE namespace='welcome_emails'", "deliver_at"),
            ("SELECT * FROM tasks WHERE deliver_at BETWEEN '2022-04-16' AND '2022-04-17'", "namespace"),
        ):
            with pytest.raises(pymysql.MySQLError) as caught:
                await ask(supervisor.port, "SET SQL_BIG_SELECTS = 1", sql)
            code, message = caught.value.args
            assert code == 1104
            assert message.startswith(f"Query on 'tasks' must bound {missing}: add e.g. ")
            assert f"Corrected: {sql} AND {missing} " in message


async def test_the_copy_follows_what_the_peer_applies(tmp_path: Path) -> None:
    async with sql_process(tmp_path) as (peer, supervisor):
        fill(peer)
        count = "SELECT COUNT(*) FROM tasks WHERE namespace = 'n' AND deliver_at >= '2022-01-01'"
        for expected in (1, 2, 3):
            peer.add([NewTask("n", deliver_at_us=DAY)])
            found = await ask(supervisor.port, "SET z4_consistency = 'linearizable'", count)
            assert found == [(expected,)]


async def test_system_tables_are_answered_beside_the_store(tmp_path: Path) -> None:
    async with sql_process(tmp_path) as (_, supervisor):
        found = await ask(
            supervisor.port,
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'z4' ORDER BY TABLE_NAME",
        )
        tables = ["consumers", "leases", "members", "metrics", "namespaces", "task_events", "tasks"]
        assert [name for (name,) in found] == tables


async def test_a_killed_process_comes_back_and_the_peer_lives(tmp_path: Path) -> None:
    async with sql_process(tmp_path) as (peer, supervisor):
        fill(peer)
        first = supervisor.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.restarts == 1 and supervisor.running)
        assert supervisor.process_id != first
        assert len(await ask(supervisor.port, "SET z4_consistency = 'linearizable'", QUESTION)) == 1


async def test_the_process_ends_with_the_peer_that_started_it(tmp_path: Path) -> None:
    async with sql_process(tmp_path) as (_, supervisor):
        process = supervisor._process
        assert process is not None and process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_the_process_ends_without_a_word_outside_its_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with sql_process(tmp_path):
        pass
    said = capfd.readouterr().err
    assert "sql_stopped" in said
    assert all(line.startswith("{") for line in said.splitlines()), said
