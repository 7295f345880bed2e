"""Turns of queries: so many at once, none of them lost, and no user takes them all."""

from __future__ import annotations

import asyncio

import pytest

from z4sql.sql.errors import SqlError, TimedOut
from z4sql.sql.turns import Turns


async def test_no_user_takes_all_turns_from_the_others() -> None:
    turns = Turns(running_max=8, waiting_max=8)
    for _ in range(6):
        await turns.take("ann", 1)
    with pytest.raises(TimedOut):
        await turns.take("ann", 0.01)
    await turns.take("bob", 0.01)
    await turns.take("eve", 0.01)
    with pytest.raises(TimedOut):
        await turns.take("bob", 0.01)
    turns.release("ann")
    await turns.take("bob", 0.01)


async def test_no_user_takes_all_places_of_those_who_wait() -> None:
    turns = Turns(running_max=1, waiting_max=4)
    await turns.take("ann", None)
    waiting = [asyncio.create_task(turns.take("ann", None)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(SqlError) as refused:
        await turns.take("ann", None)
    assert refused.value.code == 1040
    bob = asyncio.create_task(turns.take("bob", None))
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    turns.release("ann")
    async with asyncio.timeout(5):
        await bob


async def test_turns_that_were_waited_for_in_vain_are_not_lost() -> None:
    turns = Turns(running_max=4, waiting_max=100)
    for user in ("ann", "bob"):
        for _ in range(2):
            await turns.take(user, None)
    tries = [asyncio.create_task(turns.take(user, 0.01)) for user in ("ann", "bob", "eve") * 10]
    await asyncio.sleep(0)
    for one in tries[::2]:
        one.cancel()
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(one) for one in outcomes} == {TimedOut, asyncio.CancelledError}
    for user in ("ann", "bob") * 2:
        turns.release(user)
    for user in ("ann", "ann", "ann", "eve"):
        await turns.take(user, 0.01)
