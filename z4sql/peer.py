"""One peer: replicated log and state, gRPC services, the SQL process beside it, metrics."""

from __future__ import annotations

import asyncio
import gc
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import prometheus_client
import structlog
import uvloop

from raftcore.core.errors import Corrupt, LogLost, StorageError
from raftcore.core.types import Entry, Index, NodeId, ShardId
from raftcore.host.config import FORMATION_WAIT_S, HostConfig
from raftcore.host.host import Host
from raftcore.host.replicas import state_directory
from raftcore.replica.turn import ReplicaStatus
from raftcore.storage.directory import directory_bytes
from raftcore.storage.kv import Store
from raftcore.transport.base import CannotListen
from z4sql.access.file import AccessFileError
from z4sql.allocator import keep_freed_memory
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.admin import Admin
from z4sql.api.changing import Changing
from z4sql.api.check import Check
from z4sql.api.collection import Collection
from z4sql.api.creator import Creator
from z4sql.api.leadership import Leadership
from z4sql.api.live import Live, OwnCall
from z4sql.api.methods import Methods
from z4sql.api.namespaces import Namespaces
from z4sql.api.passing import Passing
from z4sql.api.queue import Queue
from z4sql.api.registration import Registration
from z4sql.api.server import ApiServer, PortTaken
from z4sql.config import PREFIX, Settings
from z4sql.delivery.dispatcher import Dispatcher
from z4sql.feed import Feed
from z4sql.host_watch import HostWatch
from z4sql.security import Security
from z4sql.sql.supervisor import SqlSupervisor
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import MemberAddresses
from z4sql.tasks.reader import TaskReader
from z4sql.telemetry import Metrics, configure_logging

_GRACE_S = 2.0
_REGISTER_TIMEOUT_S = 2.0
_DISK_S = 10

_log = structlog.get_logger()


class Unusable(Exception):
    """A setting's port or directory cannot be used; the message names the setting."""


def wall_clock_us() -> int:
    return time.time_ns() // 1000


def run(
    settings: Settings,
    *,
    now_us: Callable[[], int] = wall_clock_us,
    formation_wait_s: float = FORMATION_WAIT_S,
) -> int:
    """Run a peer until SIGTERM, SIGINT or a fatal error; returns the exit code. For the rest see `Peer`."""
    configure_logging(debug=settings.debug_logging_enabled)
    keep_freed_memory()
    # What was imported stays, and calls leave few cycles: the collector's usual pace costs 8 % of a call.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        return uvloop.run(_serve(settings, now_us, formation_wait_s))
    except (Unusable, StorageError, AccessFileError, OSError) as problem:
        print(f"z4 server: {problem}{_remedy(problem)}", file=sys.stderr)
        return 1


async def _serve(settings: Settings, now_us: Callable[[], int], formation_wait_s: float) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        loop.add_signal_handler(number, stopping.set)
    peer = Peer(settings, now_us=now_us, formation_wait_s=formation_wait_s)
    try:
        await peer.start()
        peer.host.fatal.add_done_callback(lambda _: stopping.set())
        await stopping.wait()
    finally:
        await peer.stop()
    if not peer.host.fatal.done():
        return 0
    problem = peer.host.fatal.exception()
    print(f"z4 server: {problem}{_remedy(problem)}", file=sys.stderr)
    return 1


def _remedy(problem: BaseException | None) -> str:
    """What an operator does about damaged data, which a restart does not cure."""
    if not isinstance(problem, Corrupt | LogLost):
        return ""
    return (
        "; this peer's data is damaged and nothing of it was changed: while the others have a majority, "
        "`z4t remove-peer` it, delete its two data directories, start it, and `z4t add-peer` it again"
    )


@contextmanager
def _using(setting: str, what: str = "", *, of: type[OSError] = OSError) -> Iterator[None]:
    """Name the setting that a failure comes from. :raises Unusable:"""
    try:
        yield
    except (PortTaken, of) as problem:
        told = f"{what}: {problem}" if what else str(problem)
        raise Unusable(f"{PREFIX}{setting.upper()}: {told}") from None


class State:
    """The machine of the replica that this host runs now; none while it is a member of nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.machine: TaskMachine | None = None
        self.replica = NodeId(0)

    def machine_for(self, shard: ShardId, node: NodeId) -> TaskMachine:
        """A machine in a directory of the replica's own; what former replicas left is removed."""
        self.replica = node
        self.machine = TaskMachine(state_directory(self._directory, shard, node))
        return self.machine

    def reader(self) -> TaskReader | None:
        store = self.store()
        return None if store is None else TaskReader(store)

    def store(self) -> Store | None:
        """None also for the moment in which a snapshot takes its place."""
        return self.machine.store if self.machine is not None and self.machine.is_open else None

    def clock_us(self) -> int:
        return 0 if self.machine is None else self.machine.clock_us

    def applied_index(self) -> int:
        return 0 if self.machine is None else self.machine.applied_index

    def snapshot_at_s(self) -> float:
        return 0.0 if self.machine is None else self.machine.snapshot_at_s

    def service_address_of(self, name: str) -> str:
        reader = self.reader()
        addresses = reader.member(name) if reader else None
        return addresses.service_address if addresses else ""


