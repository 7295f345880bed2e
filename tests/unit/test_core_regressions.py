"""Bugs that the simulator or a review found in the core, each by the shortest way to it."""

from __future__ import annotations

from dataclasses import replace

from replica_driver import CONFIG, SHARD, Cluster

from raftcore.core.messages import Snapshot
from raftcore.core.ready import InstallSnapshot
from raftcore.core.types import Index, NodeId, SnapshotMeta, Term


def test_a_snapshot_that_was_lost_at_its_source_is_replaced_by_one_of_the_same_index() -> None:
    cluster = Cluster(3)
    core = cluster[2].core
    first = SnapshotMeta(Index(40), Term(3), core.membership, core.membership_index, "lost")
    second = replace(first, id="made again")

    def offered(meta: SnapshotMeta) -> InstallSnapshot | None:
        core.step(Snapshot(SHARD, NodeId(1), NodeId(2), Term(3), meta))
        wanted = None
        while (ready := core.ready()) is not None:
            wanted = ready.snapshot or wanted
        assert wanted is None or isinstance(wanted, InstallSnapshot)
        return wanted

    assert offered(first) == InstallSnapshot(NodeId(1), first)
    assert offered(first) is None
    assert offered(second) == InstallSnapshot(NodeId(1), second)
    assert core.installing == second


def test_a_peer_that_has_the_offered_snapshot_but_not_what_follows_is_offered_a_newer_one() -> None:
    """Seeds 144 and 237: the log was compacted further while the snapshot travelled."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.cut = {3}
    core = cluster[1].core

    def write(count: int) -> None:
        for _ in range(count):
            cluster[1].propose(b"x", lambda outcome: None)
            cluster.settle()
            cluster.pass_time(CONFIG.heartbeat_interval_us, 1)

    def meta(id: str) -> SnapshotMeta:
        index = core.applied
        return SnapshotMeta(index, core.term, core.membership, core.membership_index, id)

    def compact() -> None:
        cluster.nodes[1].store.compact(SHARD, core.node, Index(core.applied + 1))
        cluster[1].compacted(Index(core.applied + 1))

    write(12)
    old = meta("old")
    compact()
    offers: list[SnapshotMeta] = []
    wanted = 0

    def snapshots(message: object) -> bool:
        if isinstance(message, Snapshot):
            offers.append(message.meta)
        return False

    cluster.drops = snapshots
    cluster.cut = set()
    for _ in range(30):
        cluster.pass_time(CONFIG.heartbeat_interval_us, 1)
        asked, cluster.nodes[1].snapshots_wanted = cluster.nodes[1].snapshots_wanted, 0
        for _ in range(asked):
            wanted += 1
            cluster[1].snapshot_ready(NodeId(3), old if wanted == 1 else meta("new"))
        follower = cluster.nodes[3]
        if follower.replica.core.installing == old:
            write(3)
            compact()
            follower.store.install(SHARD, NodeId(3), old)
            follower.replica.snapshot_installed(old)
            cluster.settle()
    assert [offer.id for offer in offers][0] == "old"
    assert "new" in [offer.id for offer in offers]
