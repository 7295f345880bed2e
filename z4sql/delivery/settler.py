"""Settlements of all consumers: what comes in one turn of the loop is one command."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from raftcore.core.errors import NotAccepted, RaftError
from z4sql.delivery.model import Observer, Propose
from z4sql.tasks.keys import SUFFIX_BYTES
from z4sql.tasks.life import LifeCommands, Settlement, SettleOutcome, settle_outcome

ITEMS_PER_COMMAND_MAX: Final = 500
COMMANDS_IN_FLIGHT_MAX: Final = 4
SPACING_S: Final = 0.005
"""While one command is on its way the next one gathers what comes: the log costs by the command."""
_RETRY_S: Final = 0.02

Done = Callable[[Settlement, SettleOutcome], None]


class Settler:
    """Every item is answered once, unless leadership ends before: then none is any more."""

    def __init__(self, propose: Propose, commands: LifeCommands, observer: Observer) -> None:
        self._propose = propose
        self._commands = commands
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Settlement, Done]] = deque()
        self._in_flight = 0
        self._next_s = 0.0
        self._scheduled = False
        self._stopped = False
        self._drained = asyncio.Event()
        self._drained.set()

    def add(self, item: Settlement, done: Done) -> None:
        """Settle; ``done`` is called when it is applied, not from here."""
        self._waiting.append((item, done))
        self._drained.clear()
        self._schedule()

    def stop(self) -> None:
        self._stopped = True
        self._waiting.clear()
        self._drained.set()

    async def drained(self) -> None:
        """Wait until nothing is on its way."""
        await self._drained.wait()

    def _schedule(self) -> None:
        if self._scheduled or self._stopped or self._in_flight >= COMMANDS_IN_FLIGHT_MAX:
            return
        self._scheduled = True
        wait_s = self._next_s - self._loop.time()
        if self._in_flight and wait_s > 0:
            self._loop.call_later(wait_s, self._flush)
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and not self._stopped and self._in_flight < COMMANDS_IN_FLIGHT_MAX:
            count = min(len(self._waiting), ITEMS_PER_COMMAND_MAX)
            batch = [self._waiting.popleft() for _ in range(count)]
            try:
                self._propose(
                    self._commands.settle([item for item, _ in batch]),
                    lambda result, batch=batch: self._ended(batch, result),  # type: ignore[misc]  # bound early
                )
            except NotAccepted:
                self._put_back(batch)
                return
            self._in_flight += 1
            spacing_s = SPACING_S if count < ITEMS_PER_COMMAND_MAX else 0.0
            self._next_s = self._loop.time() + spacing_s

    def _put_back(self, batch: list[tuple[Settlement, Done]]) -> None:
        """In no log. Whoever is told that leadership went stops this; after a failed transfer it did not."""
        self._waiting.extendleft(reversed(batch))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(_RETRY_S, self._flush)

    def _ended(self, batch: list[tuple[Settlement, Done]], result: bytes | RaftError) -> None:
        self._in_flight -= 1
        if self._stopped:
            return
        if isinstance(result, NotAccepted):
            self._put_back(batch)
            return
        if isinstance(result, bytes):
            outcomes = settle_outcome(result)
            for (item, done), outcome in zip(batch, outcomes, strict=True):
                done(item, outcome)
            counts = Counter(
                (item.kind, outcome, item.place[1:-SUFFIX_BYTES])
                for (item, _), outcome in zip(batch, outcomes, strict=True)
            )
            for (kind, outcome, namespace), count in counts.items():
                self._observer.settled(kind.name.lower(), outcome, namespace.decode(), count)
        self._schedule()
        if not self._waiting and not self._in_flight:
            self._drained.set()
