"""Settings of a host."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raftcore.core.config import CoreConfig
from raftcore.replica.replica import ReplicaLimits

FORMATION_WAIT_S = 1.0
"""Longer than a member waits before it dials again."""


@dataclass(slots=True, frozen=True)
class HostConfig:
    """``address`` is the host:port at which other hosts reach this one; ``listen`` is what it binds.

    ``data_dir`` holds the log store. ``core`` is used for every shard, with its own shard id. Calls wait
    three election timeouts for their fate once leadership is lost, whatever ``limits`` says.

    :raises ValueError: naming every field that is out of range.
    """

    name: str
    address: str
    listen: str
    data_dir: Path
    core: CoreConfig = field(default_factory=CoreConfig)
    limits: ReplicaLimits = field(default_factory=ReplicaLimits)
    apply_slice_ms: float = 4.0
    """How long entries are applied before the loop may do something else."""
    apply_chunk_bytes: int = 64 << 10
    """How much is given to the state machine at once; the slice can overrun by one chunk."""
    state_sync_interval_s: float = 60.0
    """How often an applied state is made durable, so that a restart replays little."""
    state_sync_bytes: int = 256 << 20
    formation_wait_s: float = FORMATION_WAIT_S
    """How long a fresh host listens, before it forms a cluster, for members of one that count on its name."""
    stop_timeout_s: float = 2.0
    """How long a clean stop waits for leadership to move."""
    write_retry_ms: float = 20.0
    """How long to wait when the log store refuses a write to protect itself."""
    snapshot_dir: Path | None = None
    """Where snapshots are made and received, on the file system of the states. None: beside ``data_dir``."""
    trailing_entries: int = 10_000
    """How many entries the log keeps below what the state has made durable, for followers and feeds..."""
    trailing_bytes: int = 256 << 20
    """...but no more bytes than these."""
    held_bytes_max: int = 1 << 30
    """How much log is kept beyond that for a follower that is there but behind, or installs a snapshot."""
    reclaim_bytes: int = 512 << 20
    """How much is dropped from the log before its store is rewritten to give the space back."""
    snapshot_bytes_per_s: int = 128 << 20
    """How fast all snapshots together are sent."""
    snapshot_idle_s: float = 30.0
    """After how long a snapshot that nobody pulls is given up and removed."""
    server_credentials: Any = None
    channel_credentials: Any = None
    services: tuple[Any, ...] = ()
    """Generic gRPC handlers of the application's, served at ``listen`` too: its clients then find the leader
    at the address that the membership names. They come with the credentials that members come with."""

    @property
    def snapshots(self) -> Path:
        """``snapshot_dir``, or what stands for it."""
        return self.snapshot_dir or self.data_dir.with_name(self.data_dir.name + "-snapshots")

    def __post_init__(self) -> None:
        positive = (
            *("apply_slice_ms", "apply_chunk_bytes", "state_sync_interval_s", "state_sync_bytes"),
            *("write_retry_ms", "reclaim_bytes", "snapshot_bytes_per_s", "snapshot_idle_s"),
        )
        problems = [
            f"{name} must be positive, is {getattr(self, name)}"
            for name in positive
            if getattr(self, name) <= 0
        ] + [
            f"{name} must not be negative, is {getattr(self, name)}"
            for name in (
                "trailing_entries",
                "trailing_bytes",
                "held_bytes_max",
                "stop_timeout_s",
                "formation_wait_s",
            )
            if getattr(self, name) < 0
        ]
        if problems:
            raise ValueError("; ".join(problems))
