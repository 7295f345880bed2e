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
from typing import assert_never

import structlog

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
from raftcore.kv import messages as kv
from raftcore.kv.codec import encode
from raftcore.kv.errors import BadRequest, Compacted, NotTheLeader, Refused, Unavailable
from raftcore.kv.machine import KvMachine
from raftcore.kv.tables import MemoryTable, RocksTable

log = structlog.get_logger()

SWEEP_LIMIT = 1_000
"""Keys that one command removes at most: the log never waits long for it."""
WATCH_CHANGES = 1_000
_HOUSEKEEPING_S = 0.2

Answer = kv.WriteResult | kv.Items | kv.Info | kv.Done


class Node:
    """Answers requests; every method belongs to the loop that started it."""

    def __init__(self, config: HostConfig, address: str, *, in_memory: bool = False) -> None:
        """``address`` is where clients reach this node, host:port; states lie beside ``config.data_dir``."""
        self.host = Host(config, self._make_machine)
        self.address = address
        self._name = config.name
        self._table = MemoryTable if in_memory else RocksTable
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

    async def answer(self, request: kv.Request, timeout_s: float) -> Answer:
        """Do what a client asks.

        :raises KvError: :raises OutcomeUnknown: see `raftcore.kv.errors`.
        """
        kv.check(request)
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

    async def watch(self, request: kv.Watch) -> AsyncIterator[kv.Changes]:
        """Changes as they are applied here, until the caller or the node stops.

        :raises Compacted: the watcher asks for, or fell back behind, what is kept.
        :raises Unavailable: this node is no member.
        """
        kv.check(request)
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
                    yield kv.Changes(found.index, matching)
                # A long way back is walked without holding up anybody.
                await asyncio.sleep(0)
                continue
            await self._woken()

    async def _answer(self, request: kv.Request, timeout_s: float) -> Answer:
        match request:
            case kv.Write(request_id, operation):
                return await self._write(request_id, operation)
            case kv.Get(_, stale) | kv.Scan(_, _, _, stale):
                return await self._read(request, timeout_s, stale=stale)
            case kv.AddNode(name, address, learner):
                add = self.host.add_learner if learner else self.host.add_member
                await add(name, address, timeout_s)
            case kv.PromoteNode(name):
                await self.host.promote_member(name, timeout_s)
            case kv.RemoveNode(name):
                await self.host.remove_member(name, timeout_s)
            case kv.Transfer(name):
                await self.host.transfer_leadership(name or None, timeout_s)
            case kv.AskInfo():
                return self._info()
            case kv.Watch():
                raise BadRequest("a watch is a stream")
        return kv.Done()

    async def _write(self, request_id: bytes, operation: kv.Operation) -> kv.WriteResult:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[bytes] = loop.create_future()

        def done(result: bytes | RaftError) -> None:
            if outcome.done():
                return
            if isinstance(result, RaftError):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)

        self.host.propose(encode(kv.Command(_wall_clock_us(), request_id, operation)), done)
        return kv.decode(await outcome, kv.WriteResult)

    async def _read(self, request: kv.Get | kv.Scan, timeout_s: float, *, stale: bool) -> kv.Items:
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
        await self._write(b"", kv.Sweep(SWEEP_LIMIT))
        with self._reading() as state:
            return _find(state, request)

    @contextmanager
    def _reading(self) -> Iterator[KvMachine]:
        """The state, for a moment. :raises Unavailable: there is none, or it is being replaced."""
        if self._machine is None or self.host.status() is None:
            raise Unavailable(f"{self._name} is not a member of a cluster yet")
        with self._machine.reading():
            yield self._machine

    def _make_machine(self, shard: ShardId, node: NodeId) -> KvMachine:
        """The state of one replica; what a former replica of this host left is removed."""
        directory = self.host.config.data_dir.with_name(f"state-{shard}-{node}")
        for former in directory.parent.glob(f"state-{shard}-*"):
            if former != directory:
                shutil.rmtree(former)
        self._machine = KvMachine(self._table(directory))
        return self._machine

    def _leader_address(self) -> str:
        leader = self.host.leader()
        if leader is None:
            return ""
        with self._reading() as state:
            return state.address_of(leader.name)

    def _info(self) -> kv.Info:
        status = self.host.status()
        if status is None:
            return kv.Info(0, self._name, 0, 0, 0, ())
        membership = status.membership
        peers = tuple(
            kv.Peer(member.id, member.name, member.address, member.id in membership.voters)
            for member in membership.members
        )
        return kv.Info(status.node, self._name, status.leader, status.term, status.applied, peers)

    async def _keep_house(self) -> None:
        """While leading: tell the members where clients reach this node, and remove what expired."""
        while True:
            try:
                status = self.host.status()
                if status is not None and status.role is Role.LEADER:
                    with self._reading() as state:
                        address = state.address_of(self._name)
                        expiry_us = state.next_expiry_us()
                    if address != self.address:
                        await self._write(b"", kv.Announce(self._name, self.address))
                    if expiry_us is not None and expiry_us <= _wall_clock_us():
                        await self._write(b"", kv.Sweep(SWEEP_LIMIT))
                        continue
            except (NotAccepted, OutcomeUnknown, Unavailable) as error:
                log.debug("housekeeping_put_off", name=self._name, reason=str(error))
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


def _find(state: KvMachine, request: kv.Get | kv.Scan) -> kv.Items:
    match request:
        case kv.Get(key):
            item = state.get(key)
            return kv.Items(() if item is None else (item,))
        case kv.Scan(prefix, limit, after):
            return state.scan(prefix, limit, after)
        case _:
            assert_never(request)


def _wall_clock_us() -> int:
    return time.time_ns() // 1000
