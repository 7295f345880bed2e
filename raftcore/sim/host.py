"""A simulated host: the real replica, driven in turns as a host does, over a simulated disk and machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from raftcore.core.errors import RemoteError
from raftcore.core.messages import Message
from raftcore.core.raft import RaftCore
from raftcore.core.ready import InstallSnapshot, LoadEntries, SnapshotWanted
from raftcore.core.types import (
    Entry,
    Index,
    Instant,
    Membership,
    NodeId,
    Recovered,
    Role,
    ShardId,
    SnapshotMeta,
    Term,
    Token,
)
from raftcore.replica.replica import Replica
from raftcore.replica.turn import Turn
from raftcore.sim.disk import SimDisk
from raftcore.sim.invariants import Invariants
from raftcore.sim.machine import MachineState, SimMachine
from raftcore.sim.network import SimNetwork
from raftcore.sim.swarm import CLOCK_RATES_PPM, Swarm
from raftcore.sim.trace import Trace
from raftcore.transport.frames import decode_frame

_PULL_ATTEMPTS = 10
"""After so many the source is told that the pull has failed."""


class Surroundings(Protocol):
    """What a host sees of its world."""

    now: int
    rng: Random
    swarm: Swarm
    network: SimNetwork
    invariants: Invariants
    trace: Trace

    def schedule(self, delay_us: int, action: Callable[[], None]) -> None: ...

    def host_died(self, host: SimHost) -> None: ...

    def kill(self, host: SimHost) -> None: ...

    def snapshot_of(self, source: NodeId, id: str) -> MachineState | None: ...

    def forget_snapshot(self, source: NodeId, id: str) -> None: ...

    def snapshot_pulled(self, source: NodeId, peer: NodeId, *, ok: bool) -> None: ...


@dataclass(slots=True)
class AwaitedSync:
    """What may happen once the first ``batch_count`` batches are durable."""

    batch_count: int
    token: Token | None
    messages: list[Message]


class SimHost:
    """``start`` gives it a life, ``crash`` ends it; disk and machine outlive both."""

    def __init__(self, world: Surroundings, node: NodeId, membership: Membership | None) -> None:
        faults = world.swarm.faults
        self.node = node
        self.shard = ShardId(world.swarm.core.shard)
        self.life = 0
        self.paused = False
        self.disk = SimDisk(world.rng, faults.sync_us, faults.slow_sync, faults.sync_failure)
        self.machine = SimMachine()
        self.snapshots: dict[str, MachineState] = {}
        self.replica: Replica | None = None
        self._snapshot_count = 0
        self._world = world
        self._clock_offset = world.rng.randint(0, 10**9) if faults.clock_skew else 0
        self._clock_rate_ppm = world.rng.randint(*CLOCK_RATES_PPM) if faults.clock_skew else 1_000_000
        self.disk.store.bootstrap(self.shard, node, membership)
        self._forget()

    def _forget(self) -> None:
        """What only a running process knows."""
        self._inbox: list[bytes] = []
        self._awaiting: deque[AwaitedSync] = deque()
        self._apply_queue: deque[Entry] = deque()
        self._needed_batches = self.disk.store.written_count
        self._is_syncing = False
        self._has_turn = False
        self._is_applying = False
        self._wake_at = 0
        self._pulling: SnapshotMeta | None = None
        self._shown: tuple[int, ...] = ()

    # -- life and death

    def start(self) -> None:
        self.life += 1
        self._finish_install()
        self._forget()
        world = self._world
        recovered = self.recover()
        core = RaftCore(world.swarm.core, recovered, Random(world.rng.getrandbits(64)))
        self.replica = Replica(core, world.swarm.limits)
        self.replica.observe(self.local_time())
        world.invariants.started(self, core)
        world.trace.note(world.now, "start", self.node)
        self._finish_turn()

    def recover(self) -> Recovered:
        """What a restart finds on disk."""
        return self.disk.store.recover(
            self.shard, self.node, self.machine.applied, self._world.swarm.core.tail_bytes_max
        )

    def crash(self) -> None:
        """Power is lost: unsynced batches and unflushed state go, as far as chance has it."""
        self._world.trace.note(self._world.now, "crash", self.node)
        self.replica = None
        self.paused = False
        self.life += 1
        self.snapshots.clear()
        self.disk.crash()
        self.machine.crash(self._world.rng)
        self._world.host_died(self)

    def stop(self) -> None:
        """The process ends in order: every call is answered, everything is synced."""
        if self.replica is not None:
            self.replica.stop()
            self.disk.store.sync()
            self.machine.sync()

    def pause(self) -> None:
        """The process stands still while its clock, its disk and its network go on."""
        self.paused = True
        self._world.trace.note(self._world.now, "pause", self.node)

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self._world.trace.note(self._world.now, "resume", self.node)
            self._has_turn = False
            self.need_turn()

    # -- the host's clock

    def local_time(self) -> Instant:
        return Instant(self._clock_offset + self._world.now * self._clock_rate_ppm // 1_000_000)

    def _true_time(self, local: Instant) -> int:
        return (local - self._clock_offset) * 1_000_000 // self._clock_rate_ppm + 1

    # -- turns

    def receive(self, frame: bytes) -> None:
        if self.replica is not None:
            self._inbox.append(frame)
            self.need_turn()

    def peer_is_down(self, peer: NodeId) -> None:
        """The transport could not deliver."""
        if self.replica is not None and not self.paused:
            self.replica.unreachable(peer)
            self.need_turn()

    def need_turn(self) -> None:
        """Take a turn soon; what arrives until then is part of it."""
        if not self._has_turn and not self.paused:
            self._has_turn = True
            self._in_this_life(self._world.rng.randint(0, 200), self._turn)

    def _turn(self) -> None:
        self._has_turn = False
        replica = self.replica
        if replica is None or self.paused:
            return
        replica.observe(self.local_time())
        self._release_persisted(replica)
        inbox, self._inbox = self._inbox, []
        for frame in inbox:
            for message in decode_frame(frame):
                try:
                    replica.step(message)
                except RemoteError as error:
                    self._world.trace.note(self._world.now, "refused", self.node, str(error))
        replica.expire()
        self._finish_turn()

    def _finish_turn(self) -> None:
        """Carry out whatever the replica wants by now, and look at it with the eyes of the checkers."""
        replica = self.replica
        if replica is None:
            return
        while (turn := replica.turn()) is not None:
            self.carry_out(turn)
            if self._world.swarm.faults.single_turns:
                self.need_turn()
                break
            self._release_persisted(replica)
        core = replica.core
        self._world.invariants.after(self, core)
        shown = (
            core.term,
            core.role,
            core.commit,
            core.applied,
            core.last_index,
            core.durable,
            core.leader,
        )
        if shown != self._shown:
            self._shown = shown
            self._world.trace.note(self._world.now, "state", self.node, shown)
        self._set_alarm(replica)

    def _set_alarm(self, replica: Replica) -> None:
        at = max(self._world.now + 1, self._true_time(replica.deadline()))
        if not self._wake_at or at < self._wake_at:
            self._wake_at = at
            self._in_this_life(at - self._world.now, lambda: self._alarm(at))

    def _alarm(self, at: int) -> None:
        if at != self._wake_at:
            return
        self._wake_at = 0
        replica = self.replica
        if replica is None or self.paused:
            return
        if self._true_time(replica.deadline()) > self._world.now:
            self._set_alarm(replica)
        else:
            self.need_turn()

    # -- carrying out a turn, in its order

    def carry_out(self, turn: Turn) -> None:
        self.send(turn.messages)
        if turn.write is not None:
            store = self.disk.store
            self._world.invariants.writing(self, store.image(self.shard, self.node), turn.write)
            store.write([(self.shard, self.node, turn.write)])
            if turn.write.must_sync:
                self._needed_batches = store.written_count
        if turn.write is not None or turn.after_persist:
            token = turn.write.token if turn.write is not None else None
            self.await_sync(AwaitedSync(self._needed_batches, token, turn.after_persist))
        if turn.apply:
            self._apply_queue.extend(turn.apply)
            self._apply_soon()
        for load in turn.loads:
            self._load_soon(load)
        if turn.snapshot is not None:
            self._snapshot_soon(turn.snapshot)

    def send(self, messages: list[Message]) -> None:
        if messages:
            for message in messages:
                self._world.invariants.sent(self, message)
            self._world.network.send(self._world.now, self.node, messages)

    def await_sync(self, awaiting: AwaitedSync) -> None:
        self._awaiting.append(awaiting)
        self._sync_soon()

    def _sync_soon(self) -> None:
        store = self.disk.store
        if not self._is_syncing and self._needed_batches > store.synced_count:
            self._is_syncing = True
            written = store.written_count
            self._in_this_life(self.disk.sync_duration_us(), lambda: self._synced(written))

    def _synced(self, batch_count: int) -> None:
        """A sync covers the batches that were written when it began."""
        if self.disk.sync_fails():
            self._sync_failed()
            return
        self._is_syncing = False
        self.disk.store.sync_to(batch_count)
        self._sync_soon()
        self.need_turn()

    def _sync_failed(self) -> None:
        """What the disk holds is not known any more: the process ends, and nothing leaves it."""
        self._world.trace.note(self._world.now, "sync failed", self.node)
        self._world.kill(self)

    def _release_persisted(self, replica: Replica) -> None:
        synced = self.disk.store.synced_count
        while self._awaiting and self._awaiting[0].batch_count <= synced:
            awaiting = self._awaiting.popleft()
            self.send(awaiting.messages)
            if awaiting.token is not None:
                replica.persisted(awaiting.token)

    # -- applying, in slices

    def _apply_soon(self) -> None:
        if not self._is_applying and self._apply_queue:
            self._is_applying = True
            scale = 20_000 if self._world.swarm.faults.slow_apply else 100
            self._in_this_life(self._world.rng.randint(0, scale), self._apply)

    def _apply(self) -> None:
        self._is_applying = False
        replica = self.replica
        if replica is None or not self._apply_queue:
            return
        if self.paused:
            self._apply_soon()
            return
        queue = self._apply_queue
        slice_count = self._world.rng.randint(1, len(queue))
        entries = [queue.popleft() for _ in range(slice_count)]
        results = self.machine.apply(entries)
        self._world.invariants.applied(self, entries)
        replica.observe(self.local_time())
        replica.applied(entries[-1].index, results)
        self._apply_soon()
        self._finish_turn()

    # -- reading the log back, compaction

    def _load_soon(self, load: LoadEntries) -> None:
        self._in_this_life(self._world.rng.randint(1, 5_000), lambda: self._load(load))

    def _load(self, load: LoadEntries) -> None:
        replica = self.replica
        if replica is None:
            return
        if self.paused:
            self._load_soon(load)
            return
        replica.observe(self.local_time())
        entries = self.disk.store.entries(self.shard, self.node, load.lo, load.hi, load.bytes_max)
        replica.loaded(load, entries)
        self._finish_turn()

    def compact(self) -> None:
        """Flush some of the state, and drop the log below it but for a random rest."""
        replica = self.replica
        if replica is None or self.paused:
            return
        rng = self._world.rng
        flushed = self.machine.flush(rng)
        first = Index(flushed + 1 - rng.choice((0, 0, 5, 30)))
        if first > self.disk.store.image(self.shard, self.node).first_index:
            self._world.trace.note(self._world.now, "compact", self.node, f"below {first}")
            self.disk.store.compact(self.shard, self.node, first)
            replica.compacted(first)
            self._finish_turn()

    # -- snapshots

    def _snapshot_soon(self, wanted: SnapshotWanted | InstallSnapshot) -> None:
        rng = self._world.rng
        if isinstance(wanted, SnapshotWanted):
            self._in_this_life(rng.randint(1, 50_000), lambda: self._make_snapshot(wanted.peer))
        else:
            self._pulling = wanted.meta
            self._pull_soon(wanted, 0)

    def _make_snapshot(self, peer: NodeId) -> None:
        replica = self.replica
        if replica is None:
            return
        index = self.machine.sync()
        image = self.disk.store.image(self.shard, self.node)
        term, config = image.term_at(index), image.membership_at(index)
        meta = None
        if term is not None and config is not None and not self._loses_snapshot():
            self._snapshot_count += 1
            id = f"{self.node}-{index}-{self._snapshot_count}"
            meta = SnapshotMeta(index, Term(term), config[1], config[0], id)
            self.snapshots[id] = self.machine.state()
        self._world.trace.note(self._world.now, "snapshot", self.node, f"for {peer} at {index}")
        replica.snapshot_ready(peer, meta)
        self.need_turn()

    def _loses_snapshot(self) -> bool:
        return self._world.rng.random() < self._world.swarm.faults.snapshot_loss

    def _pull_soon(self, wanted: InstallSnapshot, attempt: int) -> None:
        delay = self._world.rng.randint(1_000, 100_000)
        self._in_this_life(delay, lambda: self._pull(wanted, attempt))

    def _pull(self, wanted: InstallSnapshot, attempt: int) -> None:
        replica = self.replica
        if replica is None or self._pulling != wanted.meta:
            return
        if replica.core.installing != wanted.meta:
            self._pulling = None
            return
        state = None
        if not self.paused and self._world.network.connected(self.node, wanted.source):
            state = self._world.snapshot_of(wanted.source, wanted.meta.id)
            if state is not None and self._loses_snapshot():
                self._world.forget_snapshot(wanted.source, wanted.meta.id)
                state = None
        if state is None:
            # The core asks for a snapshot once: whoever pulls goes on for as long as it is wanted.
            self._pull_soon(wanted, attempt + 1)
            if attempt % _PULL_ATTEMPTS == _PULL_ATTEMPTS - 1:
                self._world.snapshot_pulled(wanted.source, self.node, ok=False)
            return
        self._pulling = None
        replica.observe(self.local_time())
        if self._install(replica, wanted.meta, state):
            self._world.snapshot_pulled(wanted.source, self.node, ok=True)
            self._finish_turn()

    def _install(self, replica: Replica, meta: SnapshotMeta, state: MachineState) -> bool:
        """Replace state and log under a marker on disk; False when the process died at one of the steps."""
        self._world.trace.note(self._world.now, "install", self.node, f"{meta.id} at {meta.index}")
        self._world.invariants.installing(self, replica.core, meta)
        store = self.disk.store
        self.disk.received = state
        store.begin_install(self.shard, self.node, meta)
        store.sync()
        if self._dies_installing():
            return False
        self.machine.install(state)
        if self._dies_installing():
            return False
        store.install(self.shard, self.node, meta)
        if self._dies_installing():
            return False
        self._needed_batches = store.written_count
        self._apply_queue.clear()
        replica.snapshot_installed(meta)
        return True

    def _dies_installing(self) -> bool:
        dies = self._world.rng.random() < self._world.swarm.faults.install_crash
        if dies:
            self._world.kill(self)
        return dies

    def _finish_install(self) -> None:
        """What an earlier life began and has marked on disk."""
        store = self.disk.store
        meta = store.pending_install(self.shard, self.node)
        if meta is None or self.disk.received is None:
            return
        if self.machine.applied < meta.index:
            self.machine.install(self.disk.received)
        store.install(self.shard, self.node, meta)

    def _in_this_life(self, delay_us: int, action: Callable[[], None]) -> None:
        """Do something later, unless the process has died by then."""
        life = self.life

        def act() -> None:
            if self.life == life:
                action()

        self._world.schedule(delay_us, act)

    @property
    def leads(self) -> bool:
        return self.replica is not None and self.replica.core.role is Role.LEADER
