"""What a crash leaves of a log in memory: a prefix of the batches that holds everything synced."""

from __future__ import annotations

import pytest

from raftcore.core.errors import Corrupt, InvariantViolation
from raftcore.core.types import HardState, Index, NodeId, SnapshotMeta, Term
from raftcore.storage.conformance import NODE, SHARD, entries_of, membership_of, write_of
from raftcore.storage.memory import MemoryLogStore


def store_with_batches(count: int) -> MemoryLogStore:
    """Batch n writes entry n + 1 behind the bootstrap's."""
    store = MemoryLogStore()
    store.bootstrap(SHARD, NODE, membership_of(1))
    for n in range(count):
        store.write([(SHARD, NODE, write_of(entries_of(n + 2, n + 3, 1)))])
    return store


@pytest.mark.parametrize("kept", range(6))
def test_a_crash_leaves_the_batches_that_were_kept(kept: int) -> None:
    store = store_with_batches(5)
    store.crash(kept)
    assert store.recover(SHARD, NODE, Index(0), 1 << 20).last_index == 1 + kept
    store.write([(SHARD, NODE, write_of(entries_of(2 + kept, 3 + kept, 2)))])
    store.sync()
    store.crash(store.written_count)
    assert store.image(SHARD, NODE).term_at(2 + kept) == 2


def test_synced_batches_survive_any_crash() -> None:
    store = store_with_batches(5)
    store.sync_to(3)
    store.crash(0)
    assert store.image(SHARD, NODE).last_index == 4


def test_a_sync_covers_what_was_written_when_it_began() -> None:
    store = store_with_batches(2)
    began = store.written_count
    store.write([(SHARD, NODE, write_of(entries_of(4, 5, 1)))])
    store.sync_to(began)
    assert store.durable_image(SHARD, NODE).last_index == 3
    assert store.image(SHARD, NODE).last_index == 4


def test_a_truncation_that_was_not_synced_is_undone_by_a_crash() -> None:
    store = store_with_batches(3)
    store.sync()
    store.write([(SHARD, NODE, write_of(entries_of(2, 3, 2), truncate_from=2))])
    assert store.image(SHARD, NODE).last_index == 2
    store.crash(store.synced_count)
    assert store.image(SHARD, NODE).last_index == 4


def test_an_installed_snapshot_replaces_the_log_and_is_durable() -> None:
    store = store_with_batches(3)
    store.write([(SHARD, NODE, write_of(hard_state=HardState(Term(5), NodeId(2), Index(2))))])
    meta = SnapshotMeta(Index(40), Term(5), membership_of(1, 2, 3), Index(30))
    store.install(SHARD, NODE, meta)
    store.crash(store.synced_count)
    recovered = store.recover(SHARD, NODE, Index(40), 1 << 20)
    assert (recovered.first_index, recovered.last_index, recovered.previous_term) == (41, 40, 5)
    assert recovered.configs == [(30, membership_of(1, 2, 3))]
    assert recovered.hard_state == HardState(Term(5), NodeId(2), Index(40))


def test_a_snapshot_that_the_log_has_keeps_what_follows() -> None:
    store = store_with_batches(5)
    store.install(SHARD, NODE, SnapshotMeta(Index(3), Term(1), membership_of(1), Index(1)))
    image = store.image(SHARD, NODE)
    assert (image.first_index, image.last_index) == (4, 6)
    assert image.membership_at(5) == (1, membership_of(1))


def test_a_state_outside_of_the_log_is_corrupt() -> None:
    store = store_with_batches(3)
    with pytest.raises(Corrupt):
        store.recover(SHARD, NODE, Index(9), 1 << 20)
    store.compact(SHARD, NODE, Index(4))
    with pytest.raises(Corrupt):
        store.recover(SHARD, NODE, Index(1), 1 << 20)


def test_compacted_entries_are_never_truncated() -> None:
    store = store_with_batches(5)
    store.compact(SHARD, NODE, Index(4))
    with pytest.raises(InvariantViolation):
        store.write([(SHARD, NODE, write_of(entries_of(3, 4, 2), truncate_from=3))])
