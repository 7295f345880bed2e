"""``python -m raftcore.sim``: run many seeds, or replay one with its trace."""

from __future__ import annotations

import argparse
import sys
import time

from raftcore.sim.swarm import FAULT_NAMES
from raftcore.sim.trace import SimulationFailed
from raftcore.sim.world import DURATION_US, World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m raftcore.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this seed alone")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument(
        "--duration-ms", type=int, default=DURATION_US // 1000, help="virtual time of troubles"
    )
    parser.add_argument("--without", action="append", default=[], choices=FAULT_NAMES, help="a fault to omit")
    parser.add_argument("--shrink", action="store_true", help="find the faults that a failing seed needs")
    parser.add_argument("--keep-going", action="store_true", help="report every failing seed")
    options = parser.parse_args()
    if options.seed is not None:
        options.first, options.seeds = options.seed, 1
    seeds = range(options.first, options.first + options.seeds)
    failed = [seed for seed in seeds if not _passes(seed, options)]
    return 1 if failed else 0


def _passes(seed: int, options: argparse.Namespace) -> bool:
    world = World(
        seed, duration_us=options.duration_ms * 1000, without=tuple(options.without), echo=options.trace
    )
    began = time.perf_counter()
    try:
        summary = world.run()
    except SimulationFailed as failure:
        print(str(failure).rsplit("\nseed ", 1)[-1] if options.keep_going else failure)
        if options.shrink:
            print(f"needed: {shrink(seed, options.duration_ms * 1000)}")
        if not options.keep_going:
            sys.exit(1)
        return False
    pace = summary.event_count / max(1e-9, time.perf_counter() - began)
    print(f"{summary} {pace:.0f} events/s; {world.faults_text}")
    return True


def shrink(seed: int, duration_us: int) -> str:
    """Switch off one fault after the other while the seed goes on failing."""
    without: list[str] = []
    for name in FAULT_NAMES:
        try:
            World(seed, duration_us=duration_us, without=(*without, name)).run()
        except SimulationFailed:
            without.append(name)
    return World(seed, duration_us=duration_us, without=tuple(without)).faults_text


if __name__ == "__main__":
    sys.exit(main())
