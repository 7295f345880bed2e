"""Settings of a host."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raftcore.core.config import CoreConfig
from raftcore.replica.replica import ReplicaLimits


@dataclass(slots=True, frozen=True)
class HostConfig:
    """``address`` is the host:port at which other hosts reach this one; ``listen`` is what it binds.

    ``data_dir`` holds the log store. ``core`` is used for every shard, with its own shard id.
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
    state_sync_bytes: int = 1 << 30
    stop_timeout_s: float = 2.0
    """How long a clean stop waits for leadership to move."""
    write_retry_ms: float = 20.0
    """How long to wait when the log store refuses a write to protect itself."""
    server_credentials: Any = None
    channel_credentials: Any = None
