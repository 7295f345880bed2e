"""Each seed chooses its own topology, timings and subset of faults.

Swarm testing: a world where *everything* goes wrong hides the bugs that need one fault alone for long enough.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random

from raftcore.core.config import CoreConfig
from raftcore.replica.replica import ReplicaLimits

ELECTION_TIMEOUT_US = 200_000
HEARTBEAT_INTERVAL_US = 60_000
CLOCK_RATES_PPM = (850_000, 1_180_000)
"""Where clocks are skewed: microseconds that a host's clock counts in a second, at least and at most."""
_DRIFT_PPM_MAX = CLOCK_RATES_PPM[1] * 1_000_000 // CLOCK_RATES_PPM[0] - 999_999


@dataclass(slots=True)
class Faults:
    """What goes wrong in one world. Intervals are means in microseconds of virtual time; 0 is never."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: bool = False
    delay_us: int = 300
    slow_links: float = 0.0
    """The share of links that are fifty times slower."""
    one_frame_per_message: bool = False
    partition_interval_us: int = 0
    one_way: bool = False
    crash_interval_us: int = 0
    crash_all: bool = False
    pause_interval_us: int = 0
    sync_us: int = 300
    slow_sync: float = 0.0
    clock_skew: bool = False
    membership_interval_us: int = 0
    transfer_interval_us: int = 0
    compaction_interval_us: int = 0
    snapshot_loss: float = 0.0
    """How often a snapshot cannot be made, or is gone before it was pulled."""
    small_limits: bool = False
    slow_apply: bool = False
    sync_failure: float = 0.0
    """How often a sync fails, which ends the process."""
    install_crash: float = 0.0
    """How often the process dies at a step of the installation of a snapshot."""
    single_turns: bool = False
    """Hosts look after other things between one turn of a replica and the next."""

    def calm(self) -> None:
        """From now on nothing goes wrong any more."""
        for faults_field in fields(self):
            if faults_field.name.endswith("_interval_us") or faults_field.name in (
                "loss",
                "duplication",
                "slow_sync",
                "snapshot_loss",
                "sync_failure",
                "install_crash",
            ):
                setattr(self, faults_field.name, 0)
        self.reordering = False
        self.slow_links = 0.0
        self.delay_us = min(self.delay_us, 1_000)

    def __str__(self) -> str:
        plain = Faults()
        return (
            ", ".join(
                f"{field.name}={getattr(self, field.name)}"
                for field in fields(self)
                if getattr(self, field.name) != getattr(plain, field.name)
            )
            or "none"
        )


FAULT_NAMES = tuple(field.name for field in fields(Faults))


@dataclass(slots=True)
class Swarm:
    """One seed's choices."""

    voter_count: int
    faults: Faults
    core: CoreConfig
    limits: ReplicaLimits
    duration_us: int
    command_interval_us: int


def choose(rng: Random, duration_us: int, *, lease_reads: bool) -> Swarm:
    """The world of a seed whose generator is ``rng``."""

    def perhaps(chance: float) -> bool:
        return rng.random() < chance

    faults = Faults(
        loss=rng.uniform(0.005, 0.2) if perhaps(0.4) else 0.0,
        duplication=rng.uniform(0.01, 0.3) if perhaps(0.4) else 0.0,
        reordering=perhaps(0.5),
        delay_us=rng.choice((100, 300, 1_000, 5_000, 15_000)),
        slow_links=rng.uniform(0.1, 0.4) if perhaps(0.2) else 0.0,
        one_frame_per_message=perhaps(0.3),
        partition_interval_us=rng.choice((300_000, 800_000)) if perhaps(0.5) else 0,
        one_way=perhaps(0.5),
        crash_interval_us=rng.choice((150_000, 500_000, 1_500_000)) if perhaps(0.5) else 0,
        crash_all=perhaps(0.3),
        pause_interval_us=rng.choice((300_000, 1_000_000)) if perhaps(0.3) else 0,
        sync_us=rng.choice((50, 300, 2_000, 10_000)),
        slow_sync=rng.uniform(0.01, 0.1) if perhaps(0.3) else 0.0,
        clock_skew=perhaps(0.3),
        membership_interval_us=rng.choice((100_000, 300_000, 800_000)),
        transfer_interval_us=rng.choice((200_000, 800_000)) if perhaps(0.3) else 0,
        compaction_interval_us=rng.choice((50_000, 300_000)),
        snapshot_loss=rng.uniform(0.05, 0.5) if perhaps(0.4) else 0.0,
        small_limits=perhaps(0.4),
        slow_apply=perhaps(0.3),
        sync_failure=rng.uniform(0.0005, 0.01) if perhaps(0.3) else 0.0,
        install_crash=0.3 if perhaps(0.5) else 0.0,
        single_turns=perhaps(0.3),
    )
    small = faults.small_limits
    core = CoreConfig(
        election_timeout_us=ELECTION_TIMEOUT_US,
        heartbeat_interval_us=HEARTBEAT_INTERVAL_US,
        inflight_messages_max=rng.choice((1, 2, 8)) if small else 64,
        inflight_bytes_max=rng.choice((200, 2_000, 1 << 20)) if small else 8 << 20,
        append_bytes_max=rng.choice((1, 200, 2_000)) if small else 1 << 20,
        uncommitted_bytes_max=rng.choice((50, 500, 5_000)) if small else 64 << 20,
        tail_bytes_max=rng.choice((1, 300, 3_000)) if small else 64 << 20,
        committed_bytes_max=rng.choice((1, 300, 3_000)) if small else 8 << 20,
        promote_lag_max=rng.choice((1, 20)),
        lease_reads=lease_reads,
        clock_drift_ppm_max=_DRIFT_PPM_MAX,
    )
    limits = ReplicaLimits(
        queued_commands_max=20 if small else 100_000,
        group_commands_max=rng.choice((1, 3, 50)),
        rounds_in_flight_max=rng.choice((1, 2, 4)),
        unapplied_bytes_max=rng.choice((1, 1_000)) if small else 64 << 20,
        apply_bytes_max=rng.choice((1, 500)) if small else 8 << 20,
        undecided_wait_us=3 * ELECTION_TIMEOUT_US,
    )
    return Swarm(
        voter_count=rng.choice((1, 3, 3, 3, 5, 5)),
        faults=faults,
        core=core,
        limits=limits,
        duration_us=duration_us,
        command_interval_us=rng.choice((5_000, 20_000, 50_000)),
    )