class _Clock:
    """The leader's clock."""

    def __init__(self, builder: CommandBuilder, now_us: Callable[[], int]) -> None:
        self.stamp_us = builder.stamp_us
        self.wall_us = now_us


class _FeedSource:
    """The feed's view of this peer."""

    def __init__(
        self, host: Host, state: State, live: Live, now_us: Callable[[], int] = wall_clock_us
    ) -> None:
        self._host = host
        self._state = state
        self._live = live
        self._now_us = now_us
        self._in_touch_s = 0.0

    def identity(self) -> tuple[str, int]:
        return self._host.cluster_id, self._state.replica

    def applied(self) -> int:
        return self._state.applied_index()

    def entries(self, lo: Index, bytes_max: int) -> list[Entry] | None:
        return self._host.entries(lo, bytes_max)

    async def checkpoint(self, path: Path) -> Index:
        return await self._host.checkpoint(path)

    async def barrier(self, timeout_s: float) -> Index:
        return await self._host.barrier(timeout_s)

    def silence_ms(self) -> int:
        """Who was never in touch since the start may miss all since the newest write known here."""
        at_s, silence_us = time.monotonic(), self._host.silence_us()
        if silence_us is not None:
            # A leader that steps down forgets when it last had a quorum.
            self._in_touch_s = max(self._in_touch_s, at_s - silence_us / 1_000_000)
        if self._in_touch_s:
            return int((at_s - self._in_touch_s) * 1000)
        known_us = self._state.clock_us()
        return max(0, self._now_us() - known_us) // 1000 if known_us else 0

    async def rows(self, table: str) -> str:
        return await self._live.rows(table)


