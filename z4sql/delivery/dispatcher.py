"""Delivery on a peer: a shift while it leads, none otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import structlog

from raftcore.core.types import Entry
from raftcore.storage.kv import Store
from z4sql.delivery.consumer import Consumer, Held
from z4sql.delivery.model import Clock, Closing, Observer, Propose
from z4sql.delivery.pace import Pace
from z4sql.delivery.recall import Entries
from z4sql.delivery.shift import Shift

_RESTART_S: Final = 1.0
_CLOSE_S: Final = 2.0

_log = structlog.get_logger()


class NotLeading(Exception):
    """This peer does not deliver now: it does not lead, or is not ready to."""


class Dispatcher:
    """Belongs to one loop. Feed it with `applied` and `role_changed`, in that order of cause."""

    def __init__(
        self,
        *,
        propose: Propose,
        leads: Callable[[], bool],
        store: Callable[[], Store | None],
        clock: Clock,
        observer: Observer,
        entries: Entries,
        applied_index: Callable[[], int],
    ) -> None:
        """``leads``: this peer leads, and has applied all that earlier leaders committed."""
        self._entries = entries
        self._applied_index = applied_index
        self._propose = propose
        self._leads = leads
        self._store = store
        self._clock = clock
        self._observer = observer
        self._shift: Shift | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._closed = False
        self.pace = Pace()
        """For what streams do when they have something to send."""

    @property
    def consumers(self) -> list[Consumer]:
        """Those that are connected here now; none while another peer leads."""
        return [] if self._shift is None else list(self._shift.consumers)

    @property
    def consumers_count(self) -> int:
        return 0 if self._shift is None else len(self._shift.consumers)

    @property
    def credits_count(self) -> int:
        """How many more tasks the consumers take that are here now."""
        return 0 if self._shift is None else sum(consumer.wants for consumer in self._shift.consumers)

    def oldest_leases(self, count_max: int) -> list[Held]:
        """What is leased now, as far as this leader knows, in the order in which it was leased."""
        return [] if self._shift is None else list(islice(self._shift.leases.values(), count_max))

    @property
    def leases_count(self) -> int:
        """Leases of the consumers that are here now."""
        return 0 if self._shift is None else len(self._shift.leases)

    def register(
        self,
        namespaces: Sequence[str],
        name: str,
        *,
        lease_ms: int = 0,
        credit: int = 0,
        on_ready: Callable[[], None],
        on_lost: Callable[[Held], None],
        on_closed: Callable[[Closing], None],
    ) -> Consumer:
        """A consumer of ``namespaces``; see `Consumer`. :raises NotLeading:"""
        shift = self._shift
        if shift is None:
            raise NotLeading
        consumer = Consumer(
            shift,
            namespaces,
            name,
            lease_ms=lease_ms,
            on_ready=on_ready,
            on_lost=on_lost,
            on_closed=on_closed,
        )
        shift.register(consumer)
        consumer.add_credit(credit)
        return consumer

    def applied(self, entries: Sequence[Entry]) -> None:
        """Entries were applied here. Never raises: the log's host takes that for a broken state."""
        try:
            if self._shift is not None:
                self._shift.applied(entries)
            else:
                self._start_when_leading()
        except Exception as error:
            self._failed(error)

    def role_changed(self) -> None:
        """Role, term or leader changed."""
        if self._shift is not None and not self._leads():
            self._end(Closing.MOVED)
        self._start_when_leading()

    async def hand_back(self) -> None:
        """Before leadership is handed over: lease nothing any more, and give back what was not sent.

        Streams go on until leadership ends: what is acknowledged meanwhile is done.
        """
        shift = self._shift
        if shift is None:
            return
        shift.give_back_unsent()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await shift.given_back()
        except TimeoutError:
            _log.warning("leases_not_given_back")

    async def close(self) -> None:
        """Before this peer stops: as `hand_back`, and end every stream."""
        self._closed = True
        await self.hand_back()
        self._end(Closing.STOPPING)
        if self._restart is not None:
            self._restart.cancel()

    def _start_when_leading(self) -> None:
        if self._shift is not None or self._closed or not self._leads():
            return
        store = self._store()
        if store is None:
            return
        self._shift = Shift(
            store,
            propose=self._propose,
            clock=self._clock,
            observer=self._observer,
            on_failure=self._failed,
            entries=self._entries,
            applied_index=self._applied_index,
        )
        self._shift.start()

    def _end(self, why: Closing) -> None:
        shift, self._shift = self._shift, None
        if shift is not None:
            shift.stop(why)
            _log.info("delivery_ended", why=why.name.lower())

    def _failed(self, error: Exception) -> None:
        """A defect in here must not bring the peer down: the state knows all that is needed to start anew."""
        _log.exception("delivery_failed", exc_info=error)
        self._end(Closing.MOVED)
        self._restart = asyncio.get_running_loop().call_later(_RESTART_S, self._start_when_leading)
