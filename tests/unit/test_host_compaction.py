"""How much of the log lies above an index, as far as a host knows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from raftcore.core.types import Index
from raftcore.host.compaction import LogSizes

MEGABYTE = 1 << 20


@settings(deadline=None)
@given(st.lists(st.integers(0, 3 * MEGABYTE), min_size=1, max_size=60), st.integers(0, 80 * MEGABYTE))
def test_sizes_are_right_to_a_megabyte_and_an_entry(sizes: list[int], wanted_bytes: int) -> None:
    known = LogSizes()
    total_bytes = 0
    for index, size in enumerate(sizes, 1):
        total_bytes += size
        known.note(Index(index), total_bytes)
    for index in range(len(sizes)):
        exact = sum(sizes[index:])
        assert exact - 4 * MEGABYTE - sizes[0] <= known.above(Index(index)) <= exact
    reached = known.reaching(wanted_bytes)
    assert sum(sizes[reached:]) >= known.above(reached)
    if reached < len(sizes) - 1:
        assert sum(sizes[reached:]) <= wanted_bytes + 8 * MEGABYTE
    if reached:
        assert sum(sizes[reached:]) > wanted_bytes
    known.forget(reached)
    assert known.reaching(wanted_bytes) in (reached, 0)
