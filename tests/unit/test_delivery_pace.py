"""Work that many want to do at once is spread over turns of the loop, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from z4sql.delivery.pace import Pace

WORK_S = 0.001
SLICE_S = 0.003
WORKERS = 120


@pytest.mark.parametrize("seed", range(3))
async def test_no_turn_of_the_loop_holds_more_than_a_slice_of_work(seed: int) -> None:
    loop = asyncio.get_running_loop()
    chance = random.Random(seed)
    pace = Pace(SLICE_S)
    turn, done, by_turn = 0, 0, {}

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        if not over:
            loop.call_soon(next_turn)

    async def work() -> None:
        nonlocal done
        for _ in range(3):
            async with pace:
                until_s = time.perf_counter() + WORK_S
                while time.perf_counter() < until_s:
                    pass
                by_turn[turn] = by_turn.get(turn, 0) + 1
            await asyncio.sleep(0)
        done += 1

    over = False
    loop.call_soon(next_turn)
    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    canceled = chance.sample(workers, WORKERS // 3)
    for worker in canceled:
        await asyncio.sleep(0)
        worker.cancel()
    async with asyncio.timeout(60):
        await asyncio.gather(*workers, return_exceptions=True)
    over = True
    assert done >= WORKERS - len(canceled), f"somebody was forgotten, seed {seed}"
    # A slice, and the piece of work that overran it; the next turn may begin within our own.
    assert max(by_turn.values()) <= 2 * (round(SLICE_S / WORK_S) + 1), by_turn
