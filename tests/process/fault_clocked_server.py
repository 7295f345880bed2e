"""``z4 server`` whose wall clock is the machine's plus what a file says; monotonic clocks stay right.

Only `time.time_ns` is changed, which stamps are made of: gRPC subtracts `time.time` from deadlines that it
made in C, where the clock would have to jump as well.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from mmap import ACCESS_READ, mmap
from pathlib import Path

OFFSET_FILE = "CLOCK_OFFSET_FILE"
OFFSET = struct.Struct("<q")
"""Nanoseconds."""


def change_clock(path: Path) -> None:
    """Add the file's offset to every later reading of the wall clock."""
    true_ns = time.time_ns
    with path.open("rb") as file:
        offset = mmap(file.fileno(), OFFSET.size, access=ACCESS_READ)

    def changed_ns() -> int:
        return true_ns() + int(OFFSET.unpack(offset)[0])

    time.time_ns = changed_ns


if __name__ == "__main__":
    change_clock(Path(os.environ[OFFSET_FILE]))
    from z4sql.cli.z4 import main

    sys.exit(main(["server"]))
