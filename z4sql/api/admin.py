"""The Admin service: health, members, and changing them. Any peer answers; the leader carries changes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from raftcore.core.errors import MembershipError, NotAccepted, OutcomeUnknown, RaftError, UnknownMember
from raftcore.host.host import Host
from raftcore.transport.base import Refused, Unreachable
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.leadership import FORWARDED, Leadership
from z4sql.api.methods import Context, Methods
from z4sql.api.parsing import parse
from z4sql.api.status import CallError, from_raft, invalid, no_leader
from z4sql.host_watch import HostReading
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.model import MemberAddresses
from z4sql.tasks.reader import TaskReader

CHANGE_TIMEOUT_S = 60.0
_CALL_TIMEOUT_S = 5.0
_NAME_BYTES_MAX = 255
_METADATA = ((FORWARDED, "1"),)


class Admin:
    """Handlers of /z4.Admin."""

    def __init__(
        self,
        host: Host,
        leadership: Leadership,
        builder: CommandBuilder,
        reader: Callable[[], TaskReader | None],
        reading: Callable[[], HostReading | None],
        *,
        name: str,
        peer_address: str,
    ) -> None:
        self._host = host
        self._leadership = leadership
        self._builder = builder
        self._reader = reader
        self._reading = reading
        self._name = name
        self._peer_address = peer_address

    def register(self, methods: Methods) -> None:
        methods.unary("/z4.Admin/CheckHealth", self.check_health)
        methods.unary("/z4.Admin/GetClusterInfo", self.get_cluster_info)
        methods.unary("/z4.Admin/AddClusterMember", self.add_member)
        methods.unary("/z4.Admin/RemoveClusterMember", self.remove_member)
        methods.unary("/z4.Admin/RegisterMember", self.register_member)

    async def check_health(self, data: bytes, _context: Context) -> bytes:
        parse(pb.CheckHealthRequest, data)
        if self._host.leader() is None:
            raise CallError(StatusCode.INTERNAL, "peer has no leader", reason="NO_LEADER")
        return b""

    async def get_cluster_info(self, data: bytes, _context: Context) -> bytes:
        parse(pb.GetClusterInfoRequest, data)
        info = pb.ClusterInfo(server_id=self._name, cluster_id=self._host.cluster_id)
        status, reader = self._host.status(), self._reader()
        if status is None or reader is None:
            return info.SerializeToString()
        info.term, info.commit_index, info.applied_index = status.term, status.commit, status.applied
        reading = self._reading()
        if reading is not None:
            info.host.CopyFrom(_host_status(reading))
        lags = {lag.node: lag for lag in reading.report.followers} if reading is not None else {}
        for member in sorted(status.membership.members, key=lambda one: one.name):
            server = info.members.add(
                id=member.name,
                address=member.address,
                voter=member.id in status.membership.voters,
                match_index=status.match.get(member.id, 0),
            )
            if (lag := lags.get(member.id)) is not None:
                server.lag_entries, server.silent_ms = lag.entries, lag.silent_ms
                server.needs_snapshot = lag.needs_snapshot
            addresses = reader.member(member.name)
            if addresses is not None:
                server.service_address = addresses.service_address
                server.sql_address = addresses.sql_address
            if member.id == status.leader:
                info.leader_id, info.leader_address = member.name, member.address
                info.leader_service_address = server.service_address
        return info.SerializeToString()

    async def add_member(self, data: bytes, context: Context) -> bytes:
        request = parse(pb.AddClusterMemberRequest, data)
        _check_name(request.member_id)
        host, _, port = request.member_address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise invalid("member_address", f"must be HOST:PORT, is {request.member_address!r}")
        answer = await self._passed_on("AddClusterMember", data, context)
        if answer is not None:
            return answer
        if request.member_id == self._name or request.member_address == self._peer_address:
            raise CallError(
                StatusCode.INVALID_ARGUMENT,
                "cannot add leader as duplicate member of cluster",
                reason="INVALID_FIELD",
                field="member_id",
            )
        status = self._host.status()
        if status and any(member.name == request.member_id for member in status.membership.members):
            raise invalid("member_id", f"{request.member_id} is a member already; remove it first")
        await self._change(
            self._host.add_member(request.member_id, request.member_address, _time_left(context)), "add"
        )
        return Empty().SerializeToString()

    async def remove_member(self, data: bytes, context: Context) -> bytes:
        request = parse(pb.RemoveClusterMemberRequest, data)
        _check_name(request.member_id)
        answer = await self._passed_on("RemoveClusterMember", data, context)
        if answer is not None:
            return answer
        await self._change(self._host.remove_member(request.member_id, _time_left(context)), "remove")
        return Empty().SerializeToString()

    async def register_member(self, data: bytes, context: Context) -> bytes:
        """Write a peer's addresses to the replicated state, unless they stand there."""
        request = parse(pb.MemberAddresses, data)
        _check_name(request.member_id)
        answer = await self._passed_on("RegisterMember", data, context)
        if answer is not None:
            return answer
        member = MemberAddresses(
            request.member_id,
            request.peer_address,
            request.service_address,
            request.sql_address,
            request.metrics_address,
        )
        reader = self._reader()
        if reader is not None and reader.member(member.name) == member:
            return b""
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(result: bytes | RaftError) -> None:
            if applied.done():
                return
            if isinstance(result, bytes):
                applied.set_result(None)
            else:
                applied.set_exception(from_raft(result))

        try:
            self._host.propose(self._builder.register_member(member), done)
        except NotAccepted as error:
            raise from_raft(error) from None
        await applied
        return b""

    async def _passed_on(self, method: str, data: bytes, context: Context) -> bytes | None:
        """The leader's answer; None when this peer leads and must carry the call out itself.

        :raises CallError: UNAVAILABLE when there is no leader, or another peer passed the call on already.
        """
        if self._leadership.leads:
            return None
        if any(key == FORWARDED for key, _ in context.invocation_metadata() or ()):
            raise no_leader()
        timeout_s = _time_left(context)
        leader = await self._leadership.wait(min(timeout_s, _CALL_TIMEOUT_S))
        if leader is None:
            raise no_leader()
        if leader.local:
            return None
        call = self._leadership.channel(leader.service_address).unary_unary(f"/z4.Admin/{method}")
        try:
            # Without a deadline a newcomer may take its time: the leader ends the call when it stands still.
            answer: bytes = await call(data, timeout=context.time_remaining(), metadata=_METADATA)
        except grpc.aio.AioRpcError as error:
            raise CallError(error.code(), error.details() or error.code().name) from None
        return answer

    async def _change(self, change: Awaitable[object], verb: str) -> None:
        try:
            await change
        except UnknownMember as error:
            raise CallError(StatusCode.NOT_FOUND, f"member_id: {error}", reason="UNKNOWN_MEMBER") from None
        except (Unreachable, Refused) as error:
            raise CallError(StatusCode.FAILED_PRECONDITION, f"member_address: {error}") from None
        except (MembershipError, OutcomeUnknown) as error:
            message = f"could not {verb} member: {error}"
            code = (
                StatusCode.DEADLINE_EXCEEDED
                if isinstance(error, OutcomeUnknown)
                else StatusCode.FAILED_PRECONDITION
            )
            raise CallError(code, message, reason="MEMBERSHIP") from None
        except RaftError as error:
            raise from_raft(error) from None


def _check_name(name: str) -> None:
    if not name or len(name.encode()) > _NAME_BYTES_MAX:
        raise invalid("member_id", f"must have 1 to {_NAME_BYTES_MAX} bytes")


def _host_status(reading: HostReading) -> pb.HostStatus:
    shares, status, report = reading.shares, reading.status, reading.report
    return pb.HostStatus(
        turns_ratio=shares.turns,
        applying_ratio=shares.applying,
        flushing_ratio=shares.flushing,
        queued_commands=status.queued_commands,
        queued_commands_max=reading.queued_commands_max,
        pending_commands=status.pending_commands,
        pending_reads=status.pending_reads,
        unapplied_entries=report.unapplied,
        state_stalled=report.stalled,
        log_first_index=report.first_index,
        log_last_index=report.last_index,
        log_bytes=report.log_bytes,
        snapshot_bytes=report.snapshot_bytes,
    )


def _time_left(context: Context) -> float:
    left_s = context.time_remaining()
    return CHANGE_TIMEOUT_S if left_s is None else max(0.1, min(left_s, CHANGE_TIMEOUT_S) - 0.2)
