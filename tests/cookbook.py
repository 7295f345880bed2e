"""The store that the cookbook's recipes are run against, and the way in which their answers are printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.replica.group import encode_group
from tests.front_driver import FixedConnections
from tests.sql_service import service_over
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.front.front import Front
from z4sql.sql.render import render_text
from z4sql.sql.result import ResultSet
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.due import DueReader
from z4sql.tasks.life import LifeCommands, SettleKind, Settlement, lease_outcome
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask
from z4sql.tasks.settings import SettingsChange

PAGE = Path(__file__).parent.parent / "docs" / "cookbook.md"
NOON_US = 1_649_937_600_000_000
"""2022-04-14 12:00:00 UTC."""
NOW_US = NOON_US + 3600 * 1_000_000
_SECOND_US = 1_000_000
_RECIPE = re.compile(
    r"^## (?P<title>\d+\. .+?)$.*?^```sql\n(?P<sql>.*?)^```\n+^```\n(?P<answer>.*?)^```$", re.M | re.S
)


@dataclass(slots=True, frozen=True)
class Recipe:
    title: str
    sql: str
    answer: str


def recipes() -> list[Recipe]:
    """Every recipe of the page, with the answer that it shows."""
    return [
        Recipe(found["title"], found["sql"], found["answer"]) for found in _RECIPE.finditer(PAGE.read_text())
    ]


class Kitchen:
    """A small shop: mails, bills and reports, some delivered, some late, some dead."""

    def __init__(self, directory: Path) -> None:
        self.machine = TaskMachine(directory)
        self.machine.open()
        self.now_us = NOON_US - 86_400 * _SECOND_US
        self._builder = CommandBuilder(lambda: self.now_us, lambda: 0)
        self._life = LifeCommands(self._builder.stamp_us)
        self._fill()
        service, self._copy = service_over(self.machine)
        self._service = service
        self._copy.told |= {
            "members": [
                {
                    "id": name,
                    "role": role,
                    "term": 4,
                    "match_index": 31,
                    "lag_entries": lag,
                    "sql_address": address,
                }
                for name, role, lag, address in (
                    ("peer1", "leader", 0, "10.0.0.1:3306"),
                    ("peer2", "follower", 0, "10.0.0.2:3306"),
                    ("peer3", "follower", 1200, "10.0.0.3:3306"),
                )
            ],
            "consumers": [
                {
                    "name": "mailer-1",
                    "namespace": "welcome_emails",
                    "credit": 9,
                    "leases": 1,
                    "draining": False,
                }
            ],
            "metrics": [
                {"peer": "peer1", "name": "z4_is_leader", "labels": "{}", "value": 1.0, "help": ""},
                {"peer": "peer1", "name": "z4_consumers", "labels": "{}", "value": 1.0, "help": ""},
            ],
        }
        self._front = Front(
            service, Z4Catalog(), FixedConnections(), lambda: NOW_US, position=lambda: (31, 0)
        )

    def close(self) -> None:
        self._service.close()
        self.machine.close()

    async def answer(self, sql: str) -> str:
        """The answer of one statement as the `mysql` client prints it in batch mode with `--table`."""
        session = self._front.open_session(1, "root", "localhost", "z4", {})
        result = await self._front.execute(session, sql.strip().rstrip(";"))
        assert isinstance(result, ResultSet)
        rows: list[tuple[str, ...]] = []
        async for batch in result.batches:
            columns = [
                [
                    ("NULL" if cell is None else cell.decode())
                    for cell in render_text(column, one.type).to_pylist()
                ]
                for column, one in zip(batch.columns, result.columns, strict=True)
            ]
            rows += list(zip(*columns, strict=True))
        return _table([column.name for column in result.columns], rows)

    def _carry_out(self, command: bytes) -> bytes:
        index = Index(self.machine.applied_index + 1)
        entry = Entry(Term(1), index, EntryKind.COMMANDS, encode_group([command]))
        ((result,),) = self.machine.apply([entry])
        return result

    def _create(self, *tasks: NewTask) -> None:
        command = self._builder.create_tasks(tasks)
        assert command.data is not None
        self._carry_out(command.data)

    def _take(self, namespace: str, owner: str, at_us: int, count: int) -> list[tuple[bytes, int]]:
        self.now_us = at_us
        part = namespace.encode()
        due = DueReader(self.machine.store).due(part, after=None, until_us=at_us, limit=count)
        tokens = lease_outcome(self._carry_out(self._life.lease(owner, at_us + 300 * _SECOND_US, due)))
        assert all(tokens)
        return [(one.place, token) for one, token in zip(due, tokens, strict=True)]

    def _settle(
        self, stamp_us: int, kind: SettleKind, taken: list[tuple[bytes, int]], **said: int | str
    ) -> None:
        self.now_us = stamp_us
        items = [Settlement(place, token, kind, **said) for place, token in taken]  # type: ignore[arg-type]
        self._carry_out(self._life.settle(items))

    def _fill(self) -> None:
        self._create(
            *(
                NewTask(
                    "welcome_emails",
                    {"user_id": f"user{n}@example.com", "template": "welcome" if n % 2 else "hello"},
                    b'{"subject": "Hello"}',
                    NOON_US + 60 * n * _SECOND_US,
                )
                for n in range(6)
            ),
            *(NewTask("bills", {"customer": str(n)}, b"", NOON_US + n * 1800 * _SECOND_US) for n in range(4)),
            NewTask(
                "reports",
                {"kind": "daily"},
                b"",
                NOON_US + 9 * 3600 * _SECOND_US,
                request_id="daily-2022-04-14",
            ),
        )
        taken = self._take("welcome_emails", "mailer-1", NOON_US + 65 * _SECOND_US, 2)
        self._settle(NOON_US + 66 * _SECOND_US, SettleKind.ACK, taken)
        taken = self._take("welcome_emails", "mailer-1", NOON_US + 130 * _SECOND_US, 1)
        error = "connection to smtp.example.com refused"
        self._settle(
            NOON_US + 131 * _SECOND_US, SettleKind.NACK, taken, at_us=NOW_US + 60 * _SECOND_US, error=error
        )
        taken = self._take("welcome_emails", "mailer-2", NOON_US + 200 * _SECOND_US, 1)
        self._settle(NOON_US + 260 * _SECOND_US, SettleKind.DEAD, taken, error="no such mailbox")
        self._take("welcome_emails", "mailer-1", NOW_US - 60 * _SECOND_US, 1)
        self._carry_out(self._builder.set_namespace("bills", SettingsChange(paused=True)))


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(names, *rows, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+\n"
    lines = [
        "|" + "|".join(f" {cell:<{w}} " for cell, w in zip(row, widths, strict=True)) + "|\n"
        for row in (names, *rows)
    ]
    return rule + lines[0] + rule + "".join(lines[1:]) + (rule if rows else "")
