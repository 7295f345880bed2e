"""Closed-loop load: a number of callers, each with one call on its way, for a number of seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What a run reached. ``latencies_s`` are of whole calls."""

    name: str
    units: int = 0
    took_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.units / self.took_s

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

    def __str__(self) -> str:
        return (
            f"{self.name:<52} {self.per_second:>9,.0f}/s   p50 {self.percentile_ms(0.5):7.1f} ms"
            f"   p99 {self.percentile_ms(0.99):7.1f} ms   n={self.units}"
        )


async def closed_loop(
    name: str, call: Callable[[int], Awaitable[int]], *, callers: int, seconds: float, warm_up_s: float = 1.0
) -> Figures:
    """Run ``call`` (which answers how many units it did) from ``callers`` at once."""
    figures = Figures(name)
    started = time.perf_counter()
    measure_from, end = started + warm_up_s, started + warm_up_s + seconds

    async def caller(number: int) -> None:
        while (before := time.perf_counter()) < end:
            units = await call(number)
            after = time.perf_counter()
            if before >= measure_from and after <= end:
                figures.units += units
                figures.latencies_s.append(after - before)

    await asyncio.gather(*(caller(number) for number in range(callers)))
    figures.took_s = seconds
    return figures
