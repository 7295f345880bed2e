"""Delivery of one namespace: from the due index to leases, in order of time, to all who want them.

The cursor stands behind what was chosen. It goes forward with every choice, so that the next batch is chosen
while the former is still on its way through the log, and never walks over what was delivered; it goes back
only when something came to stand in front of it (`z4sql.delivery.arrivals`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from heapq import nsmallest
from typing import TYPE_CHECKING, Final

from raftcore.core.errors import NotAccepted, RaftError
from z4sql.delivery.consumer import Consumer, Held
from z4sql.delivery.horizon import NEVER_US, Horizon
from z4sql.tasks.due import Due, cursor_before
from z4sql.tasks.keys import namespace_part, time_bytes
from z4sql.tasks.life import lease_outcome
from z4sql.tasks.model import NamespaceSettings

if TYPE_CHECKING:
    from z4sql.delivery.shift import Shift

TAKES_PER_ROUND_MAX: Final = 256
ROUNDS_IN_FLIGHT_MAX: Final = 3
ROUND_SPACING_S: Final = 0.005
"""While a small round is on its way the next one gathers what comes to be due: the log costs by the round."""
SLEEP_S_MAX: Final = 60.0
_SLEEP_S_MIN: Final = 0.0005
_BUSY_PAUSE_S: Final = 0.02


class Feed:
    """``namespace`` as text; it has consumers, or had some in this leadership."""

    def __init__(self, shift: Shift, namespace: str) -> None:
        self.namespace = namespace
        self.consumers: list[Consumer] = []
        self.cursor: bytes | None = None
        self.scheduled = False
        """Whether it stands in the shift's queue of feeds to look at."""
        self._shift = shift
        self._name = namespace.encode()
        self._loop = asyncio.get_running_loop()
        self._settings: NamespaceSettings | None = None
        self._choosing: dict[bytes, int] = {}
        """Places, and times of the attempt, in commands that are not applied yet."""
        self._asleep_before: bytes | None = None
        """Asleep until what stands behind this cursor is due; None: awake, or nobody wants anything."""
        self._rounds = 0
        self._next_round_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._horizon = Horizon(shift.due, self._name)

    def settings(self) -> NamespaceSettings:
        if self._settings is None:
            self._settings = self._shift.settings(self.namespace)
        return self._settings

    def settings_changed(self) -> None:
        self._settings = None
        self.look()

    def arrived(self, cursor: bytes, times: Iterable[bytes]) -> None:
        """Something came to stand behind ``cursor``, at ``times`` as keys have them."""
        if self.cursor is not None and cursor < self.cursor:
            self.cursor = cursor
        self._horizon.note(times)
        if self._asleep_before is not None and cursor >= self._asleep_before:
            return
        if any(consumer.wants for consumer in self.consumers):
            self.look()

    def missed(self, due: Due) -> bool:
        """Whether ``due`` stands in front of the cursor, and not because its lease is on its way."""
        return (
            self.cursor is not None
            and due.cursor < self.cursor
            and self._choosing.get(due.place) != due.next_attempt_at_us
        )

    @property
    def leasing(self) -> bool:
        """Whether leases are on their way through the log."""
        return self._rounds > 0

    def look(self) -> None:
        """Look for due tasks soon."""
        self._shift.schedule(self)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._asleep_before = None

    def run(self) -> None:
        """Choose one round of due tasks; or sleep until there is one."""
        self.stop()
        if self._shift.ending:
            return
        clock = self._shift.clock
        settings = self.settings()
        now_us = clock.stamp_us()
        if settings.is_paused(now_us):
            if settings.paused_until_us is not None:
                self._sleep_until(settings.paused_until_us)
            return
        wanting = [consumer for consumer in self.consumers if consumer.wants]
        if not wanting or self._rounds >= ROUNDS_IN_FLIGHT_MAX:
            # Whoever gets credit, and a round that ends, look again.
            return
        wait_s = self._next_round_s - self._loop.time()
        if self._rounds and wait_s > 0:
            self._timer = self._loop.call_later(wait_s, self.look)
            return
        limit = min(sum(consumer.wants for consumer in wanting), TAKES_PER_ROUND_MAX)
        found = self._shift.due.due(self._name, after=self.cursor, until_us=now_us, limit=limit)
        choosing = self._choosing
        fresh = [due for due in found if choosing.get(due.place) != due.next_attempt_at_us]
        before = self.cursor
        if len(found) < limit:
            # All that is due by now was seen; what comes to stand here later is told of.
            self.cursor = max(before or b"", cursor_before(self._name, now_us + 1))
        else:
            self.cursor = found[-1].cursor
        takes = self._shift.sort_out(fresh, settings, now_us)
        if takes and not self._propose(wanting, takes):
            self.cursor = before
            self._timer = self._loop.call_later(_BUSY_PAUSE_S, self.look)
            return
        if len(found) == limit:
            self.look()
            return
        if takes:
            self._next_round_s = self._loop.time() + ROUND_SPACING_S
        next_us = self._horizon.next_us(now_us, self.cursor)
        self._asleep_before = cursor_before(self._name, NEVER_US if next_us is None else next_us)
        if next_us is not None:
            self._sleep_until(next_us)

    def _sleep_until(self, instant_us: int) -> None:
        delay_s = (instant_us - self._shift.clock.wall_us()) / 1e6
        self._timer = self._loop.call_later(min(max(delay_s, _SLEEP_S_MIN), SLEEP_S_MAX), self.look)

    def _propose(self, wanting: list[Consumer], takes: list[Due]) -> bool:
        """Lease ``takes`` to consumers, one command for each; False when nothing was accepted."""
        at = 0
        for consumer, count in self._shares(wanting, len(takes)):
            share = takes[at : at + count]
            if not self._lease(consumer, share):
                if at == 0:
                    return False
                # The rest is found again: the cursor goes back to it.
                self.arrived(share[0].cursor[:-1], ())
                return True
            at += count
        return True

    def _shares(self, wanting: list[Consumer], count: int) -> list[tuple[Consumer, int]]:
        """Equal shares, but nobody more than it wants; where there is not one for each, to the idlest."""
        self._turn += 1
        if count < len(wanting):
            idlest = nsmallest(count, wanting, key=lambda consumer: (len(consumer.held), consumer.turn))
            return [(consumer, 1) for consumer in idlest]
        order = sorted(wanting, key=lambda consumer: (consumer.wants, consumer.turn))
        shares = []
        for left, consumer in zip(range(len(order), 0, -1), order, strict=True):
            share = min(consumer.wants, -(-count // left))
            if share:
                shares.append((consumer, share))
            count -= share
        return shares

    def _lease(self, consumer: Consumer, takes: list[Due]) -> bool:
        shift = self._shift
        lease_ms = consumer.lease_ms or self.settings().ack_deadline_seconds * 1000
        lease_until_us = shift.clock.stamp_us() + lease_ms * 1000

        def ended(result: bytes | RaftError) -> None:
            if shift.stopped:
                return
            self._rounds -= 1
            shift.round_over()
            for take in takes:
                self._choosing.pop(take.place, None)
            until = time_bytes(lease_until_us)
            # The log may have been so slow that the leases are over: they stand in front of the cursor then.
            self.arrived(namespace_part(self._name) + until, (until,))
            self.look()
            if isinstance(result, bytes):
                self._leased(consumer, takes, lease_outcome(result), lease_until_us, lease_ms * 1000)
            else:
                consumer.add_credit(len(takes))

        try:
            shift.propose(shift.commands.lease(consumer.name, lease_until_us, takes), ended)
        except NotAccepted:
            return False
        self._choosing.update((take.place, take.next_attempt_at_us) for take in takes)
        self._rounds += 1
        consumer.credit -= len(takes)
        consumer.turn = self._turn
        return True

    def _leased(
        self, consumer: Consumer, takes: list[Due], tokens: list[int], lease_until_us: int, lease_us: int
    ) -> None:
        leases = [
            Held(take.place, token, take.next_attempt_at_us, lease_until_us, lease_us, consumer)
            for take, token in zip(takes, tokens, strict=True)
            if token
        ]
        self._shift.leased(consumer, leases)
        if len(leases) < len(takes):
            consumer.add_credit(len(takes) - len(leases))
            for take, token in zip(takes, tokens, strict=True):
                # Refused because it expired on its way: it still stands where it stood.
                if not token and take.expire_at_us is not None:
                    self.arrived(take.cursor[:-1], ())


def part_of(namespace: str) -> bytes:
    """A namespace as it stands in keys."""
    return namespace_part(namespace.encode())
