"""Telling the cluster where a peer's listeners are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from z4sql.tasks.model import MemberAddresses

_log = structlog.get_logger()

PAUSE_S = 0.1
_LOOK_S = 1.0
"""How often a peer that is registered looks whether it still is."""


class Registration:
    """Writes a peer's addresses to the replicated state whenever they do not stand there."""

    def __init__(
        self,
        own: MemberAddresses,
        known: Callable[[], MemberAddresses | None],
        register: Callable[[MemberAddresses], Awaitable[object]],
    ) -> None:
        """``known`` reads what stands in this peer's state, ``register`` asks the leader to write it."""
        self._own = own
        self._known = known
        self._register = register

    async def run(self) -> None:
        """Go on until cancelled.

        Both may fail at any time, in whatever way: there may be no leader, and a snapshot may just now take
        the place of the state. Others find this peer by its registration, so that nothing ends the attempts.
        """
        while True:
            pause_s = PAUSE_S
            try:
                if self._known() == self._own:
                    pause_s = _LOOK_S
                else:
                    await self._register(self._own)
            except Exception as error:
                _log.debug("registration_failed", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(pause_s)
