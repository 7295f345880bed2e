"""Who may run a query now: so many at once, and no user takes all turns from the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from z4sql.sql.errors import SqlError, TimedOut


@dataclass(slots=True)
class _User:
    """``present``: queries that run or wait; ``turns``: those that a user may have at once."""

    turns: asyncio.Semaphore
    present: int = 0
    waiting: int = 0


class Turns:
    """``running_max`` queries run at once, ``waiting_max`` more wait. Lives on one event loop.

    A quarter of both is out of the reach of any one user: results that nobody reads keep their turn.
    """

    def __init__(self, running_max: int, waiting_max: int) -> None:
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._turns = asyncio.Semaphore(running_max)
        self._waiting = 0
        self._users: dict[str, _User] = {}

    async def take(self, user: str, remaining_s: float | None) -> None:
        """Wait for a turn, which is to be given back by `release`.

        :raises SqlError: too many wait (1040); :raises TimedOut: none came in time
        """
        share = self._users.setdefault(user, _User(asyncio.Semaphore(_share(self._running_max))))
        share.present += 1
        try:
            await self._acquire(share.turns, share, remaining_s)
            try:
                await self._acquire(self._turns, share, remaining_s)
            except BaseException:
                share.turns.release()
                raise
        except BaseException:
            self._leave(user, share)
            raise

    def release(self, user: str) -> None:
        """Give a turn back."""
        share = self._users[user]
        self._turns.release()
        share.turns.release()
        self._leave(user, share)

    def _leave(self, user: str, share: _User) -> None:
        share.present -= 1
        if not share.present:
            del self._users[user]

    async def _acquire(self, turns: asyncio.Semaphore, share: _User, remaining_s: float | None) -> None:
        if not turns.locked():
            await turns.acquire()
            return
        if self._waiting >= self._waiting_max or share.waiting >= _share(self._waiting_max):
            message = f"Too many queries: {self._waiting} wait; try again"
            raise SqlError(message, code=1040, state="08004")
        self._waiting += 1
        share.waiting += 1
        try:
            await asyncio.wait_for(turns.acquire(), remaining_s)
        except TimeoutError:
            raise TimedOut from None
        finally:
            self._waiting -= 1
            share.waiting -= 1


def _share(of: int) -> int:
    return of - of // 4
