"""How busy a host's three workers are (after hashicorp/raft's saturation metric), and how far all are behind.

What runs out first is seen here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftcore.core.progress import ProgressState
from raftcore.core.raft import RaftCore
from raftcore.core.types import NO_NODE, Index, Instant, NodeId, Role, ShardId
from raftcore.host.runner import ReplicaRunner
from raftcore.storage.directory import directory_bytes

if TYPE_CHECKING:
    from raftcore.host.host import Host


_SNAPSHOTS_KEPT = 1_000


@dataclass(slots=True, frozen=True)
class Shares:
    """Parts of the wall time since the last reading, 0..1 each, how often the loop came late, and what a
    follower heard: how often nothing of its leader for longer than two heartbeats, and for how long at most.
    """

    turns: float
    applying: float
    flushing: float
    stalls: int
    silences: int
    silence_us: int
    syncs_s: tuple[float, ...]
    """How long each fsync of the log took."""
    snapshots_s: tuple[float, ...]
    """How long each snapshot took to be made for a peer."""
    refused: Mapping[str, int]
    """How many commands were not accepted, by the name of the error."""


@dataclass(slots=True, frozen=True)
class FollowerLag:
    """What the leader knows of one peer. ``silent_ms`` is since it was last heard, or became known."""

    node: NodeId
    name: str
    entries: int
    silent_ms: int
    needs_snapshot: bool


@dataclass(slots=True, frozen=True)
class SnapshotProgress:
    """A snapshot of everything up to ``index`` on its way to (``outgoing``) or from replica ``node``.

    ``total_bytes`` is 0 while it is not known.
    """

    node: NodeId
    index: Index
    outgoing: bool
    done_bytes: int
    total_bytes: int


@dataclass(slots=True, frozen=True)
class HostReport:
    """How one replica stands. ``followers`` is empty but on the leader.

    ``unapplied`` entries are committed and wait for the state machine, which is ``stalled`` while its store
    takes no more.
    """

    first_index: Index
    last_index: Index
    unapplied: int
    stalled: bool
    followers: tuple[FollowerLag, ...]
    snapshots: tuple[SnapshotProgress, ...]
    log_bytes: int
    snapshot_bytes: int
    """On the disk; files that a state and its snapshot share count in both."""


async def report_on(host: Host, runner: ReplicaRunner) -> HostReport:
    """What can be seen of a replica and its disk now."""
    config = host.config
    log_bytes, snapshot_bytes = await asyncio.to_thread(
        lambda: (directory_bytes(config.data_dir), directory_bytes(config.snapshots))
    )
    core = runner.replica.core
    return HostReport(
        first_index=core.first_index,
        last_index=core.last_index,
        unapplied=core.commit - runner.applied,
        stalled=runner.stalled,
        followers=_follower_lags(core),
        snapshots=tuple(host.snapshots.progress()),
        log_bytes=log_bytes,
        snapshot_bytes=snapshot_bytes,
    )


def _follower_lags(core: RaftCore) -> tuple[FollowerLag, ...]:
    names = {member.id: member.name for member in core.membership.members}
    return tuple(
        FollowerLag(
            node=node,
            name=names.get(node, ""),
            entries=core.last_index - progress.match,
            silent_ms=(core.now - progress.contact) // 1000,
            needs_snapshot=progress.state is ProgressState.SNAPSHOT,
        )
        for node, progress in core.progress().items()
    )


class Saturation:
    """Adds up busy time and watches how regularly leaders are heard; `shares` reads and resets it."""

    __slots__ = (
        "_missed_since",
        "_since_s",
        "applying_s",
        "refused",
        "silence_us",
        "silences",
        "snapshots_s",
        "stalls",
        "turns_s",
    )

    def __init__(self) -> None:
        self.turns_s = 0.0
        self.applying_s = 0.0
        self.stalls = 0
        self.silences = 0
        self.refused: Counter[str] = Counter()
        self.snapshots_s: deque[float] = deque(maxlen=_SNAPSHOTS_KEPT)
        self.silence_us = 0
        self._missed_since: dict[ShardId, Instant] = {}
        """By shard: the contact after which a silence was counted."""
        self._since_s = time.perf_counter()

    def listen(self, core: RaftCore) -> None:
        """Note how long the leader was silent; before the core is given what has arrived meanwhile."""
        if core.role is not Role.FOLLOWER or core.leader == NO_NODE:
            return
        silence_us = core.now - core.leader_contact
        self.silence_us = max(self.silence_us, silence_us)
        if silence_us > 2 * core.config.heartbeat_interval_us and (
            self._missed_since.get(core.shard) != core.leader_contact
        ):
            self._missed_since[core.shard] = core.leader_contact
            self.silences += 1

    def shares(self, syncs_s: tuple[float, ...]) -> Shares:
        """Of the time since the last call; ``syncs_s``: how long each sync of the log took in it."""
        now_s = time.perf_counter()
        wall_s = max(now_s - self._since_s, 1e-9)
        shares = Shares(
            turns=self.turns_s / wall_s,
            applying=self.applying_s / wall_s,
            flushing=sum(syncs_s) / wall_s,
            stalls=self.stalls,
            silences=self.silences,
            silence_us=self.silence_us,
            syncs_s=syncs_s,
            snapshots_s=tuple(self.snapshots_s),
            refused=self.refused,
        )
        self.refused = Counter()
        self.snapshots_s.clear()
        self.turns_s = self.applying_s = 0.0
        self.stalls = self.silences = self.silence_us = 0
        self._since_s = now_s
        return shares
