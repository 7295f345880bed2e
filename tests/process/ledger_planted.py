"""``z4 server`` with one defect planted: what the checker of histories must find out from the outside.

``python -m tests.process.ledger_planted DEFECT``
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partialmethod
from itertools import count

from z4sql.delivery.consumer import Consumer, Held
from z4sql.delivery.feed import Feed
from z4sql.delivery.model import Delivery
from z4sql.delivery.settler import Done, Settler
from z4sql.delivery.shift import Shift
from z4sql.delivery.sweeper import Sweeper
from z4sql.sql.__main__ import main as sql_main
from z4sql.sql.supervisor import SqlSupervisor
from z4sql.tasks import handover, leases
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.due import Due
from z4sql.tasks.life import SettleKind, Settlement, SettleOutcome
from z4sql.tasks.model import NamespaceSettings
from z4sql.tasks.requests import Known, RequestTable

_AHEAD_US = 200_000
_SQL = "--sql"


def retention_is_ignored() -> None:
    """Finished tasks are forgotten at once."""
    true = Sweeper._forget_finished

    async def forget(self: Sweeper, name: str, settings: NamespaceSettings) -> bool:
        return await true(self, name, replace(settings, retention_seconds=0))

    Sweeper._forget_finished = forget  # type: ignore[method-assign]


def requests_are_forgotten() -> None:
    """Every request id is new."""

    def find(self: RequestTable, key: bytes, clock_us: int) -> Known | None:
        return None

    RequestTable.find = find  # type: ignore[method-assign]


def _answered_but_not_done(kind: SettleKind) -> None:
    true = Settler.add

    def add(self: Settler, item: Settlement, done: Done) -> None:
        if item.kind is kind:
            done(item, SettleOutcome.DONE)
        else:
            true(self, item, done)

    Settler.add = add  # type: ignore[method-assign]


def acks_are_answered_and_dropped() -> None:
    _answered_but_not_done(SettleKind.ACK)


def extensions_are_answered_and_dropped() -> None:
    _answered_but_not_done(SettleKind.EXTEND)


def the_clock_runs_ahead() -> None:
    true = CommandBuilder.stamp_us

    def stamp_us(self: CommandBuilder) -> int:
        return true(self) + _AHEAD_US

    CommandBuilder.stamp_us = stamp_us  # type: ignore[method-assign]


def newcomers_take_from_others() -> None:
    """Whoever comes gets what others hold."""
    true = Shift.register

    def register(self: Shift, consumer: Consumer) -> None:
        for held in list(self.leases.values()):
            if held.sent and not held.settling:
                self._give_back(held)
        true(self, consumer)

    Shift.register = register  # type: ignore[method-assign]


def the_last_is_first() -> None:
    true = Feed._propose

    def propose(self: Feed, wanting: list[Consumer], takes: list[Due]) -> bool:
        return true(self, wanting, takes[::-1])

    Feed._propose = propose  # type: ignore[method-assign]


def arrivals_are_overlooked() -> None:
    """What comes to stand in front of a feed's cursor is not told of."""

    def arrived(self: Feed, cursor: bytes, times: Iterable[bytes]) -> None:
        if self.cursor is None or cursor >= self.cursor:
            self.look()

    Feed.arrived = arrived  # type: ignore[method-assign]


def contents_are_altered() -> None:
    """Consumers get another payload than was given."""
    true = Shift._delivery

    def delivery(self: Shift, held: Held, record: bytes) -> Delivery | None:
        found = true(self, held, record)
        return None if found is None else found._replace(payload=found.payload + b"!")

    Shift._delivery = delivery  # type: ignore[method-assign]


def sql_overlooks_acknowledgements() -> None:
    """The copy that SQL reads takes every other acknowledgement for stale."""
    true = SqlSupervisor.__init__
    command = (sys.executable, "-m", "tests.process.ledger_planted", _SQL)
    SqlSupervisor.__init__ = partialmethod(true, command=command)  # type: ignore[assignment]


def _sql() -> int:
    true = handover.acknowledged
    calls = count()

    def acknowledged(data: bytes, token: int, stamp_us: int) -> tuple[bytes, int] | None:
        return None if next(calls) % 2 else true(data, token, stamp_us)

    leases.acknowledged = acknowledged  # type: ignore[attr-defined]  # where it is called
    return sql_main(sys.argv[2:])


def one_replica_differs() -> None:
    """By a word in an error."""
    if os.environ["Z4_PEER_ID"] == "peer2":
        leases._UNANSWERED = b"the lease ended somehow"  # type: ignore[misc]


PLANTED: dict[Callable[[], None], str] = {
    retention_is_ignored: "I1",
    contents_are_altered: "I2",
    requests_are_forgotten: "I3",
    acks_are_answered_and_dropped: "I4",
    the_clock_runs_ahead: "I5",
    extensions_are_answered_and_dropped: "I6",
    newcomers_take_from_others: "I6",
    the_last_is_first: "I7",
    arrivals_are_overlooked: "I8",
    sql_overlooks_acknowledgements: "I9",
    one_replica_differs: "I10",
}
"""And the rule that each breaks."""


if __name__ == "__main__":
    from z4sql.cli.z4 import main

    if sys.argv[1] == _SQL:
        sys.exit(_sql())
    {plant.__name__: plant for plant in PLANTED}[sys.argv[1]]()
    sys.exit(main(["server"]))
