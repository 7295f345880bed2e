"""Settings of one replica's core. Whatever safety needs is not a setting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class CoreConfig:
    """Times are in microseconds of the host's monotonic clock.

    :raises ValueError: naming every field that is out of range.
    """

    shard: int = 1
    election_timeout_us: int = 600_000
    """The least; each wait is drawn from [timeout, 2 * timeout). Thesis §9.3."""
    heartbeat_interval_us: int = 100_000
    inflight_messages_max: int = 64
    inflight_bytes_max: int = 8 << 20
    append_bytes_max: int = 1 << 20
    """Soft limit of one Append: it carries at least one entry."""
    entry_bytes_max: int = 16 << 20
    uncommitted_bytes_max: int = 64 << 20
    tail_bytes_max: int = 64 << 20
    """How much of the log's end is kept in memory."""
    committed_bytes_max: int = 8 << 20
    """How much is handed to the applier at once."""
    pending_reads_max: int = 10_000
    promote_lag_max: int = 1_000
    """A learner this many entries behind, or fewer, has caught up."""
    lease_reads: bool = False
    """Leaders answer reads by lease while they hold one. It rests on clocks; the same for a whole shard."""
    clock_drift_ppm_max: int = 10_000
    """How much faster one host's clock may run than another's: parts per million. Thesis §6.4.1."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be positive, is {getattr(self, name)}"
            for name in self.__slots__
            if name != "lease_reads" and getattr(self, name) <= 0
        ]
        if self.heartbeat_interval_us * 2 > self.election_timeout_us:
            problems.append("heartbeat_interval_us must be at most half of election_timeout_us")
        if problems:
            raise ValueError("; ".join(problems))
