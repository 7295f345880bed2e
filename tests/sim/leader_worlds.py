"""Worlds that go for the leaders: what random ones meet too rarely to tell a wrong rule from a right one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from raftcore.core.types import NodeId, Remove, Term
from raftcore.sim import swarm
from raftcore.sim.clients import change_membership, read
from raftcore.sim.host import SimHost
from raftcore.sim.swarm import ELECTION_TIMEOUT_US, Swarm
from raftcore.sim.world import World

_LOOK_US = 200


class LeadersAreCutOff(World):
    """The leader loses the others, and finds them again: what leases have to stand."""

    def choose(self, duration_us: int) -> Swarm:
        """Three voters with leases, skewed clocks and a quick network."""
        chosen = swarm.choose(self.rng, duration_us, lease_reads=True)
        faults = swarm.Faults(
            delay_us=200,
            sync_us=50,
            clock_skew=True,
            partition_interval_us=150_000,
            pause_interval_us=chosen.faults.pause_interval_us,
            crash_interval_us=chosen.faults.crash_interval_us and 1_000_000,
        )
        return replace(chosen, voter_count=3, faults=faults, command_interval_us=4_000)

    def _partition(self) -> None:
        leaders = [node for node, host in self.hosts.items() if host.leads]
        if len(leaders) != 1 or self.rng.random() < 0.3:
            self.network.heal()
        else:
            self.network.isolate(leaders[0], self.hosts)


class LeadersStandStill(World):
    """The leader stands still, or is cut off, until another leads; the old one is read when it wakes.

    No lease: whatever it answers then, a quorum must have confirmed. Answers to what it sent before it stood
    still are waiting for it when it wakes.
    """

    def choose(self, duration_us: int) -> Swarm:
        """Three voters that read by quorum, on a quick network."""
        chosen = swarm.choose(self.rng, duration_us, lease_reads=False)
        faults = swarm.Faults(
            delay_us=self.rng.choice((200, 1_000, 5_000)),
            sync_us=50,
            clock_skew=chosen.faults.clock_skew,
            pause_interval_us=100_000,
            partition_interval_us=400_000,
            single_turns=chosen.faults.single_turns,
        )
        return replace(chosen, voter_count=3, faults=faults, command_interval_us=2_000)

    def _pause(self) -> None:
        leading = [host for host in self._all_hosts() if host.leads and not host.paused]
        if len(leading) == 1:
            leading[0].pause()
            self.schedule(
                self.rng.randint(ELECTION_TIMEOUT_US, 4 * ELECTION_TIMEOUT_US),
                partial(self._wake_and_read, leading[0]),
            )

    def _partition(self) -> None:
        leaders = [node for node, host in self.hosts.items() if host.leads]
        if len(leaders) == 1 and not self.network.is_any_cut:
            self.network.isolate(leaders[0], self.hosts)
            self.schedule(_LOOK_US, partial(self._keep_reading, self.hosts[leaders[0]]))
            self.schedule(2 * ELECTION_TIMEOUT_US, self.network.heal)

    def _wake_and_read(self, host: SimHost) -> None:
        if host.paused:
            self._read(host)
            host.resume()

    def _keep_reading(self, host: SimHost) -> None:
        """For as long as it takes itself for the leader."""
        if host.leads and not self._is_calm:
            if not host.paused:
                self._read(host)
            self.schedule(5_000, partial(self._keep_reading, host))

    def _read(self, host: SimHost) -> None:
        for _ in range(3):
            read(host, self.oracle)
        host.need_turn()


class LeadersChangeMembers(World):
    """Whoever wins an election is asked at once to remove somebody, and loses sight of some of the others.

    Two leaders in turn that change the same old membership: what an own commit before any change forbids.
    """

    def __init__(self, seed: int, *, duration_us: int, host: type[SimHost] = SimHost) -> None:
        super().__init__(seed, duration_us=duration_us, host=host)
        self._asked: set[tuple[NodeId, Term]] = set()

    def choose(self, duration_us: int) -> Swarm:
        """Four voters, and an operator who adds as many as are removed."""
        chosen = swarm.choose(self.rng, duration_us, lease_reads=False)
        faults = swarm.Faults(
            delay_us=1_000, sync_us=50, partition_interval_us=700_000, membership_interval_us=50_000
        )
        return replace(chosen, voter_count=4, faults=faults, command_interval_us=50_000)

    def _schedule_troubles(self) -> None:
        super()._schedule_troubles()
        self._repeat(_LOOK_US, self._ask_new_leaders)

    def _partition(self) -> None:
        self.network.heal()

    def _ask_new_leaders(self) -> None:
        for host in self._all_hosts():
            replica = host.replica
            if replica is None or not host.leads or (host.node, replica.core.term) in self._asked:
                continue
            core = replica.core
            self._asked.add((host.node, core.term))
            others = sorted(core.membership.voters - {host.node})
            if len(others) < 2:
                continue
            kept = self.rng.choice(others) if self.rng.random() < 0.6 else None
            self.network.separate({host.node, *([kept] if kept else [])}, self.hosts)
            removed = self.rng.choice([node for node in others if node != kept])
            change_membership(host, self.oracle, Remove(removed), core.membership_index)
            host.need_turn()


class CommandsPileUp(World):
    """A disk and a state machine so slow that thousands of commands wait when the faults stop."""

    def choose(self, duration_us: int) -> Swarm:
        """One command a round, three voters, no other fault."""
        chosen = swarm.choose(self.rng, duration_us, lease_reads=False)
        limits = replace(
            chosen.limits, queued_commands_max=100_000, group_commands_max=1, rounds_in_flight_max=1
        )
        return replace(
            chosen,
            voter_count=3,
            faults=swarm.Faults(delay_us=1_000, sync_us=10_000, slow_apply=True),
            limits=limits,
            command_interval_us=1_000,
        )