class Peer:
    """Everything that one peer runs, started and stopped in order."""

    def __init__(
        self,
        settings: Settings,
        *,
        now_us: Callable[[], int] = wall_clock_us,
        formation_wait_s: float = FORMATION_WAIT_S,
    ) -> None:
        """``now_us``: the clock that tasks are due by; never the one of elections and timeouts.

        ``formation_wait_s``: none where no earlier cluster can have known this peer.
        """
        self._settings = settings
        self._runtime = Path(tempfile.mkdtemp(prefix="z4-"))
        self._security = security = Security(settings)
        self._state = State(settings.db_data_dir)
        self.host = Host(
            HostConfig(
                name=settings.peer_id,
                address=settings.peer_advertise_addr,
                listen=f"{settings.bind_host}:{settings.peer_port}",
                data_dir=settings.peer_data_dir,
                snapshot_dir=settings.db_data_dir / "snapshots",
                formation_wait_s=formation_wait_s,
                server_credentials=security.peer_server_credentials,
                channel_credentials=security.channel_credentials,
            ),
            self._state.machine_for,
        )
        self._metrics = Metrics()
        self._watched = HostWatch(self.host)
        self._leadership = Leadership(
            self.host, self._state.service_address_of, self._state.applied_index, security.dial
        )
        builder = CommandBuilder(now_us, self._state.clock_us)
        self._creator = Creator(self.host, self._leadership, builder)
        self._admin = Admin(
            self.host,
            self._leadership,
            builder,
            self._state.reader,
            lambda: self._watched.latest,
            name=settings.peer_id,
            peer_address=settings.peer_advertise_addr,
        )
        self._check = Check(settings.peer_id, self._state.reader, self._state.applied_index)
        self._collection = Collection(self.host, self._creator, self._state.reader, self._metrics.created)
        self._dispatcher = Dispatcher(
            propose=self.host.propose,
            leads=lambda: self._leadership.leads,
            store=self._state.store,
            clock=_Clock(builder, now_us),
            observer=self._metrics,
            entries=self.host.entries,
            applied_index=self._state.applied_index,
        )
        passing = Passing(self.host, self._leadership)
        self._namespaces = Namespaces(passing, builder, self._state.reader)
        self._changing = Changing(passing, builder, self._state.reader, self._metrics.removed)
        self._queue = Queue(
            self._dispatcher, passing, self._collection, self._changing, self._metrics.streamed
        )
        socket_path = self._runtime / "feed"
        self._live = Live(
            self.host,
            passing,
            self._state.reader,
            self._dispatcher,
            self._leadership.channel,
            name=settings.peer_id,
        )
        self._feed = Feed(
            _FeedSource(self.host, self._state, self._live, now_us),
            socket_path,
            settings.db_data_dir / "sql",
        )
        self._sql = SqlSupervisor(
            socket_path,
            settings.bind_host,
            settings.sql_port,
            security=security.sql_flags(),
            on_counts=self._metrics.queried,
        )
        self._api: ApiServer | None = None
        self._registration: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the state, then the listeners. :raises Unusable: :raises StorageError: :raises OSError:"""
        settings = self._settings
        with _using("db_data_dir"):
            settings.db_data_dir.mkdir(parents=True, exist_ok=True)
        with _using("peer_data_dir"):
            settings.peer_data_dir.mkdir(parents=True, exist_ok=True)
        methods = Methods(self._security.guard, self._metrics.called, self._metrics.took)
        for service in (
            self._admin,
            self._check,
            self._namespaces,
            self._collection,
            self._changing,
            self._queue,
            self._live,
        ):
            service.register(methods)
        address = f"{settings.bind_host}:{settings.service_port}"
        with _using("service_port"):
            self._api = ApiServer(methods, address, self._security.service_credentials)
        self.host.on_role_change(self._on_role_change)
        self.host.on_apply(self._feed.applied)
        self.host.on_install(self._feed.replaced)
        self.host.on_apply(self._dispatcher.applied)
        with _using("metrics_port", f"cannot listen on {settings.metrics_bind_host}:{settings.metrics_port}"):
            prometheus_client.start_http_server(settings.metrics_port, settings.metrics_bind_host)
        await self._feed.start()
        with _using("peer_port", of=CannotListen):
            await self.host.start(settings.bootstrap_cluster)
        await self._api.start()
        await self._sql.start()
        self._registration = asyncio.create_task(self._registering().run())
        self._watch = asyncio.create_task(self._publish())
        _log.info("peer_started", peer=settings.peer_id, service_port=self._api.port)

    async def stop(self) -> None:
        """Refuse new calls, hand leadership over, make the state durable."""
        for task in (self._registration, self._watch):
            if task is not None:
                task.cancel()
        await self._dispatcher.hand_back()
        # Before all else: whoever leads next takes writes while this peer still ends its calls.
        await self.host.hand_over()
        await self._sql.stop()
        await self._dispatcher.close()
        if self._api is not None:
            await self._api.stop(_GRACE_S)
        await self._creator.close()
        await self._feed.stop()
        await self.host.stop()
        await self._leadership.close()
        shutil.rmtree(self._runtime, ignore_errors=True)
        _log.info("peer_stopped", peer=self._settings.peer_id)

    def _on_role_change(self, status: ReplicaStatus) -> None:
        self._metrics.role(status)
        self._dispatcher.role_changed()
        if self._api is not None:
            self._serving = asyncio.create_task(self._api.set_serving(status.leader != 0))

    async def _publish(self) -> None:
        """Copy log positions and how the host stands to the metrics once a second."""
        for second in count():
            if second % _DISK_S == 0:
                await asyncio.to_thread(self._measure_disk)
            status = self.host.status()
            if status is not None:
                self._metrics.positions(status)
            self._metrics.copied(self._state.snapshot_at_s())
            self._metrics.delivering(
                self._dispatcher.consumers_count,
                self._dispatcher.leases_count,
                self._dispatcher.credits_count,
            )
            await self._watched.read()
            await asyncio.sleep(1)

    def _measure_disk(self) -> None:
        settings = self._settings
        state, log = settings.db_data_dir, settings.peer_data_dir
        free_bytes = {
            name: shutil.disk_usage(directory).free for name, directory in (("state", state), ("log", log))
        }
        store = self._state.store()
        errors = None if store is None else store.property_int("rocksdb.background-errors")
        self._metrics.disk(directory_bytes(state), free_bytes, errors or 0)

    def _registering(self) -> Registration:
        settings = self._settings
        own = MemberAddresses(
            name=settings.peer_id,
            peer_address=settings.peer_advertise_addr,
            service_address=settings.advertised(settings.service_port),
            sql_address=settings.advertised(settings.sql_port),
            metrics_address=settings.advertised(settings.metrics_port),
        )

        def known() -> MemberAddresses | None:
            reader = self._state.reader()
            return reader.member(own.name) if reader else None

        async def register(addresses: MemberAddresses) -> None:
            request = pb.MemberAddresses(
                member_id=addresses.name,
                peer_address=addresses.peer_address,
                service_address=addresses.service_address,
                sql_address=addresses.sql_address,
                metrics_address=addresses.metrics_address,
            )
            async with asyncio.timeout(_REGISTER_TIMEOUT_S):
                await self._admin.register_member(request.SerializeToString(), OwnCall(_REGISTER_TIMEOUT_S))

        return Registration(own, known, register)
