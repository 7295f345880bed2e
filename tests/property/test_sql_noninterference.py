"""What a user may not see changes nothing of what they are told: rows, errors, warnings, plans.

Two servers differ in all that is hidden from the user: names and tasks of other namespaces, what the peer
tells of them, and the connections of other users. Every statement gets the same answer from both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.front_driver import NOW_US, rows_of
from tests.sql_service import DirectCopy, service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.access.model import Grant, Role, User
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.result import ResultSet
from z4sql.sql.scan.segments import SegmentCache
from z4sql.sql.wire.connections import ConnectionInfo
from z4sql.sql.wire.errors import NotOwnerOfThread, UnknownThread
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

SECOND = 1_000_000
DAY_US = NOW_US - 86_400 * SECOND
ANN = User("ann", frozenset({Role.READ}), Grant(("mail_*",)))
ADMIN = User("root", frozenset({Role.ADMIN}))
USERS = {"ann": ANN, "root": ADMIN}
OF_TOOLS = sorted(
    {
        json.loads(line)["sql"]
        for file in (Path(__file__).resolve().parents[1] / "corpus_statements").glob("*.jsonl")
        for line in file.read_text().splitlines()
    }
)
MINE = "namespace = 'mail_a' AND deliver_at >= '2023-01-01'"
OTHERS = ("secret", "mail", "MAIL_A", "decoy", "mail%", "nosuch", "ſecret")
"""Names outside of the grant: of the one server, of the other, of both and of neither."""


class HiddenConnections:
    """Connection 1 is ann's, the others are not; what those do is told by ``hidden``."""

    def __init__(self, hidden: str) -> None:
        self._hidden = hidden

    def list(self) -> list[ConnectionInfo]:
        return [
            ConnectionInfo(1, "ann", "localhost", "z4", "Query", 0.0, "SELECT 1", {}),
            ConnectionInfo(
                2,
                f"user_{self._hidden}",
                f"{self._hidden}.example",
                "z4" if self._hidden == "secret" else "mysql",
                "Query" if self._hidden == "secret" else "Execute",
                float(len(self._hidden)),
                f"SELECT '{self._hidden}'",
                {"program_name": self._hidden},
            ),
        ]

    def kill(self, connection_id: int, *, query_only: bool, by_user: str | None) -> None:
        if connection_id > 2:
            raise UnknownThread(connection_id)
        if connection_id == 2 and by_user is not None:
            raise NotOwnerOfThread(connection_id)


class Server:
    """One of the two; ``hidden`` is what ann must not learn."""

    def __init__(self, folder: Path, hidden: str) -> None:
        self.hidden = hidden
        self.machine: TaskMachine = open_machine(folder)
        self.machine.observer = SegmentCache()
        add_tasks(self.machine, [NewTask("mail_a", {"n": str(at)}, b"", DAY_US + at) for at in range(20)])
        count = 3 + len(hidden)
        tasks = [NewTask(hidden, {"hidden": hidden}, hidden.encode(), DAY_US + at) for at in range(count)]
        add_tasks(self.machine, tasks)
        add_tasks(self.machine, [NewTask("mail", {"hidden": hidden}, b"", DAY_US) for _ in range(count)])
        self.service, self.copy = service_over(self.machine)
        _tell(self.copy, hidden, count)
        self._front = Front(
            self.service, Z4Catalog(), HiddenConnections(hidden), lambda: NOW_US, user=USERS.get
        )
        self.session = self._front.open_session(1, "ann", "localhost", "z4", {})

    async def told(self, sql: str, user: str = "ann") -> object:
        """All that comes back of a statement, and of the warnings behind it."""
        session = self.session if user == "ann" else self._front.open_session(9, user, "localhost", "z4", {})
        answers: list[object] = []
        for statement in (sql, "SHOW WARNINGS"):
            try:
                result = await self._front.execute(session, statement)
            except SqlError as error:
                answers.append((error.code, error.message))
                continue
            if isinstance(result, ResultSet):
                answers.append([(column.name, column.type) for column in result.columns])
                answers.append(await rows_of(result))
        return answers

    def close(self) -> None:
        self.service.close()
        self.machine.close()


def _tell(copy: DirectCopy, hidden: str, count: int) -> None:
    def about(namespace: str, number: int) -> dict[str, object]:
        labels = json.dumps({"namespace": namespace})
        return {
            "namespace": namespace,
            "task_id": f"{namespace}-{number}",
            "consumer": namespace,
            "name": f"z4_{namespace}",
            "labels": labels,
            "value": float(number),
        }

    rows = [about("mail_a", 1), about(hidden, count), about("mail", count)]
    for table in ("leases", "consumers", "metrics"):
        copy.told[table] = [dict(row) for row in rows]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    both = [Server(tmp_path_factory.mktemp(hidden) / "state", hidden) for hidden in ("secret", "decoy")]
    yield both[0], both[1]
    for server in both:
        server.close()


