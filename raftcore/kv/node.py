"""One node: a raftcore host with its machine, and what clients may ask of it.

Writes go through the leader's log. Reads wait for the host's barrier, so that any member answers them. Who is
not the leader says where the leader is: every new leader writes its address into the replicated state.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

import structlog

from raftcore.core.config import CoreConfig
from raftcore.core.errors import (
    MembershipError,
    NotAccepted,
    NotLeader,
    OutcomeUnknown,
    PayloadTooLarge,
    RaftError,
    ReadFailed,
)
from raftcore.core.types import NodeId, Role, ShardId
from raftcore.host.host import Host, HostConfig
from raftcore.kv.errors import BadRequest, Compacted, NotTheLeader, Refused, Unavailable
from raftcore.kv.machine import KvMachine
from raftcore.kv.messages import (
    AddNode,
    Announce,
    AskInfo,
    Changes,
    Command,
    Done,
    Get,
    Info,
    Items,
    Operation,
    Peer,
    Ping,
    PromoteNode,
    RemoveNode,
    Request,
    Scan,
    Sweep,
    Transfer,
    Watch,
    Write,
    WriteResult,
    check,
    decode,
    encode,
)
from raftcore.kv.tables import MemoryTable, RocksTable

log = structlog.get_logger()

SWEEP_LIMIT = 1_000
"""Keys that one command removes at most: the log never waits long for it."""
WATCH_CHANGES = 1_000
_HOUSEKEEPING_S = 0.2

Answer = WriteResult | Items | Info | Done


@dataclass(slots=True, frozen=True)
class NodeConfig:
    """``peer_address`` is where members reach this node, ``address`` where clients do (host:port)."""

    name: str
    peer_address: str
    address: str
    data_dir: Path
    in_memory: bool = False
    core: CoreConfig = field(default_factory=CoreConfig)
    state_sync_interval_s: float = 60.0
    trailing_entries: int = 10_000
    """How many entries the log keeps below the durable state; who is further behind gets a snapshot."""


class Node:
    """Answers requests; every method belongs to the loop that started it."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.host = Host(
            HostConfig(
                name=config.name,
                address=config.peer_address,
                listen=config.peer_address,
                data_dir=config.data_dir / "log",
                core=config.core,
                state_sync_interval_s=config.state_sync_interval_s,
                trailing_entries=config.trailing_entries,
            ),
            self._make_machine,
        )
        self._machine: KvMachine | None = None
        self._applied = asyncio.Event()
        self._stopping = False

    async def start(self, bootstrap: bool) -> None:
        """:raises StorageError: :raises OSError: as `Host.start`."""
        self.host.on_apply(lambda _entries: self._wake())
        self.host.on_role_change(lambda _status: self._wake())
        await self.host.start(bootstrap)
        self._housekeeping = asyncio.create_task(self._keep_house(), name="kv housekeeping")

    async def stop(self) -> None:
        self._stopping = True
        self._wake()
        self._housekeeping.cancel()
        await asyncio.gather(self._housekeeping, return_exceptions=True)
        await self.host.stop()

    async def answer(self, request: Request, timeout_s: float) -> Answer:
        """Do what a client asks.

        :raises KvError: :raises OutcomeUnknown: see `raftcore.kv.errors`.
        """
        check(request)
        try:
            return await self._answer(request, timeout_s)
        except NotLeader:
            raise NotTheLeader(self._leader_address()) from None
        except PayloadTooLarge as error:
            raise BadRequest(str(error)) from None
        except MembershipError as error:
            raise Refused(str(error)) from None
        except (NotAccepted, ReadFailed) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from None

    async def watch(self, request: Watch) -> AsyncIterator[Changes]:
        """Changes as they are applied here, until the caller or the node stops.

        :raises Compacted: the watcher asks for, or fell back behind, what is kept.
        :raises Unavailable: this node is no member.
        """
        check(request)
        from_index = request.from_index
        while not self._stopping:
            with self._reading() as state:
                found = state.changes(from_index, WATCH_CHANGES)
                if found is None:
                    raise Compacted(state.first_index)
            if found.index >= from_index:
                from_index = found.index + 1
                matching = tuple(each for each in found.changes if each.key.startswith(request.prefix))
                if matching:
                    yield Changes(found.index, matching)
                # A long way back is walked without holding up anybody.
                await asyncio.sleep(0)
                continue
            await self._woken()

    async def _answer(self, request: Request, timeout_s: float) -> Answer:
        match request:
            case Write(request_id, operation):
                return await self._write(request_id, operation)
            case Get(_, stale) | Scan(_, _, _, stale):
                return await self._read(request, timeout_s, stale=stale)
            case AddNode(name, address, learner):
                add = self.host.add_learner if learner else self.host.add_member
                await add(name, address, timeout_s)
            case PromoteNode(name):
                await self.host.promote_member(name, timeout_s)
            case RemoveNode(name):
                await self.host.remove_member(name, timeout_s)
            case Transfer(name):
                await self.host.transfer_leadership(name or None, timeout_s)
            case AskInfo():
                return self._info()
            case Ping():
                pass
            case Watch():
                raise BadRequest("a watch is a stream")
        return Done()

    async def _write(self, request_id: bytes, operation: Operation) -> WriteResult:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[bytes] = loop.create_future()

        def done(result: bytes | RaftError) -> None:
            if outcome.done():
                return
            if isinstance(result, RaftError):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)

        self.host.propose(encode(Command(_wall_clock_us(), request_id, operation)), done)
        return decode(await outcome, WriteResult)

    async def _read(self, request: Get | Scan, timeout_s: float, *, stale: bool) -> Items:
        """Keys as of now, or, when ``stale``, as of what is applied here.

        A key is over when the leader's clock says so, and every replica after it: where that was not said
        yet, the leader says it first. So no reader sees a key end that a later command finds alive.
        """
        if not stale:
            await self.host.barrier(timeout_s)
        now_us = _wall_clock_us()
        with self._reading() as state:
            found = _find(state, request)
            is_over = any(0 < state.expiring(item.key) <= now_us for item in found.items)
        if stale or not is_over:
            return found
        await self._write(b"", Sweep(SWEEP_LIMIT))
        with self._reading() as state:
            return _find(state, request)

    @contextmanager
    def _reading(self) -> Iterator[KvMachine]:
        """The state, for a moment. :raises Unavailable: there is none, or it is being replaced."""
        if self._machine is None or self.host.status() is None:
            raise Unavailable(f"{self.config.name} is not a member of a cluster yet")
        with self._machine.reading():
            yield self._machine

    def _make_machine(self, shard: ShardId, node: NodeId) -> KvMachine:
        """The state of one replica; what a former replica of this host left is removed."""
        directory = self.config.data_dir / f"state-{shard}-{node}"
        for former in self.config.data_dir.glob(f"state-{shard}-*"):
            if former != directory:
                shutil.rmtree(former)
        self._machine = KvMachine(MemoryTable(directory) if self.config.in_memory else RocksTable(directory))
        return self._machine

    def _leader_address(self) -> str:
        leader = self.host.leader()
        if leader is None:
            return ""
        with self._reading() as state:
            return state.address_of(leader.name)

    def _info(self) -> Info:
        status = self.host.status()
        if status is None:
            return Info(0, self.config.name, 0, 0, 0, ())
        membership = status.membership
        peers = tuple(
            Peer(member.id, member.name, member.address, member.id in membership.voters)
            for member in membership.members
        )
        return Info(status.node, self.config.name, status.leader, status.term, status.applied, peers)

    async def _keep_house(self) -> None:
        """While leading: tell the members where clients reach this node, and remove what expired."""
        while True:
            try:
                status = self.host.status()
                if status is not None and status.role is Role.LEADER:
                    with self._reading() as state:
                        address = state.address_of(self.config.name)
                        expiry_us = state.next_expiry_us()
                    if address != self.config.address:
                        await self._write(b"", Announce(self.config.name, self.config.address))
                    if expiry_us is not None and expiry_us <= _wall_clock_us():
                        await self._write(b"", Sweep(SWEEP_LIMIT))
                        continue
            except (NotAccepted, OutcomeUnknown, Unavailable) as error:
                log.debug("housekeeping_put_off", name=self.config.name, reason=str(error))
            await asyncio.sleep(_HOUSEKEEPING_S)

    def _wake(self) -> None:
        self._applied.set()
        self._applied = asyncio.Event()

    async def _woken(self) -> None:
        """Return when something may have been applied; a state that was replaced tells nobody."""
        try:
            async with asyncio.timeout(1.0):
                await self._applied.wait()
        except TimeoutError:
            return


def _find(state: KvMachine, request: Get | Scan) -> Items:
    match request:
        case Get(key):
            item = state.get(key)
            return Items(() if item is None else (item,))
        case Scan(prefix, limit, after):
            return state.scan(prefix, limit, after)
        case _:
            assert_never(request)


def _wall_clock_us() -> int:
    return time.time_ns() // 1000
