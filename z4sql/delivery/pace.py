"""A slice of every turn of the loop for work that many may want to do at once.

Five hundred consumers that wake in one turn would keep heartbeats waiting for all of their work together.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

SLICE_S: Final = 0.004


class Pace:
    """``async with pace:`` around a piece of work without an await in it."""

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._slice_s = slice_s
        self._left_s = slice_s
        self._begun_s = 0.0
        self._renewing = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._left_s <= 0 or self._waiting:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self._renew()
            try:
                await turn
            except asyncio.CancelledError:
                self._wake_next()
                raise
        self._begun_s = time.perf_counter()

    async def __aexit__(self, *_: object) -> None:
        self._left_s -= time.perf_counter() - self._begun_s
        self._renew()
        if self._left_s > 0:
            self._wake_next()

    def _renew(self) -> None:
        if not self._renewing:
            self._renewing = True
            asyncio.get_running_loop().call_soon(self._renewed)

    def _renewed(self) -> None:
        """The next turn of the loop has come."""
        self._renewing = False
        self._left_s = self._slice_s
        self._wake_next()

    def _wake_next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
