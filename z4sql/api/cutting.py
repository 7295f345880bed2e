"""How many tasks go together: groups are bounded in number and in bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

GROUP_BYTES: Final = 4 << 20
"""A group ends with the task that reaches it: the log takes commands of up to 8 MiB, a peer calls of 16."""


def cut(sizes: Sequence[int], tasks_max: int) -> Iterator[tuple[int, int]]:
    """Ranges ``[lo, hi)`` of tasks with these encoded sizes, of at most ``tasks_max`` and `GROUP_BYTES`."""
    lo = size = 0
    for at, of_task in enumerate(sizes):
        if at - lo >= tasks_max or size >= GROUP_BYTES:
            yield lo, at
            lo, size = at, 0
        size += of_task
    if lo < len(sizes):
        yield lo, len(sizes)
