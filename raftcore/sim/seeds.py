"""Many seeds, one after the other or in several processes; a failing one can be shrunk."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from raftcore.sim.swarm import FAULT_NAMES
from raftcore.sim.trace import SimulationFailed
from raftcore.sim.world import World


@dataclass(slots=True, frozen=True)
class Result:
    seed: int
    is_clean: bool
    text: str
    """A summary, or what failed and how to replay it."""


@dataclass(slots=True, frozen=True)
class Job:
    """What to do with each seed. Called with one, it runs it."""

    duration_us: int
    without: tuple[str, ...] = ()
    echo: bool = False
    is_brief: bool = False
    """A failure is told without its trace."""
    shrinks: bool = False

    def __call__(self, seed: int) -> Result:
        world = World(seed, duration_us=self.duration_us, without=self.without, echo=self.echo)
        began_s = time.perf_counter()
        try:
            summary = world.run()
        except SimulationFailed as failure:
            text = "seed " + str(failure).rsplit("\nseed ", 1)[-1] if self.is_brief else str(failure)
            if self.shrinks:
                text += f"\nneeded: {shrink(seed, self.duration_us)}"
            return Result(seed, False, text)
        pace = summary.event_count / max(1e-9, time.perf_counter() - began_s)
        return Result(seed, True, f"{summary} {pace:.0f} events/s; {world.faults_text}")


@contextmanager
def running(job: Job, seeds: range, process_count: int) -> Iterator[Iterator[Result]]:
    """The results in the order of the seeds, as they come; leaving early stops the rest."""
    if min(process_count, len(seeds)) <= 1:
        yield map(job, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(process_count) as pool:
        yield pool.imap(job, seeds)


def shrink(seed: int, duration_us: int) -> str:
    """Switch off one fault after the other while the seed goes on failing."""
    without: list[str] = []
    for name in FAULT_NAMES:
        try:
            World(seed, duration_us=duration_us, without=(*without, name)).run()
        except SimulationFailed:
            without.append(name)
    return World(seed, duration_us=duration_us, without=tuple(without)).faults_text