def _statements() -> list[str]:
    found = []
    catalog = Z4Catalog()
    for database in catalog.databases():
        for definition in catalog.tables(database):
            if not definition.bounded:
                quoted = f"`{database}`.`{definition.name}`"
                found += [f"SELECT * FROM {quoted}", f"SELECT COUNT(*) FROM {quoted}"]
    for name in OTHERS:
        for table, instant in (("tasks", "deliver_at"), ("task_events", "at")):
            bound = f"namespace = '{name}' AND {instant} >= '2023-01-01'"
            found += [
                f"SELECT * FROM {table} WHERE {bound}",
                f"SELECT COUNT(*) FROM {table} WHERE {bound}",
                f"SELECT MIN({instant}), MAX({instant}) FROM {table} WHERE {bound}",
                f"EXPLAIN SELECT * FROM {table} WHERE {bound}",
                f"EXPLAIN ANALYZE SELECT * FROM {table} WHERE {bound}",
                f"EXPLAIN FORMAT=JSON SELECT * FROM {table} WHERE {bound}",
                f"SELECT 1 FROM namespaces WHERE EXISTS (SELECT 1 FROM {table} WHERE {bound})",
                f"SELECT (SELECT COUNT(*) FROM {table} WHERE {bound}) FROM namespaces",
                f"WITH c AS (SELECT * FROM {table} WHERE {bound}) SELECT 1 FROM namespaces, c",
                f"SELECT 1 FROM {table} WHERE {bound} AND 1 / 0 LIMIT 0",
                f"DO (SELECT COUNT(*) FROM {table} WHERE {bound})",
                f"SET @found = (SELECT COUNT(*) FROM {table} WHERE {bound})",
                "SELECT @found, @@error_count, ROW_COUNT(), FOUND_ROWS()",
                f"PREPARE p FROM 'SELECT COUNT(*) FROM {table} WHERE namespace = ? AND {instant} >= NOW()'",
                f"SET @name = '{name}'",
                "EXECUTE p USING @name",
                f"SELECT * FROM {table} WHERE namespace = @name AND {instant} >= '2023-01-01'",
                f"SELECT * FROM {table} WHERE namespace IN ('mail_a', '{name}') AND {instant} >= NOW()",
                f"SELECT * FROM {table} a JOIN {table} b USING (namespace) WHERE a.{bound} AND b.{bound}",
            ]
        found += [
            f"SELECT * FROM namespaces WHERE name = '{name}'",
            f"SELECT COUNT(*) FROM namespaces WHERE name LIKE '{name[:2]}%'",
            f"SELECT * FROM leases WHERE namespace = '{name}'",
            f"SELECT name, COUNT(*) OVER () FROM metrics WHERE labels LIKE '%{name}%'",
            f"SELECT * FROM tasks WHERE id = '01GXK0AAAAAAAAAAAAAAAAAAAA' AND namespace = '{name}'",
            f"SHOW GRANTS FOR 'user_{name}'",
            f"SHOW GRANTS FOR '{name}'",
        ]
    return found + [
        "SHOW PROCESSLIST",
        "SHOW FULL PROCESSLIST",
        "SELECT * FROM performance_schema.session_connect_attrs",
        "SELECT * FROM performance_schema.session_account_connect_attrs",
        "KILL 2",
        "KILL QUERY 2",
        "KILL 3",
        "EXPLAIN FOR CONNECTION 2",
        "SHOW TABLE STATUS",
        "SHOW INDEX FROM tasks",
        "SHOW STATUS",
        "SHOW ENGINE INNODB STATUS",
        "SHOW OPEN TABLES",
        "SHOW PROFILES",
        "SELECT * FROM tasks",
        "SELECT * FROM tasks WHERE deliver_at >= '2023-01-01'",
        "SELECT * FROM tasks WHERE namespace LIKE '%' AND deliver_at >= '2023-01-01'",
        "SELECT * FROM tasks WHERE namespace > '' AND deliver_at >= '2023-01-01'",
        "SELECT 1 FROM tasks WHERE namespace IN (SELECT name FROM namespaces) AND deliver_at >= NOW()",
        "SHOW CREATE USER 'root'",
        "SELECT * FROM mysql.user",
        "SHOW MASTER STATUS",
    ]


async def _told_alike(servers: tuple[Server, Server], statements: list[str]) -> None:
    one, other = servers
    wrong = []
    for sql in ("SET timestamp = 1700000000", *statements):
        told = await one.told(sql), await other.told(sql)
        if told[0] != told[1]:
            wrong.append(f"{sql}: {told[0]!r} but {told[1]!r}")
    assert wrong == []


async def test_what_is_hidden_changes_no_answer(servers: tuple[Server, Server]) -> None:
    await _told_alike(servers, _statements())


@pytest.mark.long
async def test_what_is_hidden_changes_no_answer_to_a_tool(servers: tuple[Server, Server]) -> None:
    await _told_alike(servers, OF_TOOLS)


async def test_the_two_servers_do_differ_and_ann_sees_her_own(servers: tuple[Server, Server]) -> None:
    one, other = servers
    for sql in ("SELECT * FROM namespaces", "SELECT * FROM leases", "SHOW PROCESSLIST"):
        assert await one.told(sql, "root") != await other.told(sql, "root")
        assert "mail_a" in repr(await one.told(sql)) or "PROCESSLIST" in sql
    count = await one.told(f"SELECT COUNT(*) FROM tasks WHERE {MINE}")
    assert "20" in repr(count)


async def test_what_others_asked_before_is_not_given_to_ann(servers: tuple[Server, Server]) -> None:
    """Plans, parsed texts, shapes and segments are shared by all who ask; rights are looked at each time."""
    one, _ = servers
    for name in ("secret", "mail"):
        bound = f"namespace = '{name}' AND deliver_at >= '2023-01-01'"
        for sql in (
            f"SELECT id, deliver_at FROM tasks WHERE {bound}",
            f"SELECT COUNT(*) FROM tasks WHERE {bound}",
            f"SELECT metadata->>'$.hidden', COUNT(*) FROM tasks WHERE {bound} GROUP BY 1",
        ):
            for _ in range(4):
                assert "error" not in repr(await one.told(sql, "root"))
                assert '(1142, "SELECT command denied' in repr(await one.told(sql)), sql
