"""Log replication and commitment, thesis §3.5, §3.6 and §10.2.1."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from raftcore.core.config import CoreConfig
from raftcore.core.errors import (
    Busy,
    Corrupt,
    InvariantViolation,
    LogLost,
    NotLeader,
    PayloadTooLarge,
    TransferInProgress,
)
from raftcore.core.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVoteReply,
    Snapshot,
    TimeoutNow,
    VoteReply,
)
from raftcore.core.progress import ProgressState
from raftcore.core.raft import RaftCore
from raftcore.core.ready import LoadEntries, Ready, SnapshotWanted
from raftcore.core.types import EntryKind, Index, Instant, Range, Role, SnapshotMeta
from tests.unit.core_cluster import (
    CONFIG,
    Cluster,
    config_entry,
    core_of,
    drain,
    entries_of,
    membership_of,
    recovered_of,
    voter_of,
)


def lead(core: RaftCore, *voters: int) -> RaftCore:
    """Win an election; the first entry is durable here and everything has left."""
    core.observe(Instant(core.deadline()))
    core.expire()
    for voter in voters:
        core.step(PreVoteReply(1, voter, core.node, core.term + 1, True))
    drain(core)
    for voter in voters:
        core.step(VoteReply(1, voter, core.node, core.term, True))
    assert core.role is Role.LEADER
    drain(core)
    return core


def ack(core: RaftCore, src: int, match: int, *, term: int | None = None, position: int = 0) -> None:
    term = core.term if term is None else term
    core.step(AppendReply(1, src, core.node, term, False, match, 0, 0, 0, position))


def reject(core: RaftCore, src: int, rejected: int, hint: int, hint_term: int) -> None:
    core.step(AppendReply(1, src, core.node, core.term, True, 0, rejected, hint, hint_term, 0))


def appends(messages: list[Message], dst: int) -> list[Append]:
    return [m for m in messages if isinstance(m, Append) and m.dst == dst]


def append(
    core: RaftCore,
    *,
    prev: int,
    prev_term: int,
    terms: tuple[int, ...] = (),
    commit: int = 0,
    term: int | None = None,
) -> Ready:
    """An Append from replica 1, and what the follower makes of it."""
    core.step(
        Append(1, 1, core.node, term or core.term, prev, prev_term, commit, 0, entries_of(prev + 1, *terms))
    )
    return drain(core)


def terms_of(core: RaftCore) -> list[int | None]:
    return [core.log.term(Index(index)) for index in range(1, core.last_index + 1)]


# Leader


def test_a_new_leader_appends_an_empty_entry_and_commits_what_earlier_terms_left() -> None:
    core = lead(voter_of(1, 1, 2, 3, terms=(1, 1, 1)), 2)
    assert core.log.slice(Index(4), Index(5))[0].kind is EntryKind.NOOP  # type: ignore[index]
    assert core.commit == 0
    ack(core, 2, 4)
    assert core.commit == 4


def test_figure_3_7_entries_of_older_terms_are_not_committed_by_counting() -> None:
    core = lead(voter_of(1, 1, 2, 3, 4, 5, terms=(1, 2, 2)), 2, 3)
    assert core.term == 3
    ack(core, 2, 3)
    ack(core, 3, 3)
    assert core.commit == 0
    ack(core, 2, 4)
    ack(core, 3, 4)
    assert core.commit == 4


def test_figure_3_7_in_a_cluster() -> None:
    """S1 replicates entry 2 of term 2 to S2 and fails; S5 overwrites it; nothing committed is lost."""
    cluster = Cluster(1, 2, 3, 4, 5)
    cluster.elect(1)
    for id in (3, 4, 5):
        cluster.cuts |= {(1, id), (id, 1)}
    cluster.nodes[1].core.propose(b"old")
    cluster.settle()
    cluster.cuts.clear()
    cluster.isolate(1)
    cluster.isolate(2)
    cluster.elect(5)
    cluster.propose(b"new")
    cluster.heal()
    cluster.advance(3000)
    assert all(cluster.data(id) == [b"new"] for id in cluster.nodes)


def test_a_leaders_appends_leave_beside_its_own_write() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    ack(core, 2, 2)
    ack(core, 3, 2)
    drain(core)
    core.propose(b"a")
    core.propose(b"b")
    ready = core.ready()
    assert ready is not None and ready.write is not None
    assert [e.data for e in ready.write.entries] == [b"a", b"b"] and ready.write.must_sync
    assert [(m.dst, len(m.entries)) for m in ready.messages if isinstance(m, Append)] == [(2, 2), (3, 2)]
    assert not ready.messages_after_persist


def test_the_leaders_own_disk_is_one_vote_among_others() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    ack(core, 2, 2)
    drain(core)
    core.propose(b"a")
    ready = core.ready()
    assert ready is not None and ready.write is not None
    ack(core, 2, 3)
    assert core.commit == 2
    ack(core, 3, 3)
    assert core.commit == 3
    after = core.ready()
    assert after is not None and after.committed is None, "it is not durable here"
    core.persisted(ready.write.token)
    assert core.durable == 3
    applied = core.ready()
    assert applied is not None and applied.committed == Range(Index(3), Index(4))


def test_a_single_voter_commits_only_what_is_durable() -> None:
    core = lead(voter_of(1, 1))
    core.propose(b"a")
    ready = core.ready()
    assert core.commit == 2 and ready is not None and ready.write is not None
    core.persisted(ready.write.token)
    assert core.commit == 3


def test_the_commit_index_reaches_peers_once_without_waiting_for_a_heartbeat() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    for peer in (2, 3):
        ack(core, peer, 2)
    drain(core)
    core.propose(b"a")
    drain(core)
    ack(core, 2, 3)
    messages = drain(core).messages
    assert [(m.dst, m.commit, m.entries) for m in messages if isinstance(m, Append)] == [
        (2, 3, []),
        (3, 3, []),
    ]
    ack(core, 3, 3)
    assert not drain(core).messages


def test_commit_in_a_heartbeat_never_exceeds_what_the_peer_has() -> None:
    core = lead(voter_of(1, 1, 2, 3, terms=(1, 1, 1)), 2)
    ack(core, 2, 4)
    drain(core)
    core.observe(Instant(core.deadline()))
    core.expire()
    beats = {m.dst: m.commit for m in drain(core).messages if isinstance(m, Heartbeat)}
    assert beats == {2: 4, 3: 0}


def test_lost_messages_with_a_full_window_are_repaired_by_heartbeats() -> None:
    config = replace(CONFIG, inflight_messages_max=2, append_bytes_max=1)
    cluster = Cluster(1, 2, 3, config=config)
    leader = cluster.elect(1).core
    cluster.is_lost = lambda m: isinstance(m, Append) and m.dst == 2
    for _ in range(6):
        cluster.propose()
    cluster.is_lost = lambda _: False
    cluster.advance(3 * CONFIG.heartbeat_interval_us)
    assert cluster.nodes[2].core.commit == leader.commit == leader.last_index


def test_one_lost_append_without_further_traffic_is_repaired_by_heartbeats() -> None:
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    cluster.is_lost = lambda m: isinstance(m, Append)
    cluster.propose()
    cluster.is_lost = lambda _: False
    cluster.advance(4 * CONFIG.heartbeat_interval_us)
    assert leader.commit == leader.last_index


def test_appends_respect_the_byte_limit_but_carry_at_least_one_entry() -> None:
    config = replace(CONFIG, append_bytes_max=300, inflight_messages_max=10)
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership_of(1, 2))]), config)
    lead(core, 2)
    ack(core, 2, 2)
    drain(core)
    for size in (1000, 100, 100, 100):
        core.propose(b"x" * size)
    sent = appends(drain(core).messages, 2)
    assert [[len(e.data) for e in m.entries] for m in sent] == [[1000], [100, 100], [100]]


def test_the_window_bounds_what_a_silent_peer_is_sent() -> None:
    config = replace(CONFIG, inflight_messages_max=3)
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership_of(1, 2))]), config)
    lead(core, 2)
    ack(core, 2, 2)
    drain(core)
    sent = 0
    for _ in range(10):
        core.propose(b"x")
        sent += len(appends(drain(core).messages, 2))
    assert sent == 3
    ack(core, 2, 5)
    assert [len(m.entries) for m in appends(drain(core).messages, 2)] == [7]


def test_a_probe_is_one_message_until_there_is_a_sign_of_life() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    for _ in range(3):
        core.propose(b"x")
        assert not appends(drain(core).messages, 3)
    core.step(HeartbeatReply(1, 3, 1, core.term, 0))
    assert len(appends(drain(core).messages, 3)) == 1
    assert not appends(drain(core).messages, 3)


def test_unreachable_peers_are_probed() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    ack(core, 2, 2)
    core.propose(b"x")
    drain(core)
    core.unreachable(2)
    assert core.progress()[2].state is ProgressState.PROBE
    (probe,) = appends(drain(core).messages, 2)
    assert (probe.prev_index, len(probe.entries)) == (2, 1)
    ack(core, 2, 3)
    assert core.progress()[2].state is ProgressState.REPLICATE


@pytest.mark.parametrize(
    ("leader_terms", "follower_terms", "probes_max"),
    [
        ((1, 1, 1, 4, 4, 4, 4), (1, 1, 1, 2, 2, 2, 3, 3, 3, 3), 4),
        ((1, 1, 1, 1, 1, 1, 1, 5), (1, 1), 3),
        ((1, 5), (1, 1, 1, 1, 1, 1, 1), 3),
        ((1, 2, 3, 4, 5, 6), (1, 1, 1, 1, 1, 1, 1, 1), 3),
        ((1, 1, 1, 1, 1, 1), (1, 2, 2, 2, 2, 2, 2, 2), 3),
    ],
)
def test_diverged_logs_meet_after_at_most_a_probe_per_term(
    leader_terms: tuple[int, ...], follower_terms: tuple[int, ...], probes_max: int
) -> None:
    """Thesis §3.5, with the terms of figure 3.6 first."""
    leader = lead(voter_of(1, 1, 2, 3, terms=leader_terms, term=8), 3)
    follower = voter_of(2, 1, 2, 3, terms=follower_terms, term=leader.term)
    probes = appends(drain_all(leader), 2) or [first_probe(leader)]
    count = 0
    while leader.progress()[2].state is ProgressState.PROBE:
        count += 1
        for probe in probes:
            follower.step(probe)
        for reply in answers(follower):
            leader.step(reply)
        probes = appends(drain_all(leader), 2)
    for message in probes:
        follower.step(message)
    assert count <= probes_max
    for reply in answers(follower):
        leader.step(reply)
    assert terms_of(follower) == terms_of(leader)


def first_probe(leader: RaftCore) -> Append:
    """The Append that left with the election, once more."""
    leader.step(HeartbeatReply(1, 2, leader.node, leader.term, 0))
    return appends(drain_all(leader), 2)[0]


def drain_all(core: RaftCore) -> list[Message]:
    ready = drain(core)
    return ready.messages + ready.messages_after_persist


def answers(core: RaftCore) -> list[Message]:
    return drain_all(core)


@pytest.mark.parametrize("state", ProgressState)
def test_stale_answers_move_nothing(state: ProgressState) -> None:
    core = lead(voter_of(1, 1, 2, 3, terms=(1,) * 6, commit=6, applied=6), 2)
    if state is ProgressState.REPLICATE:
        ack(core, 3, 5)
    elif state is ProgressState.SNAPSHOT:
        core.compacted(Index(7))
        reject(core, 3, 6, 5, 1)
    drain(core)
    progress = core.progress()[3]
    before = (progress.state, progress.match, progress.next)
    assert progress.state is state
    ack(core, 3, 7, term=1)
    reject(core, 3, 3, 1, 1)
    if state is not ProgressState.PROBE:
        ack(core, 3, 0)
    assert (progress.state, progress.match, progress.next) == before


def test_an_acknowledgement_beyond_the_leaders_log_halts_the_shard() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    with pytest.raises(InvariantViolation):
        ack(core, 2, 99)


def test_proposals_are_refused_elsewhere_and_when_too_large() -> None:
    core = voter_of(1, 1, 2, 3)
    core.step(Heartbeat(1, 2, 1, 1, 0, 0))
    with pytest.raises(NotLeader) as refused:
        core.propose(b"x")
    assert refused.value.leader == 2
    config = replace(CONFIG, entry_bytes_max=10)
    core = lead(core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership_of(1))]), config))
    core.propose(b"x" * 10)
    with pytest.raises(PayloadTooLarge):
        core.propose(b"x" * 11)


def test_uncommitted_bytes_are_bounded_and_free_again_after_a_commit_or_a_new_term() -> None:
    config = replace(CONFIG, uncommitted_bytes_max=200)
    core = core_of(recovered_of(1, term=1, entries=[config_entry(1, 1, membership_of(1, 2, 3))]), config)
    lead(core, 2)
    core.propose(b"x" * 1000)
    with pytest.raises(Busy):
        core.propose(b"x")
    drain(core)
    ack(core, 2, 3)
    core.propose(b"x" * 100)
    with pytest.raises(Busy):
        core.propose(b"x" * 100)
    core.step(Heartbeat(1, 3, 1, core.term + 1, 0, 0))
    drain(core)
    lead(core, 2)
    core.propose(b"x" * 100)


# Follower


def test_a_matching_or_older_append_deletes_nothing() -> None:
    core = voter_of(2, 1, 2, 3, terms=(1, 1, 1, 1, 1))
    ready = append(core, prev=1, prev_term=1, terms=(1, 1))
    assert core.last_index == 5 and ready.write is None
    assert ready.messages == [AppendReply(1, 2, 1, 1, False, 3, 0, 0, 0, 0)]


def test_only_a_conflict_of_terms_truncates() -> None:
    core = voter_of(2, 1, 2, 3, terms=(1, 1, 1, 1, 1), term=2)
    ready = append(core, prev=2, prev_term=1, terms=(1, 2))
    assert terms_of(core) == [1, 1, 1, 2]
    assert ready.write is not None
    assert (ready.write.truncate_from, [e.index for e in ready.write.entries]) == (4, [4])


def test_truncating_what_is_committed_halts_the_shard() -> None:
    core = voter_of(2, 1, 2, 3, terms=(1, 1, 1), commit=3, term=2)
    with pytest.raises(InvariantViolation, match="committed"):
        core.truncate(Index(3))
    assert core.last_index == 3


@pytest.mark.parametrize(
    ("commit", "prev", "terms", "expected"),
    [(9, 3, (), 3), (9, 1, (1,), 2), (2, 3, (1,), 2), (9, 3, (1, 1), 5)],
)
def test_a_follower_commits_only_what_the_message_verified(
    commit: int, prev: int, terms: tuple[int, ...], expected: int
) -> None:
    core = voter_of(2, 1, 2, 3, terms=(1, 1, 1))
    append(core, prev=prev, prev_term=1, terms=terms, commit=commit)
    assert core.commit == expected
    append(core, prev=1, prev_term=1, commit=1)
    assert core.commit == expected


def test_a_commit_beyond_the_log_means_that_the_log_was_lost() -> None:
    core = voter_of(2, 1, 2, 3)
    with pytest.raises(LogLost):
        core.step(Heartbeat(1, 1, 2, 1, 50, 0))


def test_a_refused_append_tells_where_the_logs_may_meet() -> None:
    core = voter_of(2, 1, 2, 3, terms=(1, 1, 1, 3, 3, 3), term=5)
    assert append(core, prev=9, prev_term=5).messages == [AppendReply(1, 2, 1, 5, True, 0, 9, 6, 3, 0)]
    assert append(core, prev=6, prev_term=2).messages == [AppendReply(1, 2, 1, 5, True, 0, 6, 3, 1, 0)]


def test_acknowledgements_wait_for_the_disk_and_are_sent_once_per_turn() -> None:
    core = voter_of(2, 1, 2, 3)
    core.step(Append(1, 1, 2, 1, 1, 1, 0, 4, entries_of(2, 1)))
    core.step(Append(1, 1, 2, 1, 2, 1, 0, 5, entries_of(3, 1)))
    ready = core.ready()
    assert ready is not None and ready.write is not None and len(ready.write.entries) == 2
    assert not ready.messages
    assert ready.messages_after_persist == [AppendReply(1, 2, 1, 1, False, 3, 0, 0, 0, 5)]


def test_a_tail_that_was_overwritten_and_came_back_is_durable_only_with_its_last_write() -> None:
    core = voter_of(2, 1, 2, 3, terms=(1,))
    tokens = []
    for term, prev, terms in ((1, 1, (1, 1)), (2, 1, (2,)), (3, 1, (1, 1))):
        core.step(Append(1, 1, 2, term, prev, 1, 0, 0, entries_of(prev + 1, *terms)))
        ready = core.ready()
        assert ready is not None and ready.write is not None
        tokens.append(ready.write.token)
    assert terms_of(core) == [1, 1, 1]
    core.persisted(tokens[0])
    assert core.durable == 1
    core.persisted(tokens[1])
    assert core.durable == 1
    core.persisted(tokens[2])
    assert core.durable == 3


def test_a_token_stands_for_all_earlier_ones() -> None:
    core = voter_of(2, 1, 2, 3)
    writes = []
    for prev in (1, 2, 3):
        core.step(Append(1, 1, 2, 1, prev, 1, 0, 0, entries_of(prev + 1, 1)))
        ready = core.ready()
        assert ready is not None and ready.write is not None
        writes.append(ready.write)
    core.persisted(writes[1].token)
    assert core.durable == 3
    core.persisted(writes[0].token)
    assert core.durable == 3


def test_a_commit_index_alone_needs_no_sync_and_waits_for_messages_that_need_one() -> None:
    core = voter_of(2, 1, 2, 3)
    core.step(Append(1, 1, 2, 1, 1, 1, 0, 0, entries_of(2, 1)))
    first = core.ready()
    assert first is not None and first.write is not None and first.write.must_sync
    core.step(Append(1, 1, 2, 1, 2, 1, 2, 0, []))
    second = core.ready()
    assert second is not None and second.write is None and len(second.messages_after_persist) == 1
    core.persisted(first.write.token)
    third = core.ready()
    assert third is not None and third.write is not None
    assert not third.write.must_sync and third.write.hard_state is not None
    assert third.write.hard_state.commit == 2


def test_term_and_first_entries_of_a_term_are_one_write() -> None:
    core = voter_of(2, 1, 2, 3)
    write = append(core, prev=1, prev_term=1, terms=(4,), term=4).write
    assert write is not None and write.hard_state is not None
    assert (write.hard_state.term, [e.term for e in write.entries]) == (4, [4])


# Recovery, hand-out, lagging peers


def test_recovery_starts_at_the_greatest_known_commit() -> None:
    assert voter_of(1, 1, terms=(1, 1, 1), commit=1, applied=2).commit == 2
    assert voter_of(1, 1, terms=(1, 1, 1), commit=3, applied=2).commit == 3


def test_recovery_refuses_a_log_that_lost_entries() -> None:
    with pytest.raises(LogLost):
        voter_of(1, 1, terms=(1, 1), applied=3)
    with pytest.raises(LogLost):
        voter_of(1, 1, terms=(1, 1), commit=3)
    with pytest.raises(Corrupt):
        core_of(recovered_of(1, term=1, first=5, previous_term=1, applied=2))


def test_committed_entries_are_handed_out_in_bounded_pieces() -> None:
    config = replace(CONFIG, committed_bytes_max=100)
    entries = [config_entry(1, 1, membership_of(1)), *entries_of(2, *[1] * 20)]
    core = core_of(recovered_of(1, term=1, commit=21, entries=entries), config)
    pieces = []
    while core.applied < 21:
        piece = drain(core).committed
        if piece is None:
            core.applied_to(core.log.handed_out)
            continue
        pieces.append(piece)
        found = core.entries(piece)
        assert found is not None and [e.index for e in found] == list(range(piece.lo, piece.hi))
    assert len(pieces) > 4 and all(a.hi == b.lo for a, b in pairwise(pieces))


def test_nothing_more_is_handed_out_while_the_applier_lags() -> None:
    config = replace(CONFIG, committed_bytes_max=50)
    entries = [config_entry(1, 1, membership_of(1)), *entries_of(2, *[1] * 20)]
    core = core_of(recovered_of(1, term=1, commit=21, entries=entries), config)
    while drain(core).committed is not None:
        pass
    handed_out = core.log.handed_out
    assert handed_out < 21
    core.applied_to(handed_out)
    assert drain(core).committed is not None


def test_only_what_was_handed_out_can_be_applied() -> None:
    core = voter_of(1, 1, terms=(1, 1, 1), commit=3)
    with pytest.raises(InvariantViolation):
        core.applied_to(Index(3))


def test_entries_outside_of_memory_are_loaded_for_a_lagging_peer() -> None:
    entries = [config_entry(1, 1, membership_of(1, 2, 3)), *entries_of(2, *[1] * 9)]
    core = core_of(recovered_of(1, term=1, entries=entries, tail_count=3))
    lead(core, 2)
    reject(core, 3, 10, 4, 1)
    (load,) = drain(core).loads
    assert (load.peer, load.lo, load.hi) == (3, 5, 8)
    assert not drain(core).loads
    core.entries_loaded(LoadEntries(99, 3, 5, 8, 1), entries[4:7])
    assert not appends(drain(core).messages, 3)
    core.entries_loaded(load, entries[4:7])
    (sent,) = appends(drain(core).messages, 3)
    assert (sent.prev_index, [e.index for e in sent.entries]) == (4, [5, 6, 7])


def test_a_peer_that_needs_compacted_entries_is_offered_a_snapshot() -> None:
    core = lead(voter_of(1, 1, 2, 3, terms=(1,) * 6, commit=6, applied=6), 2)
    ack(core, 2, 7)
    core.compacted(Index(6))
    reject(core, 3, 6, 2, 1)
    ready = drain(core)
    assert ready.snapshot == SnapshotWanted(3)
    meta = SnapshotMeta(Index(6), 1, membership_of(1, 2, 3), Index(1), "s")
    core.snapshot_ready(3, meta)
    core.propose(b"x")
    messages = drain(core).messages
    assert [m for m in messages if m.dst == 3] == [Snapshot(1, 1, 3, core.term, meta)]
    ack(core, 3, 6)
    assert core.progress()[3].state is ProgressState.REPLICATE
    assert [e.index for m in appends(drain(core).messages, 3) for e in m.entries] == [7, 8]


def test_a_compacted_log_still_matches_at_its_boundary() -> None:
    core = core_of(
        recovered_of(
            2, term=3, commit=9, applied=9, first=10, previous_term=2, configs=[(1, membership_of(1, 2, 3))]
        )
    )
    assert append(core, prev=9, prev_term=2, terms=(3,)).messages_after_persist[0].match == 10  # type: ignore[union-attr]


def test_an_old_snapshot_is_ignored_and_a_matching_one_moves_the_commit_index() -> None:
    core = voter_of(2, 1, 2, 3, terms=(1, 1, 1, 1), commit=2)
    old = SnapshotMeta(Index(2), 1, membership_of(1, 2, 3), Index(1), "old")
    core.step(Snapshot(1, 1, 2, 1, old))
    ready = drain(core)
    assert ready.snapshot is None and ready.messages == [AppendReply(1, 2, 1, 1, False, 2, 0, 0, 0, 0)]
    core.step(Snapshot(1, 1, 2, 1, replace(old, index=Index(3))))
    ready = drain(core)
    assert ready.snapshot is None and core.commit == 3 and core.last_index == 4


def test_an_installed_snapshot_replaces_the_log_and_keeps_term_and_vote() -> None:
    core = voter_of(2, 1, 2, 3, terms=(1, 1), term=6)
    members = membership_of(1, 2, 3, learners=[5])
    meta = SnapshotMeta(Index(20), 4, members, Index(15), "new")
    core.step(Snapshot(1, 1, 2, 6, meta))
    ready = drain(core)
    assert ready.snapshot is not None and core.installing == meta
    core.step(Snapshot(1, 1, 2, 6, meta))
    assert drain(core).snapshot is None, "it is under way"
    assert not core.keeps_log(meta)
    core.snapshot_installed(meta)
    assert (core.term, core.first_index, core.last_index, core.commit, core.applied) == (6, 21, 20, 20, 20)
    assert (core.membership, core.membership_index, core.installing) == (members, 15, None)
    ready = drain(core)
    assert ready.messages == [AppendReply(1, 2, 1, 6, False, 20, 0, 0, 0, 0)] and ready.committed is None
    assert append(core, prev=20, prev_term=4, terms=(6,)).write is not None


def test_a_lagging_replica_catches_up_by_snapshot() -> None:
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    cluster.isolate(3)
    for n in range(20):
        cluster.propose(b"%d" % n)
    for id in (1, 2):
        cluster.compact(id, cluster.nodes[id].core.applied + 1)
    cluster.heal()
    cluster.advance(6 * CONFIG.election_timeout_us)
    assert cluster.data(3) == [b"%d" % n for n in range(20)]
    assert cluster.leader.core.progress().get(3) is None or (
        cluster.leader.core.progress()[3].state is ProgressState.REPLICATE
    )


def test_a_restarted_cluster_has_everything_that_was_committed() -> None:
    cluster = Cluster(1, 2, 3)
    cluster.elect(1)
    for n in range(5):
        cluster.propose(b"%d" % n)
    for id in (1, 2, 3):
        cluster.restart(id)
    cluster.advance(6 * CONFIG.election_timeout_us)
    assert all(cluster.data(id) == [b"%d" % n for n in range(5)] for id in (1, 2, 3))


# Transfer, thesis §3.10


def test_leadership_moves_to_a_voter_that_has_everything() -> None:
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    leader.transfer_leadership(2)
    cluster.settle()
    assert cluster.leader.core.node == 2


def test_a_lagging_target_catches_up_first_and_proposals_wait() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    core.transfer_leadership(3)
    assert not [m for m in drain(core).messages if isinstance(m, TimeoutNow)]
    with pytest.raises(TransferInProgress):
        core.propose(b"x")
    ack(core, 3, 2)
    assert drain(core).messages[0] == TimeoutNow(1, 1, 3, core.term)


def test_a_transfer_that_fails_is_given_up() -> None:
    cluster = Cluster(1, 2, 3)
    leader = cluster.elect(1).core
    cluster.is_lost = lambda m: isinstance(m, TimeoutNow)
    leader.transfer_leadership(2)
    cluster.settle()
    with pytest.raises(TransferInProgress):
        leader.propose(b"x")
    cluster.advance(CONFIG.election_timeout_us)
    leader.propose(b"x")
    assert leader.role is Role.LEADER


def test_a_second_transfer_replaces_the_first_and_oneself_calls_it_off() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    core.transfer_leadership(3)
    core.transfer_leadership(2)
    drain(core)
    ack(core, 3, 2)
    assert not [m for m in drain(core).messages if isinstance(m, TimeoutNow)]
    ack(core, 2, 2)
    assert [m.dst for m in drain(core).messages if isinstance(m, TimeoutNow)] == [2]
    core.transfer_leadership(1)
    core.propose(b"x")


def test_acknowledgements_do_not_take_back_what_was_sent_ahead() -> None:
    core = lead(voter_of(1, 1, 2, 3), 2)
    ack(core, 2, 2)
    for _ in range(3):
        core.propose(b"x")
        drain(core)
    ack(core, 2, 3)
    assert core.progress()[2].next == 6
    assert not [m for m in appends(drain(core).messages, 2) if m.entries]


def test_memory_keeps_what_is_not_yet_on_disk_whatever_its_bound() -> None:
    config = replace(CONFIG, tail_bytes_max=1000)
    core = core_of(recovered_of(2, term=1, entries=[config_entry(1, 1, membership_of(1, 2, 3))]), config)
    tokens = []
    for index in range(2, 12):
        core.step(
            Append(1, 1, 2, 1, index - 1, 1, index, 0, [replace(entries_of(index, 1)[0], data=bytes(400))])
        )
        ready = core.ready()
        assert ready is not None and ready.write is not None
        tokens.append(ready.write.token)
        if index == 5:
            core.persisted(tokens[1])
    assert core.log.tail_first <= 4
    core.persisted(tokens[-1])
    assert core.log.tail_first == 10
    committed = drain(core).committed
    assert committed is not None and core.entries(committed) is None, "now the log store has it"


def test_memory_holds_a_bounded_tail_of_the_log() -> None:
    config: CoreConfig = replace(CONFIG, tail_bytes_max=10_000)
    cluster = Cluster(1, 2, 3, config=config)
    cluster.elect(1)
    for _ in range(200):
        cluster.propose(b"x" * 1000)
    for node in cluster.nodes.values():
        assert node.core.last_index - node.core.log.tail_first < 12
        assert len(node.applied) == node.core.last_index
