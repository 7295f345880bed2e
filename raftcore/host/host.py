"""The asyncio driver of a host's replicas: one loop turn, one write, one flusher thread.

A turn: tell every replica the time; step what arrived; fire timers; drain what each asks for: send, write
once for all shards, and, when that is durable, send the rest. Entries are applied in slices of bounded time
between turns. Nothing here costs anything per command.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from raftcore.core.errors import NotAccepted, NotLeader, RemoteError
from raftcore.core.messages import Append, Message
from raftcore.core.ready import LoadEntries, WriteSet
from raftcore.core.types import Entry, Index, Instant, Role, ShardId
from raftcore.host.admission import FIRST_SHARD
from raftcore.host.calls import Calls
from raftcore.host.compaction import Upkeep
from raftcore.host.config import HostConfig
from raftcore.host.formation import Formation
from raftcore.host.gathering import GatheredCommands
from raftcore.host.log_writer import LogWriter
from raftcore.host.members import Members
from raftcore.host.replicas import MachineFactory, Replicas, now
from raftcore.host.runner import ReplicaRunner
from raftcore.host.saturation import HostReport, Saturation, Shares, report_on
from raftcore.host.snapshots import Snapshots
from raftcore.replica.turn import Done, ReadDone, ReplicaStatus
from raftcore.storage.log_store import RocksLogStore
from raftcore.transport.base import Claim, Hello, Invitation, Refused, TransportCounts
from raftcore.transport.grpc_transport import GrpcTransport, GrpcTransportConfig

__all__ = ["Host", "HostConfig"]

log = structlog.get_logger()

_HEADS_BYTES = 1 << 20
"""More than whatever a message has beside its entries."""


class Host(Calls):
    """Runs replicas of shards; also the `Receiver` of its transport. Every method belongs to its loop."""

    fatal: asyncio.Future[None]
    """Ends, with the error, when storage or a state machine failed: the process must exit."""

    def __init__(self, config: HostConfig, machine_factory: MachineFactory) -> None:
        self.config = config
        self.saturation = Saturation()
        self.transport = GrpcTransport(
            GrpcTransportConfig(
                name=config.name,
                address=config.address,
                listen=config.listen,
                message_bytes_max=max(config.core.append_bytes_max, config.core.entry_bytes_max)
                + _HEADS_BYTES,
                server_credentials=config.server_credentials,
                channel_credentials=config.channel_credentials,
                services=config.services,
            )
        )
        self._members = Members(self)
        self._gathered = GatheredCommands(self.propose)
        self._formation = Formation(self)
        self.snapshots = Snapshots(self)
        self.transport.serve_snapshots(self.snapshots.outgoing)
        self.upkeep = Upkeep(self)
        self._replicas = Replicas(self, machine_factory)
        self.runners = self._replicas.runners
        self._lifecycle = asyncio.Lock()
        self._running = False
        self._inbox: list[Message] = []
        self._lost: set[str] = set()
        self._turn_pending = False
        self._apply_pending = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Instant = Instant(0)
        self._role_callbacks: list[Callable[[ReplicaStatus], None]] = []
        self._apply_callbacks: list[Callable[[Sequence[Entry]], None]] = []
        self._install_callbacks: list[Callable[[Index], None]] = []

    async def start(self, bootstrap: bool = False) -> None:
        """Open the log, listen, and run this host's replicas.

        With ``bootstrap`` a fresh host soon forms a cluster of one, see `Formation`; otherwise it waits to be
        invited.

        :raises StorageError: when log or state cannot be opened, or do not fit each other.
        :raises OSError: when the address cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self.fatal = self._loop.create_future()
        self.store = RocksLogStore(self.config.data_dir)
        self._writer = LogWriter(
            self.store,
            self._part_durable,
            self._advanced,
            self.fail,
            retry_s=self.config.write_retry_ms / 1000,
            name=f"flusher of {self.config.name}",
        )
        self._writer.start()
        try:
            self.snapshots.start()
            await self._replicas.recover()
            self._running = True
            await self.transport.start(self)
        except BaseException:
            self._running = False
            await self._close()
            raise
        self.upkeep.start()
        if bootstrap and not self.cluster_id:
            self._formation.start()
        self.need_turn()
        log.info("host_started", name=self.config.name, cluster=self.cluster_id, address=self.config.address)

    async def stop(self) -> None:
        """Hand leadership over, end every call, make state and log durable, and close them."""
        async with self._lifecycle:
            if not self._running:
                return
            await self.hand_over()
            self._running = False
        await self._formation.stop()
        await self.upkeep.stop()
        if self._timer is not None:
            self._timer.cancel()
        await self._close()
        log.info("host_stopped", name=self.config.name)

    @property
    def cluster_id(self) -> str:
        """The cluster's id; empty while this host belongs to none."""
        identity = self._replicas.identity
        return identity.cluster_id if identity is not None else ""

    def propose(self, command: bytes, done: Done, shard: ShardId = FIRST_SHARD) -> None:
        """Replicate ``command``; ``done`` is called exactly once.

        :raises NotAccepted: at once; ``done`` is then never called.
        """
        try:
            self._runner(shard).replica.propose(command, done)
        except NotAccepted as error:
            self.saturation.refused[type(error).__name__] += 1
            raise
        if not self._turn_pending:
            self.need_turn()

    def read(self, done: ReadDone, shard: ShardId = FIRST_SHARD) -> None:
        """``done`` is called exactly once, with an index that is applied here and covers all that was
        acknowledged before this call. :raises NotAccepted: at once.
        """
        self._runner(shard).replica.read(done)
        self.need_turn()

    async def hand_over(self) -> None:
        """Before a stop: leave leadership to somebody who is there, if anybody is."""
        if self._running and not self.fatal.done():
            await self._members.hand_over(self.config.stop_timeout_s)

    def status(self, shard: ShardId = FIRST_SHARD) -> ReplicaStatus | None:
        """The replica seen from outside; None while this host is not a member of anything."""
        runner = self.runners.get(shard)
        return None if runner is None else runner.replica.status()

    def silence_us(self, shard: ShardId = FIRST_SHARD) -> int | None:
        """For how long the replica has heard no leader or, leading, no quorum; 0 for up to two heartbeats.

        None while it has heard none since its start, and where this host is not a member of anything.
        """
        runner = self.runners.get(shard)
        if runner is None or not runner.replica.core.contact:
            return None
        core = runner.replica.core
        silence_us = now() - core.contact
        return silence_us if silence_us > 2 * core.config.heartbeat_interval_us else 0

    def counts(self) -> TransportCounts:
        return self.transport.counts

    def shares(self) -> Shares:
        """How busy the loop, the applier and the flusher were since the last call."""
        return self.saturation.shares(self._writer.take_syncs_s())

    async def report(self, shard: ShardId = FIRST_SHARD) -> HostReport:
        """Lag, snapshots and disk. :raises NotLeader: while this host is not a member of anything."""
        return await report_on(self, self._runner(shard))

    def on_role_change(self, callback: Callable[[ReplicaStatus], None]) -> None:
        """Call ``callback`` on the loop whenever role, term or leader changed."""
        self._role_callbacks.append(callback)

    def on_apply(self, callback: Callable[[Sequence[Entry]], None]) -> None:
        """Call ``callback`` on the loop with entries, in order, after they are applied."""
        self._apply_callbacks.append(callback)

    def on_install(self, callback: Callable[[Index], None]) -> None:
        """Call ``callback`` on the loop with the applied index when a snapshot has replaced the state."""
        self._install_callbacks.append(callback)

    def entries(self, lo: Index, bytes_max: int, shard: ShardId = FIRST_SHARD) -> list[Entry] | None:
        """Applied entries from ``lo`` on, up to ``bytes_max``; None when they are compacted away."""
        runner = self._runner(shard)
        return self.store.entries(shard, runner.node, lo, Index(runner.applied + 1), bytes_max)

    async def checkpoint(self, path: Path, shard: ShardId = FIRST_SHARD) -> Index:
        """Copy the state to the new directory ``path``; returns its applied index."""
        runner = self._runner(shard)
        try:
            return await runner.checkpoint(path)
        finally:
            self.need_apply()

    def member_runner(self, shard: ShardId = FIRST_SHARD) -> ReplicaRunner:
        """The replica, and a turn soon after. :raises NotLeader: while this host has none."""
        runner = self._runner(shard)
        self.need_turn()
        return runner

    def receive(self, messages: Sequence[Message], source: str) -> None:
        """Take messages of a frame from another host."""
        for message in messages:
            runner = self.runners.get(message.shard)
            if runner is None or message.dst != runner.node:
                self.transport.counts.messages_dropped += 1
                continue
            runner.learn(message, source)
            self._inbox.append(message)
        self.need_turn()

    def unreachable(self, address: str) -> None:
        """Note that something sent to ``address`` was lost."""
        self._lost.add(address)
        self.need_turn()

    def hello(self) -> Hello:
        return Hello(self.config.name, self.cluster_id)

    def name_of(self, address: str) -> str:
        """What the member at ``address`` is called; empty when no membership known here has one there."""
        members = (each.replica.core.membership.members for each in self.runners.values())
        return next((member.name for some in members for member in some if member.address == address), "")

    def claimed(self, claim: Claim) -> None:
        """Another cluster counts on this host: see `Formation`."""
        self._formation.claimed(claim)

    async def form(self) -> None:
        """Form a cluster of this host, unless it belongs to one by now."""
        async with self._lifecycle:
            if self._running:
                await self._replicas.form()
        self.need_turn()

    async def invited(self, invitation: Invitation) -> None:
        """Become the replica that another cluster member invites this host to be; durable on return.

        :raises Refused: when this host belongs elsewhere, has another name, a newer replica, or one that does
            not know that it is removed.
        """
        await self._replicas.parted(invitation)
        async with self._lifecycle:
            if not self._running:
                raise Refused(f"{self.config.name} is stopping")
            await self._replicas.join(invitation)
        self.need_turn()

    def _runner(self, shard: ShardId) -> ReplicaRunner:
        runner = self.runners.get(shard)
        if runner is None or not self._running or self.fatal.done():
            raise NotLeader
        return runner

    async def _close(self) -> None:
        await self.snapshots.stop()
        await self.transport.stop()
        await self._writer.stop()
        await self._replicas.close(sync=not self.fatal.done())
        self.store.close()

    def need_turn(self) -> None:
        if not self._turn_pending:
            self._turn_pending = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn_pending = False
        if not self._running or self.fatal.done():
            return
        begun_s = time.perf_counter()
        try:
            self._turn()
        except Exception as error:
            self.fail(error)
        self.saturation.turns_s += time.perf_counter() - begun_s

    def _turn(self) -> None:
        time_us = now()
        runners = self.runners
        for runner in runners.values():
            runner.replica.observe(time_us)
            if not runner.frozen:
                self.saturation.listen(runner.replica.core)
        if self._inbox:
            self._step_inbox()
        if self._lost:
            self._tell_unreachable()
        writer = self._writer
        for runner in runners.values():
            if runner.frozen:
                continue
            runner.replica.expire()
            turn = runner.replica.turn()
            if turn is None:
                continue
            if turn.membership_changed:
                self._note_membership(runner)
            self._send(runner, turn.messages)
            if turn.write is not None or turn.after_persist:
                writer.add(runner, turn.write, turn.after_persist)
            if turn.apply:
                runner.enqueue(turn.apply)
            for request in turn.loads:
                self._load(runner, request)
            if turn.snapshot is not None:
                self.snapshots.wanted(runner, turn.snapshot)
                # There may be more: a turn carries one.
                self.need_turn()
            if turn.role_changed:
                self._note_role(runner)
        writer.commit()
        self.transport.flush()
        self.need_apply()
        self._arm_timer(time_us)

    def _step_inbox(self) -> None:
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            runner = self.runners.get(message.shard)
            if runner is None or message.dst != runner.node:
                continue
            if runner.frozen:
                if (reply := runner.replica.core.answer_standing_still(message)) is not None:
                    self._send(runner, [reply])
                elif not runner.defer(message):
                    self.transport.counts.messages_dropped += 1
                continue
            try:
                runner.replica.step(message)
            except RemoteError as error:
                self.transport.counts.messages_dropped += 1
                log.debug("message_refused", kind=type(message).__name__, src=message.src, error=str(error))

    def _tell_unreachable(self) -> None:
        lost, self._lost = self._lost, set()
        for runner in self.runners.values():
            for node, address in runner.routes.items():
                if address in lost:
                    runner.replica.unreachable(node)

    def _send(self, runner: ReplicaRunner, messages: Sequence[Message]) -> None:
        for message in messages:
            address = runner.address_of(message.dst)
            if address is None:
                self.transport.counts.messages_dropped += 1
            else:
                # An empty Append only tells that the commit index moved: alone it would double the frames.
                urgent = type(message) is not Append or bool(message.entries)
                self.transport.send(address, message, urgent=urgent)

    def _load(self, runner: ReplicaRunner, request: LoadEntries) -> None:
        entries = self.store.entries(runner.shard, runner.node, request.lo, request.hi, request.bytes_max)
        runner.replica.loaded(request, entries)
        self.need_turn()

    def _arm_timer(self, time_us: Instant) -> None:
        live = (runner for runner in self.runners.values() if not runner.frozen)
        deadline = min((runner.replica.deadline() for runner in live), default=None)
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        # At least a millisecond: some loops round timers down, and a turn too early does nothing.
        self._timer = self._loop.call_later(max((deadline - time_us) / 1e6, 0.001), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        late_us = now() - self._timer_at
        if late_us > self.config.core.heartbeat_interval_us:
            self.saturation.stalls += 1
            log.warning("loop_stalled", name=self.config.name, late_ms=late_us // 1000)
        if not self._turn_pending:
            self._take_turn()

    def _part_durable(
        self, runner: ReplicaRunner, write: WriteSet | None, after_persist: list[Message]
    ) -> None:
        self._send(runner, after_persist)
        if write is not None:
            runner.replica.persisted(write.token)
        self.need_turn()

    def _advanced(self) -> None:
        if not self._turn_pending:
            self._take_turn()

    async def log_durable(self) -> None:
        """Wait until all that the log store was given is durable. :raises StorageError:"""
        await self._writer.durable()

    async def freeze(self, runner: ReplicaRunner) -> bool:
        """Carry out all that the replica asks for, then leave it alone; False when the host stops."""
        while self._running and not self.fatal.done():
            self._take_turn()
            if not self._writer.holds(runner):
                runner.frozen = True
                return True
            await asyncio.sleep(self.config.write_retry_ms / 1000)
        return False

    def thaw(self, runner: ReplicaRunner) -> None:
        """Go on with a replica that was frozen."""
        runner.frozen = False
        self._inbox[:0] = runner.deferred
        runner.deferred.clear()
        self.need_turn()

    def snapshot_installed(self, runner: ReplicaRunner) -> None:
        """Tell the listeners that a replica has another state and another log."""
        self.upkeep.replaced(runner.shard)
        for callback in self._install_callbacks:
            callback(runner.applied)
        self.need_apply()

    def fail(self, error: BaseException) -> None:
        """End every call; answer, acknowledge and send nothing any more."""
        if self.fatal.done():
            return
        log.critical("host_failed", name=self.config.name, error=f"{type(error).__name__}: {error}")
        self.fatal.set_exception(error)
        self.fatal.exception()
        for runner in self.runners.values():
            try:
                runner.replica.stop()
            except Exception as failure:
                log.error("replica_not_stopped", shard=runner.shard, error=str(failure))

    def need_apply(self) -> None:
        if not self._apply_pending and any(runner.can_apply for runner in self.runners.values()):
            self._apply_pending = True
            self._loop.call_soon(self._apply)

    def _apply(self) -> None:
        self._apply_pending = False
        if not self._running or self.fatal.done():
            return
        begun_s = time.perf_counter()
        until_s = begun_s + self.config.apply_slice_ms / 1000
        try:
            for runner in self.runners.values():
                if runner.can_apply:
                    entries = runner.apply(until_s, self.config.apply_chunk_bytes)
                    if runner.stalled:
                        self._loop.call_later(self.config.write_retry_ms / 1000, self._resume, runner)
                    if not entries:
                        continue
                    self.upkeep.applied(runner)
                    for callback in self._apply_callbacks:
                        callback(entries)
        except Exception as error:
            self.fail(error)
            return
        self.saturation.applying_s += time.perf_counter() - begun_s
        if not self._turn_pending:
            self._take_turn()

    def _resume(self, runner: ReplicaRunner) -> None:
        runner.resume()
        self.need_apply()

    def _note_membership(self, runner: ReplicaRunner) -> None:
        runner.set_membership(runner.replica.status().membership)
        self.transport.retain({address for each in self.runners.values() for address in each.routes.values()})

    def _note_role(self, runner: ReplicaRunner) -> None:
        status = runner.replica.status()
        log.info(
            "role_changed",
            name=self.config.name,
            shard=runner.shard,
            role=Role(status.role).name,
            term=status.term,
            leader=status.leader,
        )
        for callback in self._role_callbacks:
            callback(status)
