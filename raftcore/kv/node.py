"""One node: a raftcore host with its machine, and what clients may ask of it.

Writes go through the leader's log. Reads wait for the host's barrier, so that any member answers them.
Clients come to the address that members know of each other, so who is not the leader can say where it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import structlog

from raftcore.application import (
    Host,
    HostConfig,
    Index,
    MembershipError,
    MemoryTable,
    NodeId,
    NotAccepted,
    NotLeader,
    OutcomeUnknown,
    PayloadTooLarge,
    ReadFailed,
    RocksTable,
    Role,
    ShardId,
    state_directory,
)
from raftcore.kv._pb import kv_pb2 as pb
from raftcore.kv.errors import BadRequest, Compacted, NotTheLeader, Refused, Unavailable
from raftcore.kv.machine import KvMachine
from raftcore.kv.server import service

log = structlog.get_logger()

KEY_BYTES_MAX = 4 << 10
VALUE_BYTES_MAX = 1 << 20
REQUEST_ID_BYTES_MAX = 64
SCAN_LIMIT_MAX = 10_000
WATCH_CHANGES = 1_000
SWEEP_LIMIT = 1_000
"""Keys that one command removes at most: the log never waits long for it."""
_SWEEP_S = 0.2
_WATCH_WAIT_S = 1.0


class Node:
    """Answers requests; every method belongs to the loop that started it."""

    def __init__(self, config: HostConfig, *, in_memory: bool = False) -> None:
        """States lie beside ``config.data_dir``."""
        self.host = Host(replace(config, services=(service(self),)), self._make_machine)
        self._table = MemoryTable if in_memory else RocksTable

    async def start(self, bootstrap: bool) -> None:
        """:raises StorageError: :raises OSError: as `Host.start`."""
        await self.host.start(bootstrap)
        self._sweeping = asyncio.create_task(self._sweep(), name="kv sweeps")

    async def stop(self) -> None:
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)
        await self.host.stop()

    async def answer(self, request: pb.Request, timeout_s: float) -> pb.Answer:
        """Do what a client asks. :raises KvError: :raises OutcomeUnknown: see `raftcore.kv.errors`."""
        check(request)
        try:
            match request.WhichOneof("request"):
                case "write":
                    return pb.Answer(result=await self._write(request.write, timeout_s))
                case "get":
                    return pb.Answer(items=await self._read(request.get, timeout_s))
                case "scan":
                    return pb.Answer(items=await self._read(request.scan, timeout_s))
                case "change":
                    return await self._change(request.change, timeout_s)
                case "info":
                    return pb.Answer(info=self._info())
                case _:
                    raise BadRequest("the request holds nothing that this node knows")
        except NotLeader:
            leader = self.host.leader()
            raise NotTheLeader("" if leader is None else leader.address) from None
        except PayloadTooLarge as error:
            raise BadRequest(str(error)) from None
        except MembershipError as error:
            raise Refused(str(error)) from None
        except (NotAccepted, ReadFailed) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from None

    async def watch(self, request: pb.WatchRequest) -> AsyncIterator[pb.Changes]:
        """Changes as they are applied here, until the caller or the node stops.

        :raises Compacted: the watcher asks for, or fell back behind, what is kept.
        :raises Unavailable: this node is no member.
        """
        from_index = request.from_index
        while True:
            try:
                state = self._state()
                found = state.changes(from_index, WATCH_CHANGES)
                if found is None:
                    raise Compacted(str(state.first_index))
                if found.index >= from_index:
                    from_index = found.index + 1
                    changes = [each for each in found.changes if each.key.startswith(request.prefix)]
                    if changes:
                        yield pb.Changes(index=found.index, changes=changes)
                    # A long way back is walked without holding up anybody.
                    await asyncio.sleep(0)
                else:
                    await self.host.until_applied(Index(from_index), _WATCH_WAIT_S)
            except (NotLeader, ReadFailed) as error:
                raise Unavailable(str(error)) from None

    async def _write(self, command: pb.Command, timeout_s: float) -> pb.WriteResult:
        command.stamp_us = _wall_clock_us()
        return pb.WriteResult.FromString(await self.host.apply(command.SerializeToString(), timeout_s))

    async def _read(self, request: pb.Get | pb.Scan, timeout_s: float) -> pb.Items:
        """Keys as of now, or, when ``stale``, as of what is applied here.

        A key is over when the leader's clock says so, and every replica after it: where that was not said
        yet, the leader says it first. So no reader sees a key end that a later command finds alive.
        """
        if request.stale:
            return self._find(request)
        await self.host.barrier(timeout_s)
        now_us = _wall_clock_us()
        found = self._find(request)
        if any(0 < item.expiry_us <= now_us for item in found.items):
            await self._write(pb.Command(sweep=pb.Sweep(limit=SWEEP_LIMIT)), timeout_s)
            found = self._find(request)
        return found

    def _find(self, request: pb.Get | pb.Scan) -> pb.Items:
        state = self._state()
        if isinstance(request, pb.Scan):
            return state.scan(request.prefix, request.limit, request.after)
        item = state.get(request.key)
        return pb.Items(items=() if item is None else (item,))

    async def _change(self, change: pb.ChangeMembers, timeout_s: float) -> pb.Answer:
        name, address = change.name, change.address
        match change.action:
            case "add-node":
                await self.host.add_member(name, address, timeout_s)
            case "add-learner":
                await self.host.add_learner(name, address, timeout_s)
            case "promote":
                await self.host.promote_member(name, timeout_s)
            case "remove-node":
                await self.host.remove_member(name, timeout_s)
            case "transfer":
                await self.host.transfer_leadership(name or None, timeout_s)
            case unknown:
                raise BadRequest(f"action {unknown!r} is none that this node knows")
        return pb.Answer(done=pb.Done())

    def _state(self) -> KvMachine:
        machine = self.host.machine()
        assert isinstance(machine, KvMachine)
        return machine

    def _make_machine(self, shard: ShardId, node: NodeId) -> KvMachine:
        return KvMachine(self._table(state_directory(self.host.config.data_dir.parent, shard, node)))

    def _info(self) -> pb.Info:
        status, name = self.host.status(), self.host.config.name
        if status is None:
            return pb.Info(name=name)
        voters = status.membership.voters
        peers = [
            pb.Peer(id=member.id, name=member.name, address=member.address, voter=member.id in voters)
            for member in status.membership.members
        ]
        return pb.Info(
            id=status.node,
            name=name,
            leader_id=status.leader,
            term=status.term,
            applied=status.applied,
            peers=peers,
        )

    async def _sweep(self) -> None:
        """While leading, remove what expired."""
        sweep = pb.Command(sweep=pb.Sweep(limit=SWEEP_LIMIT))
        while True:
            try:
                status = self.host.status()
                if status is not None and status.role is Role.LEADER:
                    expiry_us = self._state().next_expiry_us()
                    if expiry_us is not None and expiry_us <= _wall_clock_us():
                        await self._write(sweep, _SWEEP_S)
                        continue
            except (NotAccepted, OutcomeUnknown, ReadFailed) as error:
                log.debug("sweep_put_off", reason=str(error))
            await asyncio.sleep(_SWEEP_S)


def check(request: pb.Request) -> None:
    """:raises BadRequest: naming the field that is out of range."""
    match request.WhichOneof("request"):
        case "write":
            _check_size("request_id", len(request.write.request_id), 1, REQUEST_ID_BYTES_MAX)
            kind = request.write.WhichOneof("operation")
            if kind not in ("set", "delete"):
                raise BadRequest(f"operation must be set or delete, is {kind}")
            if kind == "delete":
                _check_size("key", len(request.write.delete.key), 1, KEY_BYTES_MAX)
                return
            wanted = request.write.set
            _check_size("key", len(wanted.key), 1, KEY_BYTES_MAX)
            _check_size("value", len(wanted.value), 0, VALUE_BYTES_MAX)
            if wanted.HasField("expected_value") and wanted.HasField("expected_version"):
                raise BadRequest("give one of expected_value and expected_version, not both")
        case "get":
            _check_size("key", len(request.get.key), 1, KEY_BYTES_MAX)
        case "scan":
            _check_size("prefix", len(request.scan.prefix), 0, KEY_BYTES_MAX)
            if not 1 <= request.scan.limit <= SCAN_LIMIT_MAX:
                raise BadRequest(f"limit must be 1 to {SCAN_LIMIT_MAX}, is {request.scan.limit}")
        case "change" if request.change.action.startswith("add-"):
            if not request.change.name or ":" not in request.change.address:
                raise BadRequest(
                    f"a node needs a name and host:port, not {request.change}".replace("\n", " ")
                )


def _check_size(field: str, size: int, least: int, most: int) -> None:
    if not least <= size <= most:
        raise BadRequest(f"{field} must have {least} to {most} bytes, has {size}")


def _wall_clock_us() -> int:
    return time.time_ns() // 1000
