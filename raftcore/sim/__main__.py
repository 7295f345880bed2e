"""``python -m raftcore.sim``: run many seeds, or replay one with its trace."""

from __future__ import annotations

import argparse
import os
import sys

from raftcore.sim.seeds import Job, running
from raftcore.sim.swarm import FAULT_NAMES
from raftcore.sim.world import DURATION_US

_QUIET_EVERY = 100


def main() -> int:
    options = _options()
    clean_count, failed = 0, []
    following = options.first
    try:
        seeds = range(options.first, options.first + options.seeds)
        job = Job(
            duration_us=options.duration_ms * 1000,
            without=tuple(options.without),
            echo=options.trace,
            is_brief=options.keep_going,
            shrinks=options.shrink,
        )
        with running(job, seeds, 1 if options.trace else options.jobs) as results:
            for result in results:
                following = result.seed + 1
                clean_count += result.is_clean
                if not options.quiet or not result.is_clean:
                    print(result.text, flush=True)
                elif result.seed % _QUIET_EVERY == 0:
                    print(f"seed {result.seed}: {clean_count} clean", flush=True)
                if not result.is_clean:
                    failed.append(result.seed)
                    if not options.keep_going:
                        break
    except KeyboardInterrupt:
        pass
    if options.seeds > 1:
        print(f"{clean_count} seeds ran clean, failed: {failed or 'none'}; go on with --first {following}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m raftcore.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run")
    parser.add_argument("--first", "--from", type=int, default=1, help="the first seed: where to go on")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes run seeds")
    parser.add_argument("--seed", type=int, help="run this seed alone")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--quiet", action="store_true", help="print failures and a line now and then")
    parser.add_argument(
        "--duration-ms", type=int, default=DURATION_US // 1000, help="virtual time of troubles"
    )
    parser.add_argument("--without", action="append", default=[], choices=FAULT_NAMES, help="a fault to omit")
    parser.add_argument("--shrink", action="store_true", help="find the faults that a failing seed needs")
    parser.add_argument("--keep-going", action="store_true", help="report every failing seed")
    options = parser.parse_args()
    if options.seed is not None:
        options.first, options.seeds = options.seed, 1
    return options


if __name__ == "__main__":
    sys.exit(main())
