"""How busy a peer's host is, how full its queues are, and how far members are behind: metrics and status."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Gauge

from raftcore.core.errors import NotLeader
from raftcore.host.host import Host
from raftcore.host.saturation import HostReport, Shares
from raftcore.replica.turn import ReplicaStatus
from z4sql.telemetry import Spread

_SYNC_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_MADE_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SILENCES_KEPT: Final = 60
"""Readings, about one a second."""


@dataclass(slots=True, frozen=True)
class HostReading:
    """What was seen at one moment; ``shares`` are of the time since the reading before."""

    shares: Shares
    status: ReplicaStatus
    report: HostReport
    queued_commands_max: int


class HostWatch:
    """Reads a host again and again. Names of metrics are part of the API."""

    def __init__(self, host: Host) -> None:
        self.latest: HostReading | None = None
        """None until the host is a member of something."""
        self._host = host
        self._busy = Gauge("z4_host_busy_ratio", "part of the wall time that a worker was busy", ["worker"])
        self._stalls = Counter("z4_host_loop_stalls_total", "turns that came late by a heartbeat or more")
        self._refused = Counter(
            "z4_raft_refused_commands_total", "commands that were not accepted", ["reason"]
        )
        self._syncs = Spread("z4_raft_log_fsync_seconds", "how long fsyncs of the log took", _SYNC_S)
        self._made = Spread("z4_raft_snapshot_seconds", "how long snapshots took to make", _MADE_S)
        self._silences = Counter(
            "z4_raft_missed_heartbeats_total", "times that a follower heard no leader for two heartbeats"
        )
        self._silence = Gauge(
            "z4_raft_leader_silence_seconds_max",
            "the longest time in the last minute that a follower did not hear its leader",
        )
        self._silences_us: deque[int] = deque(maxlen=_SILENCES_KEPT)
        self._queued_max = Gauge("z4_raft_queued_commands_max", "beyond which commands are refused")
        self._pending = Gauge("z4_raft_pending_commands", "commands in the log that are not decided")
        self._reads = Gauge("z4_raft_pending_reads", "reads that wait for their index")
        self._unapplied = Gauge("z4_raft_unapplied_entries", "committed entries that wait for the state")
        self._stalled = Gauge("z4_raft_state_stalled", "1 while the state's store takes no more")
        self._log_bytes = Gauge("z4_raft_log_bytes", "the log on the disk")
        self._snapshot_bytes = Gauge("z4_raft_snapshot_bytes", "snapshots on the disk")
        self._lag = Gauge("z4_raft_member_lag_entries", "entries that a member lacks", ["member"])
        self._unheard = Gauge("z4_raft_member_silence_seconds", "since a member was last heard", ["member"])
        self._transfers = Gauge(
            "z4_raft_snapshot_transfer_bytes",
            "how much of a snapshot has been sent to a member (out) or received (in)",
            ["direction", "member"],
        )

    async def read(self) -> None:
        """Look at the host now."""
        host = self._host
        shares = host.shares()
        for worker in ("turns", "applying", "flushing"):
            self._busy.labels(worker).set(getattr(shares, worker))
        self._stalls.inc(shares.stalls)
        for reason, count in shares.refused.items():
            self._refused.labels(reason).inc(count)
        self._syncs.add(shares.syncs_s)
        self._made.add(shares.snapshots_s)
        self._silences.inc(shares.silences)
        self._silences_us.append(shares.silence_us)
        self._silence.set(max(self._silences_us) / 1e6)
        status = host.status()
        if status is None:
            return
        try:
            report = await host.report()
        except NotLeader:
            # It has just ceased to be a member.
            return
        self.latest = HostReading(shares, status, report, host.config.limits.queued_commands_max)
        self._show(self.latest)

    def _show(self, reading: HostReading) -> None:
        status, report = reading.status, reading.report
        self._queued_max.set(reading.queued_commands_max)
        self._pending.set(status.pending_commands)
        self._reads.set(status.pending_reads)
        self._unapplied.set(report.unapplied)
        self._stalled.set(report.stalled)
        self._log_bytes.set(report.log_bytes)
        self._snapshot_bytes.set(report.snapshot_bytes)
        names = {member.id: member.name for member in status.membership.members}
        for gauge in (self._lag, self._unheard, self._transfers):
            gauge.clear()
        for lag in report.followers:
            self._lag.labels(lag.name).set(lag.entries)
            self._unheard.labels(lag.name).set(lag.silent_ms / 1000)
        for transfer in report.snapshots:
            direction = "out" if transfer.outgoing else "in"
            self._transfers.labels(direction, names.get(transfer.node, "")).set(transfer.done_bytes)
