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
from google.protobuf.message import Message

import raftcore.application as raft
from raftcore.kv._pb import kv_pb2 as pb
from raftcore.kv.errors import BadRequest, Compacted, NotTheLeader, Refused, Unavailable
from raftcore.kv.machine import KvMachine
from raftcore.kv.server import service

log = structlog.get_logger()

KEY_BYTES_MAX = 4 << 10
VALUE_BYTES_MAX = 1 << 20
SCAN_LIMIT_MAX = 10_000
_SIZES = {
    "request_id": (1, 64),
    "key": (1, KEY_BYTES_MAX),
    "value": (0, VALUE_BYTES_MAX),
    "expected_value": (0, VALUE_BYTES_MAX),
    "prefix": (0, KEY_BYTES_MAX),
    "after": (0, KEY_BYTES_MAX),
}
"""The least and the most bytes of a field."""
WATCH_CHANGES = 1_000
SWEEP_LIMIT = 1_000
"""Keys that one command removes at most: the log never waits long for it."""
_SWEEP_S = 0.2
_WATCH_WAIT_S = 1.0


class Node:
    """Answers requests; every method belongs to the loop that started it."""

    def __init__(self, config: raft.HostConfig, *, in_memory: bool = False) -> None:
        """States lie beside ``config.data_dir``."""
        self.host = raft.Host(replace(config, services=(service(self),)), self._make_machine)
        self._table = raft.MemoryTable if in_memory else raft.RocksTable

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
                    await self._change(request.change, timeout_s)
                    return pb.Answer(done=pb.Done())
                case "info":
                    return pb.Answer(info=self._info())
                case _:
                    raise BadRequest("the request holds nothing that this node knows")
        except raft.NotLeader:
            leader = self.host.leader()
            raise NotTheLeader("" if leader is None else leader.address) from None
        except raft.PayloadTooLarge as error:
            raise BadRequest(str(error)) from None
        except raft.MembershipError as error:
            raise Refused(str(error)) from None
        except (raft.NotAccepted, raft.ReadFailed) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from None

    async def watch(self, request: pb.WatchRequest) -> AsyncIterator[pb.Changes]:
        """Changes as they are applied here, until the caller or the node stops.

        :raises Compacted: the watcher asks for, or fell back behind, what is kept.
        :raises Unavailable: this node is no member, or hears no leader.
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
                    continue
                news = await self.host.until_applied(raft.Index(from_index), _WATCH_WAIT_S)
                if not news and self.host.leader() is None:
                    raise Unavailable("nobody tells this node what is new")
            except (raft.NotLeader, raft.ReadFailed) as error:
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

    async def _change(self, change: pb.ChangeMembers, timeout_s: float) -> None:
        host, name, address = self.host, change.name, change.address
        match change.action:
            case "add-node":
                await host.add_member(name, address, timeout_s)
            case "add-learner":
                await host.add_learner(name, address, timeout_s)
            case "promote":
                await host.promote_member(name, timeout_s)
            case "remove-node":
                await host.remove_member(name, timeout_s)
            case "transfer":
                await host.transfer_leadership(name or None, timeout_s)
            case unknown:
                raise BadRequest(f"action {unknown!r} is none that this node knows")

    def _state(self) -> KvMachine:
        machine = self.host.machine()
        assert isinstance(machine, KvMachine)
        return machine

    def _make_machine(self, shard: raft.ShardId, node: raft.NodeId) -> KvMachine:
        return KvMachine(self._table(raft.state_directory(self.host.config.data_dir.parent, shard, node)))

    def _info(self) -> pb.Info:
        info, status = pb.Info(name=self.host.config.name), self.host.status()
        if status is not None:
            info.id, info.leader_id = status.node, status.leader
            info.term, info.applied = status.term, status.applied
            for each in status.membership.members:
                voter = each.id in status.membership.voters
                info.peers.add(id=each.id, name=each.name, address=each.address, voter=voter)
        return info

    async def _sweep(self) -> None:
        """While leading, remove what expired."""
        sweep = pb.Command(sweep=pb.Sweep(limit=SWEEP_LIMIT))
        while True:
            try:
                status = self.host.status()
                if status is not None and status.role is raft.Role.LEADER:
                    expiry_us = self._state().next_expiry_us()
                    if expiry_us is not None and expiry_us <= _wall_clock_us():
                        await self._write(sweep, _SWEEP_S)
                        continue
            except (raft.NotAccepted, raft.OutcomeUnknown, raft.ReadFailed) as error:
                log.debug("sweep_put_off", reason=str(error))
            await asyncio.sleep(_SWEEP_S)


def check(request: pb.Request) -> None:
    """:raises BadRequest: naming the field that is out of range."""
    match request.WhichOneof("request"):
        case "write":
            command, kind = request.write, request.write.WhichOneof("operation")
            if kind not in ("set", "delete"):
                raise BadRequest(f"operation must be set or delete, is {kind}")
            _check_sizes(command)
            _check_sizes(command.set if kind == "set" else command.delete)
            if command.set.HasField("expected_value") and command.set.HasField("expected_version"):
                raise BadRequest("give one of expected_value and expected_version, not both")
        case "get":
            _check_sizes(request.get)
        case "scan":
            _check_sizes(request.scan)
            if not 1 <= request.scan.limit <= SCAN_LIMIT_MAX:
                raise BadRequest(f"limit must be 1 to {SCAN_LIMIT_MAX}, is {request.scan.limit}")
        case "change" if request.change.action.startswith("add-"):
            name, address = request.change.name, request.change.address
            if not name or ":" not in address:
                raise BadRequest(f"a node needs a name and host:port, not {name!r} and {address!r}")


def _check_sizes(message: Message) -> None:
    for name in message.DESCRIPTOR.fields_by_name:
        least, most = _SIZES.get(name, (0, 0))
        if most and not least <= (size := len(getattr(message, name))) <= most:
            raise BadRequest(f"{name} must have {least} to {most} bytes, has {size}")


def _wall_clock_us() -> int:
    return time.time_ns() // 1000
