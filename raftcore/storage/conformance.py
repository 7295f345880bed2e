"""What every `LogStore` must do, as checks that a test runs against each implementation.

A check is given ``reopen``: without a store it opens an empty one; with a store it closes that one and opens
it again with all that was synced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftcore.core.errors import StorageError, require
from raftcore.core.ready import WriteSet
from raftcore.core.types import (
    NO_NODE,
    Entry,
    EntryKind,
    HardState,
    Index,
    Member,
    Membership,
    NodeId,
    ShardId,
    SnapshotMeta,
    Term,
    Token,
)
from raftcore.storage.base import HostIdentity, LogStore

Reopen = Callable[[LogStore | None], LogStore]
Check = Callable[[Reopen], None]

SHARD = ShardId(1)
NODE = NodeId(1)
_TAIL = 1 << 20


def membership_of(*ids: int) -> Membership:
    """Voters ``ids``, named and addressed after their number."""
    return Membership(
        voters=frozenset(NodeId(id) for id in ids),
        members=tuple(Member(NodeId(id), f"peer{id}", f"127.0.0.1:{7000 + id}") for id in ids),
    )


def entries_of(lo: int, hi: int, term: int, size: int = 10) -> list[Entry]:
    """Entries ``[lo, hi)`` of one term; their data names term and index."""
    return [
        Entry(Term(term), Index(i), EntryKind.COMMANDS, b"%d/%d" % (term, i) + b"." * size)
        for i in range(lo, hi)
    ]


def write_of(
    entries: Sequence[Entry] = (),
    *,
    truncate_from: int = 0,
    hard_state: HardState | None = None,
    configs: Sequence[tuple[int, Membership]] = (),
) -> WriteSet:
    return WriteSet(
        token=Token(1),
        hard_state=hard_state,
        truncate_from=Index(truncate_from),
        entries=list(entries),
        configs=[(Index(index), membership) for index, membership in configs],
        must_sync=True,
    )


def a_fresh_store_knows_nothing(reopen: Reopen) -> None:
    store = reopen(None)
    _same(store.identity(), None)
    recovered = store.recover(SHARD, NODE, Index(0), _TAIL)
    _same(recovered.hard_state, HardState(Term(0), NO_NODE, Index(0)))
    _same((recovered.first_index, recovered.last_index, recovered.previous_term), (1, 0, 0))
    _same((recovered.term_runs, recovered.tail, recovered.configs), ([], [], []))
    store.close()


def identity_is_durable(reopen: Reopen) -> None:
    store = reopen(None)
    identity = HostIdentity("cluster", "peer1", ((SHARD, NODE), (ShardId(2), NodeId(7))))
    store.set_identity(identity)
    store = reopen(store)
    _same(store.identity(), identity)
    store.close()


def bootstrap_writes_the_first_configuration_once(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, membership_of(1))
    store = reopen(store)
    recovered = store.recover(SHARD, NODE, Index(0), _TAIL)
    _same((recovered.first_index, recovered.last_index), (1, 1))
    _same(recovered.term_runs, [(1, 1)])
    _same(recovered.hard_state.term, 1)
    _same(recovered.tail[0].kind, EntryKind.CONFIG)
    _same(recovered.configs, [(1, membership_of(1))])
    _refused(lambda: store.bootstrap(SHARD, NODE, membership_of(1)))
    _refused(lambda: store.bootstrap(SHARD, NODE, None))
    store.close()


def bootstrap_without_membership_leaves_an_empty_log(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, None)
    recovered = store.recover(SHARD, NODE, Index(0), _TAIL)
    _same((recovered.first_index, recovered.last_index, recovered.configs), (1, 0, []))
    store.close()


def what_was_synced_is_recovered(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, None)
    state = HardState(Term(3), NodeId(2), Index(4))
    written = entries_of(1, 4, 1) + entries_of(4, 9, 3)
    store.write([(SHARD, NODE, write_of(written, hard_state=state, configs=[(2, membership_of(1, 2))]))])
    store.sync()
    store = reopen(store)
    recovered = store.recover(SHARD, NODE, Index(2), _TAIL)
    _same(recovered.hard_state, state)
    _same(recovered.term_runs, [(1, 1), (4, 3)])
    _same(recovered.tail, written)
    _same(recovered.configs, [(2, membership_of(1, 2))])
    _same((recovered.last_index, recovered.applied), (8, 2))
    store.close()


def truncation_drops_entries_and_their_configurations(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, membership_of(1))
    store.write([(SHARD, NODE, write_of(entries_of(2, 10, 1), configs=[(5, membership_of(1, 5))]))])
    store.write([(SHARD, NODE, write_of(entries_of(4, 6, 2), truncate_from=4))])
    store.sync()
    store = reopen(store)
    recovered = store.recover(SHARD, NODE, Index(0), _TAIL)
    _same(recovered.last_index, 5)
    _same(recovered.term_runs, [(1, 1), (4, 2)])
    _same(recovered.configs, [(1, membership_of(1))])
    _same(recovered.tail[1:], entries_of(2, 4, 1) + entries_of(4, 6, 2))
    store.close()


def several_writes_of_one_replica_are_made_in_order(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, None)
    store.write(
        [
            (SHARD, NODE, write_of(entries_of(1, 6, 1))),
            (SHARD, NODE, write_of(entries_of(4, 9, 2), truncate_from=4)),
            (SHARD, NODE, write_of(entries_of(9, 10, 2), hard_state=HardState(Term(2), NODE, Index(3)))),
        ]
    )
    store.sync()
    store = reopen(store)
    recovered = store.recover(SHARD, NODE, Index(0), _TAIL)
    _same(recovered.tail, entries_of(1, 4, 1) + entries_of(4, 10, 2))
    _same(recovered.hard_state.term, 2)
    store.close()


def entries_are_read_within_bounds(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, None)
    store.write([(SHARD, NODE, write_of(entries_of(1, 11, 1, size=1000)))])
    _same(store.entries(SHARD, NODE, Index(3), Index(6), 1 << 20), entries_of(3, 6, 1, size=1000))
    _same(store.entries(SHARD, NODE, Index(3), Index(6), 1), entries_of(3, 4, 1, size=1000))
    _same(store.entries(SHARD, NODE, Index(9), Index(99), 1 << 20), entries_of(9, 11, 1, size=1000))
    _same(store.entries(SHARD, NODE, Index(11), Index(99), 1 << 20), [])
    store.close()


def compaction_keeps_the_term_and_configuration_before_the_log(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, membership_of(1))
    configs = [(3, membership_of(1, 3)), (5, membership_of(1, 3, 5)), (8, membership_of(1, 8))]
    store.write(
        [(SHARD, NODE, write_of(entries_of(2, 7, 2) + entries_of(7, 10, 3), configs=configs))],
    )
    store.compact(SHARD, NODE, Index(7))
    store.compact(SHARD, NODE, Index(4))
    store.sync()
    store = reopen(store)
    recovered = store.recover(SHARD, NODE, Index(6), _TAIL)
    _same((recovered.first_index, recovered.last_index, recovered.previous_term), (7, 9, 2))
    _same(recovered.term_runs, [(7, 3)])
    _same(recovered.configs, configs[1:])
    _same(store.entries(SHARD, NODE, Index(6), Index(8), _TAIL), None)
    _same(store.entries(SHARD, NODE, Index(7), Index(8), _TAIL), entries_of(7, 8, 3))
    store.close()


def a_log_may_be_compacted_away_whole(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, None)
    store.write([(SHARD, NODE, write_of(entries_of(1, 6, 4)))])
    store.compact(SHARD, NODE, Index(6))
    store.sync()
    store = reopen(store)
    recovered = store.recover(SHARD, NODE, Index(5), _TAIL)
    _same((recovered.first_index, recovered.last_index, recovered.previous_term), (6, 5, 4))
    store.write([(SHARD, NODE, write_of(entries_of(6, 7, 4)))])
    _same(store.entries(SHARD, NODE, Index(6), Index(7), _TAIL), entries_of(6, 7, 4))
    store.close()


def the_tail_is_bounded_and_holds_the_newest(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, None)
    written = entries_of(1, 101, 1, size=1000)
    store.write([(SHARD, NODE, write_of(written))])
    recovered = store.recover(SHARD, NODE, Index(0), 10_000)
    _same(1 <= len(recovered.tail) <= 10, True)
    _same(recovered.tail, written[-len(recovered.tail) :])
    _same((recovered.last_index, recovered.term_runs), (100, [(1, 1)]))
    store.close()


def shards_and_replicas_do_not_meet(reopen: Reopen) -> None:
    store = reopen(None)
    places = [(ShardId(1), NodeId(1)), (ShardId(1), NodeId(256)), (ShardId(2), NodeId(1))]
    for shard, node in places:
        store.bootstrap(shard, node, None)
    states = [HardState(Term(9 + at), node, Index(0)) for at, (_, node) in enumerate(places)]
    store.write(
        [
            (shard, node, write_of(entries_of(1, 3 + at, 1), hard_state=states[at]))
            for at, (shard, node) in enumerate(places)
        ]
    )
    store.compact(*places[0], Index(2))
    store.sync()
    store = reopen(store)
    for at, (shard, node) in enumerate(places):
        recovered = store.recover(shard, node, Index(1), _TAIL)
        _same((recovered.first_index, recovered.last_index), (2 if at == 0 else 1, 2 + at))
        _same(recovered.hard_state, states[at])
    store.close()


def a_snapshot_replaces_a_log_that_does_not_reach_it(reopen: Reopen) -> None:
    store = reopen(None)
    for number, written in enumerate((entries_of(1, 6, 1), entries_of(1, 30, 1), []), 1):
        node = NodeId(number)
        store.bootstrap(SHARD, node, None)
        state = HardState(Term(3), NodeId(2), Index(4))
        store.write([(SHARD, node, write_of(written, hard_state=state, configs=[(2, membership_of(1))]))])
        meta = SnapshotMeta(Index(20), Term(2), membership_of(1, 4), Index(4), "a")
        _same(store.install(SHARD, node, meta), False)
        store.write([(SHARD, node, write_of(entries_of(21, 23, 3)))])
        store.sync()
        store = reopen(store)
        recovered = store.recover(SHARD, node, Index(20), _TAIL)
        _same((recovered.first_index, recovered.last_index, recovered.previous_term), (21, 22, 2))
        _same(recovered.tail, entries_of(21, 23, 3))
        _same(recovered.configs, [(4, membership_of(1, 4))])
        _same(recovered.hard_state, HardState(Term(3), NodeId(2), Index(20)))
        _same(store.entries(SHARD, node, Index(20), Index(22), _TAIL), None)
    store.close()


def a_snapshot_that_the_log_holds_leaves_what_follows(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, None)
    state = HardState(Term(2), NodeId(2), Index(4))
    configs = [(3, membership_of(1, 3)), (9, membership_of(1, 9))]
    store.write([(SHARD, NODE, write_of(entries_of(1, 12, 2), hard_state=state, configs=configs))])
    meta = SnapshotMeta(Index(6), Term(2), membership_of(1, 3), Index(3), "a")
    _same(store.install(SHARD, NODE, meta), True)
    store.sync()
    store = reopen(store)
    recovered = store.recover(SHARD, NODE, Index(6), _TAIL)
    _same((recovered.first_index, recovered.last_index, recovered.previous_term), (7, 11, 2))
    _same(recovered.tail, entries_of(7, 12, 2))
    _same(recovered.configs, configs)
    _same(recovered.hard_state, HardState(Term(2), NodeId(2), Index(6)))
    store.close()


def an_installation_is_pending_until_it_ends(reopen: Reopen) -> None:
    store = reopen(None)
    store.bootstrap(SHARD, NODE, None)
    _same(store.pending_install(SHARD, NODE), None)
    meta = SnapshotMeta(Index(6), Term(2), membership_of(1, 3), Index(3), "1-6-é")
    store.begin_install(SHARD, NODE, meta)
    store.sync()
    store = reopen(store)
    _same(store.pending_install(SHARD, NODE), meta)
    _same(store.pending_install(SHARD, NodeId(2)), None)
    store.cancel_install(SHARD, NODE)
    store.sync()
    store = reopen(store)
    _same(store.pending_install(SHARD, NODE), None)
    store.begin_install(SHARD, NODE, meta)
    store.install(SHARD, NODE, meta)
    store.sync()
    store = reopen(store)
    _same(store.pending_install(SHARD, NODE), None)
    store.close()


CHECKS: tuple[Check, ...] = (
    a_fresh_store_knows_nothing,
    identity_is_durable,
    bootstrap_writes_the_first_configuration_once,
    bootstrap_without_membership_leaves_an_empty_log,
    what_was_synced_is_recovered,
    truncation_drops_entries_and_their_configurations,
    several_writes_of_one_replica_are_made_in_order,
    entries_are_read_within_bounds,
    compaction_keeps_the_term_and_configuration_before_the_log,
    a_log_may_be_compacted_away_whole,
    the_tail_is_bounded_and_holds_the_newest,
    shards_and_replicas_do_not_meet,
    a_snapshot_replaces_a_log_that_does_not_reach_it,
    a_snapshot_that_the_log_holds_leaves_what_follows,
    an_installation_is_pending_until_it_ends,
)


def _same(actual: object, wanted: object) -> None:
    require(actual == wanted, "the store differs", actual=actual, wanted=wanted)


def _refused(call: Callable[[], None]) -> None:
    try:
        call()
    except StorageError:
        return
    require(False, "the store should have refused")
