"""A deterministic world: virtual time, hosts, network, disks, clients, faults, and the checkers that watch.

A run has three phases. *Safety*: everything that the seed has chosen goes wrong for a while, and nothing may
break. *Liveness of a majority*: faults stop, a random minority stays down, and within a bound there must be a
leader, everybody who is up must stand where it stands, and a new write and a new read must succeed.
*Liveness of all*: the same once everybody is up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from random import Random

from raftcore.core.errors import InvariantViolation, RaftError
from raftcore.core.types import Entry, Index, Member, Membership, NodeId
from raftcore.sim.clients import Clients, propose, read
from raftcore.sim.host import SimHost
from raftcore.sim.invariants import Invariants, membership_of
from raftcore.sim.machine import MachineState
from raftcore.sim.network import SimNetwork
from raftcore.sim.oracle import Oracle
from raftcore.sim.swarm import ELECTION_TIMEOUT_US, Swarm, choose
from raftcore.sim.trace import SimulationFailed, Trace, Violation, demand

DURATION_US = 8_000_000
_LIVENESS_BOUND_US = 150 * ELECTION_TIMEOUT_US
_QUEUED_COMMAND_US = 40_000
"""One command a round, on the slowest disk and the slowest state machine of a calm world."""
_FINAL_ATTEMPT_US = 4 * ELECTION_TIMEOUT_US


@dataclass(slots=True, frozen=True)
class Summary:
    """What one seed went through."""

    seed: int
    trace_hash: int
    event_count: int
    virtual_us: int
    commit: Index
    term: int
    acknowledged_count: int
    refused_count: int
    unknown_count: int
    read_count: int
    change_count: int
    snapshot_count: int


class World:
    """One seed's world. ``without`` names faults to omit; ``host`` may be a subclass under test."""

    def __init__(
        self,
        seed: int,
        *,
        duration_us: int = DURATION_US,
        without: tuple[str, ...] = (),
        host: type[SimHost] = SimHost,
        echo: bool = False,
    ) -> None:
        self.seed = seed
        self.now = 0
        self.rng = Random(seed)
        self.swarm = self.choose(duration_us)
        for name in without:
            value = getattr(self.swarm.faults, name)
            setattr(self.swarm.faults, name, type(value)(0))
        reads = "lease" if self.swarm.core.lease_reads else "quorum"
        self.faults_text = f"voters={self.swarm.voter_count}, reads={reads}, {self.swarm.faults}"
        self.trace = Trace(echo)
        self.hosts: dict[NodeId, SimHost] = {}
        self.invariants = Invariants(self.hosts, self._committed)
        self.oracle = Oracle(lambda: self.invariants.commit)
        self.network = SimNetwork(self.rng, self.swarm.faults, self.schedule, self._deliver)
        self.snapshot_count = 0
        self.event_count = 0
        self._clients = Clients(self.rng, self.oracle)
        self._host_type = host
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._scheduled_count = 0
        self._is_calm = False
        self._membership = self._first_membership()
        for node in sorted(self._membership.voters):
            self._add_host(node, self._membership)

    def choose(self, duration_us: int) -> Swarm:
        """What this seed has chosen; a test's world may choose otherwise."""
        return choose(self.rng, duration_us, lease_reads=self.seed % 3 == 0)

    # -- running

    def run(self) -> Summary:
        """All phases. :raises SimulationFailed: with everything needed to replay."""
        try:
            for node in list(self.hosts):
                self.hosts[node].start()
            self._schedule_troubles()
            while self._events and self._events[0][0] < self.swarm.duration_us:
                self._step()
            self._calm_down()
            self._converge(self._choose_dead())
            self._bring_up()
            self._converge(set())
            self._finish()
        except (Violation, InvariantViolation, RaftError) as error:
            raise SimulationFailed(self._report(error)) from error
        return Summary(
            seed=self.seed,
            trace_hash=self.trace.hash,
            event_count=self.event_count,
            virtual_us=self.now,
            commit=self.invariants.commit,
            term=max(self._written_term(host) for host in self._all_hosts()),
            acknowledged_count=self.oracle.acknowledged_count,
            refused_count=self.oracle.refused_count,
            unknown_count=self.oracle.unknown_count,
            read_count=self.oracle.read_count,
            change_count=self.oracle.change_count,
            snapshot_count=self.snapshot_count,
        )

    def schedule(self, delay_us: int, action: Callable[[], None]) -> None:
        """Do ``action`` at ``now + delay_us``; what falls on one instant keeps its order."""
        self._scheduled_count += 1
        heappush(self._events, (self.now + delay_us, self._scheduled_count, action))

    @staticmethod
    def _written_term(host: SimHost) -> int:
        return host.disk.store.image(host.shard, host.node).hard_state.term

    def _step(self) -> None:
        self.now, _, action = heappop(self._events)
        self.event_count += 1
        action()

    def _report(self, error: Exception) -> str:
        return (
            f"seed {self.seed} fails at {self.now / 1e6:.6f} s: {type(error).__name__}: {error}\n"
            f"faults: {self.faults_text}\n"
            f"trace:\n{self.trace.text()}\n"
            f"seed {self.seed}: {type(error).__name__}: {error}\n"
            f"replay: python -m raftcore.sim --seed {self.seed}"
            f" --duration-ms {self.swarm.duration_us // 1000} --trace"
        )

    # -- hosts

    def _first_membership(self) -> Membership:
        nodes = [NodeId(number) for number in range(1, self.swarm.voter_count + 1)]
        members = tuple(Member(node, f"peer{node}", f"peer{node}:6356") for node in nodes)
        return Membership(voters=frozenset(nodes), members=members)

    def _add_host(self, node: NodeId, membership: Membership | None) -> None:
        self.hosts[node] = self._host_type(self, node, membership)

    def _deliver(self, src: NodeId, dst: NodeId, frame: bytes) -> None:
        host = self.hosts.get(dst)
        if host is not None and not self.network.is_cut(src, dst):
            self.trace.note(self.now, "deliver", dst, frame)
            if host.replica is not None:
                host.receive(frame)
            elif src in self.hosts and self.rng.random() < 0.5:
                self.hosts[src].peer_is_down(dst)

    def _committed(self, index: Index, entry: Entry) -> None:
        """Something new is committed: the oracle learns of it, and newcomers' hosts are set up."""
        self.oracle.committed(index, entry)
        membership = membership_of(entry)
        if membership is None:
            return
        self._membership = membership
        for member in membership.members:
            if member.id not in self.hosts:
                self._add_host(member.id, None)
                self.schedule(self.rng.randint(1_000, 200_000), partial(self._restart, self.hosts[member.id]))

    def host_died(self, host: SimHost) -> None:
        self.oracle.crashed(host.node, host.life - 1)

    def snapshot_of(self, source: NodeId, id: str) -> MachineState | None:
        host = self.hosts.get(source)
        return host.snapshots.get(id) if host is not None and host.replica is not None else None

    def forget_snapshot(self, source: NodeId, id: str) -> None:
        self.hosts[source].snapshots.pop(id, None)

    def snapshot_pulled(self, source: NodeId, peer: NodeId, *, ok: bool) -> None:
        """Tell the sender how it went, as the end of the stream would."""
        self.snapshot_count += ok
        host = self.hosts[source]
        life = host.life

        def tell() -> None:
            if host.life == life and host.replica is not None:
                host.replica.snapshot_sent(peer, ok)
                host.need_turn()

        if self.rng.random() < 0.9:
            self.schedule(self.rng.randint(1, 5_000), tell)

    # -- troubles

    def _schedule_troubles(self) -> None:
        faults = self.swarm.faults
        self._repeat(self.swarm.command_interval_us, lambda: self._clients.call(self._all_hosts()))
        self._repeat(faults.crash_interval_us, self._crash)
        self._repeat(faults.pause_interval_us, self._pause)
        self._repeat(faults.partition_interval_us, self._partition)
        self._repeat(faults.compaction_interval_us, self._compact)
        self._repeat(faults.membership_interval_us, lambda: self._operate(self._clients.operate, "change"))
        self._repeat(faults.transfer_interval_us, lambda: self._operate(self._clients.transfer, "transfer"))

    def _repeat(self, interval_us: int, action: Callable[[], None]) -> None:
        """``action`` again and again until the faults stop, at random intervals."""
        if not interval_us:
            return

        def again() -> None:
            if not self._is_calm:
                action()
                self._repeat(interval_us, action)

        self.schedule(1 + int(self.rng.expovariate(1.0) * interval_us), again)

    def _all_hosts(self) -> list[SimHost]:
        return list(self.hosts.values())

    def _crash(self) -> None:
        up = [host for host in self._all_hosts() if host.replica is not None]
        if not up:
            return
        everybody = self.swarm.faults.crash_all and self.rng.random() < 0.2
        for host in up if everybody else [self.rng.choice(up)]:
            if self.rng.random() < 0.2:
                host.stop()
                self.oracle.stopped(host.node, host.life)
            self.kill(host)

    def kill(self, host: SimHost) -> None:
        """It dies at once, and starts again after a while."""
        host.crash()
        self.schedule(self.rng.choice((1_000, 100_000, 600_000)), partial(self._restart, host))

    @staticmethod
    def _restart(host: SimHost) -> None:
        """Bring it up, unless something else has done so already."""
        if host.replica is None:
            host.start()

    def _pause(self) -> None:
        up = [host for host in self._all_hosts() if host.replica is not None and not host.paused]
        if up:
            host = self.rng.choice(up)
            host.pause()
            self.schedule(self.rng.choice((20_000, 300_000, 1_000_000)), host.resume)

    def _partition(self) -> None:
        if self.rng.random() < 0.4:
            self.network.heal()
            self.trace.note(self.now, "heal", 0)
        else:
            self.trace.note(self.now, "partition", 0, self.network.partition(sorted(self.hosts)))

    def _compact(self) -> None:
        self.rng.choice(self._all_hosts()).compact()

    def _operate(self, operation: Callable[[list[SimHost]], tuple[NodeId, str] | None], kind: str) -> None:
        done = operation(self._all_hosts())
        if done is not None:
            self.trace.note(self.now, kind, *done)

    # -- liveness

    def _calm_down(self) -> None:
        self._is_calm = True
        self.swarm.faults.calm()
        self.network.heal()
        self.trace.note(self.now, "calm", 0)
        for host in self._all_hosts():
            host.disk.calm()
            host.resume()

    def _choose_dead(self) -> set[NodeId]:
        """Hosts that stay down at first: no more than every membership that may be in force can spare."""
        memberships = [self._membership]
        for host in self._all_hosts():
            configs = host.disk.store.image(host.shard, host.node).configs
            memberships += [membership for index, membership in configs if index > self.invariants.commit]
        dead: set[NodeId] = set()
        for node in self.rng.sample(sorted(self.hosts), len(self.hosts)):
            more = dead | {node}
            if all(2 * len(more & half.voters) < len(half.voters) for half in memberships):
                dead = more
            if self.rng.random() < 0.3:
                break
        for node, host in self.hosts.items():
            if node not in dead:
                self._restart(host)
            elif host.replica is not None:
                host.crash()
        return dead

    def _bring_up(self) -> None:
        self.trace.note(self.now, "everybody", 0)
        for host in self._all_hosts():
            self._restart(host)

    def _converge(self, dead: set[NodeId]) -> None:
        """:raises Violation: when what is not ``dead`` is no working cluster within the bound."""
        deadline = self.now + _LIVENESS_BOUND_US + self._backlog() * _QUEUED_COMMAND_US
        written = seen = None
        attempt_until = 0
        while True:
            demand(self._events and self.now < deadline, "the cluster works again", state=self._state_text())
            self._step()
            leader = self._settled_leader(dead)
            if leader is None:
                continue
            if written is not None and self.oracle.succeeded(written) and self.oracle.succeeded(seen or 0):
                return
            if self.now >= attempt_until:
                attempt_until = self.now + _FINAL_ATTEMPT_US
                written = propose(leader, self.oracle, 10)
                reader = self.hosts[self.rng.choice(sorted(self._membership.voters - dead))]
                seen = read(reader, self.oracle)
                leader.need_turn()
                reader.need_turn()

    def _backlog(self) -> int:
        """What has to be worked off first: commands that the fullest host has taken and not yet written, and
        entries that the member furthest behind has not applied.
        """
        up = [host.replica for host in self._all_hosts() if host.replica is not None]
        queued_count = max((replica.status().queued_commands for replica in up), default=0)
        members = self._membership.voters | self._membership.learners
        applied = min((self.hosts[node].machine.applied for node in members), default=0)
        return queued_count + self.invariants.commit - applied

    def _settled_leader(self, dead: set[NodeId]) -> SimHost | None:
        """The leader, when every member that is not ``dead`` stands where it stands."""
        voters = self._membership.voters
        leaders = [host for host in self.hosts.values() if host.leads and host.node in voters]
        if len(leaders) != 1 or leaders[0].replica is None:
            return None
        last = leaders[0].replica.core.last_index
        for node in (voters | self._membership.learners) - dead:
            if self.hosts[node].machine.applied != last:
                return None
        return leaders[0]

    def _finish(self) -> None:
        """Everybody has everything that was acknowledged, and every call has ended."""
        last = self.invariants.commit
        for node in sorted(self._membership.voters | self._membership.learners):
            machine = self.hosts[node].machine
            demand(
                machine.applied == last and machine.chain_at(last) == self.invariants.chains[last],
                "every member holds every acknowledged write",
                node=node,
                applied=machine.applied,
                committed=last,
            )
        for host in self._all_hosts():
            if host.replica is not None:
                host.replica.stop()
        self.oracle.all_ended()
        self.oracle.linearizable()

    def _state_text(self) -> str:
        lines = []
        for node, host in sorted(self.hosts.items()):
            if host.replica is None:
                lines.append(f"{node}: down")
                continue
            core = host.replica.core
            lines.append(
                f"{node}: {core.role.name} term={core.term} leader={core.leader} commit={core.commit} "
                f"applied={core.applied} machine={host.machine.applied} last={core.last_index} "
                f"durable={core.durable} voters={sorted(core.membership.voters)} "
                f"learners={sorted(core.membership.learners)}"
            )
        return "\n" + "\n".join(lines)
