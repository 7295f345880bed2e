"""Leases that last as long as somebody works on their task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from z4sql.client.consumer import Delivery, Outcome

EXTEND_AT: Final = 1 / 3
"""After this part of a lease it is extended: two more tries fit into what is left."""
_TIMER_S_MAX: Final = 86_400.0
_TRY_AGAIN_S: Final = 0.05

_log = logging.getLogger("z4.worker")


class Keeping:
    """Extends the lease of ``delivery`` until it is stopped.

    ``on_lost`` is called when the cluster says that the lease had ended: the task is, or will be, another's.
    """

    def __init__(self, delivery: Delivery, on_lost: Callable[[], object]) -> None:
        self.lost = False
        self._delivery = delivery
        self._on_lost = on_lost
        self._stopped = False
        self._extending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer(delivery.lease_s * EXTEND_AT)

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, delay_s: float) -> None:
        if not self._stopped:
            self._timer = asyncio.get_running_loop().call_later(min(delay_s, _TIMER_S_MAX), self._extend)

    def _extend(self) -> None:
        self._extending = asyncio.create_task(self._extend_now())

    async def _extend_now(self) -> None:
        if self._stopped or self._delivery.ended:
            return
        match await self._delivery.extend():
            case Outcome.DONE:
                self._set_timer(self._delivery.lease_s * EXTEND_AT)
            case Outcome.UNKNOWN:
                self._set_timer(_TRY_AGAIN_S)
            case Outcome.STALE:
                self._lose()

    def _lose(self) -> None:
        if not self._stopped:
            self.lost = True
            _log.warning("lease_lost task=%s", self._delivery.task.id)
            self._on_lost()
