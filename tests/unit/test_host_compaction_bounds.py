"""What of a log a host may drop: never what its state does not hold durably, nor what a peer needs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from raftcore.core.progress import ProgressState
from raftcore.core.types import Index, NodeId, ShardId
from raftcore.host.compaction import LogSizes, Upkeep
from raftcore.host.host import Host
from raftcore.host.runner import ReplicaRunner

ELECTION_TIMEOUT_US = 100_000
NOW = 10**9
LAST = 200
indexes = st.integers(0, LAST)
peers = st.lists(
    st.tuples(indexes, st.sampled_from(ProgressState), st.integers(0, 20 * ELECTION_TIMEOUT_US)), max_size=4
)


@settings(deadline=None, max_examples=300)
@given(
    durable=indexes,
    entry_bytes=st.sampled_from([1, 1 << 20, 3 << 20]),
    trailing=st.tuples(indexes, st.integers(1, 1 << 30)),
    held_bytes_max=st.integers(0, 1 << 30),
    offered=st.lists(st.tuples(indexes, st.integers(0, 1 << 29)), max_size=2),
    peers=peers,
)
def test_a_log_is_cut_below_what_is_durable_and_what_present_peers_lack(
    durable: int,
    entry_bytes: int,
    trailing: tuple[int, int],
    held_bytes_max: int,
    offered: list[tuple[int, int]],
    peers: list[tuple[int, ProgressState, int]],
) -> None:
    sizes = LogSizes()
    for index in range(1, LAST + 1):
        sizes.note(Index(index), index * entry_bytes)
    trailing_entries, trailing_bytes = trailing
    config = SimpleNamespace(
        trailing_entries=trailing_entries, trailing_bytes=trailing_bytes, held_bytes_max=held_bytes_max
    )
    outgoing = SimpleNamespace(held=lambda shard: list(offered))
    host = SimpleNamespace(config=config, snapshots=SimpleNamespace(outgoing=outgoing))
    progress = {
        NodeId(2 + at): SimpleNamespace(match=match, state=state, contact=NOW - silent_us)
        for at, (match, state, silent_us) in enumerate(peers)
    }
    core = SimpleNamespace(
        config=SimpleNamespace(election_timeout_us=ELECTION_TIMEOUT_US), now=NOW, progress=lambda: progress
    )
    runner = SimpleNamespace(shard=ShardId(1), replica=SimpleNamespace(core=core))
    first = Upkeep(cast(Host, host))._first_needed(cast(ReplicaRunner, runner), Index(durable), sizes)

    assert 1 <= first <= durable + 1
    # A limit in bytes may cut into the trailing entries, and nothing else may.
    if trailing_bytes >= LAST * entry_bytes:
        assert first <= max(1, durable - trailing_entries + 1)
    present = [
        match
        for match, state, silent_us in peers
        if state is not ProgressState.SNAPSHOT and silent_us < 10 * ELECTION_TIMEOUT_US
    ]
    for match in present:
        if trailing_bytes + held_bytes_max >= (LAST - match) * entry_bytes:
            assert first <= match + 1, "a present peer is kept what it lacks"
    for index, worth_bytes in offered:
        if trailing_bytes + max(held_bytes_max, worth_bytes) >= (LAST - index) * entry_bytes:
            assert first <= index + 1, "who pulls a snapshot finds what follows it"
