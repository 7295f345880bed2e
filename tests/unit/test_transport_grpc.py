"""Frames over gRPC on loopback: delivery, handshake, bounds, reconnecting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager, suppress

import grpc
import pytest

from raftcore.core.messages import Append, Heartbeat, Message
from raftcore.core.types import Entry, EntryKind
from raftcore.transport.base import Claim, Hello, Invitation, Refused, Unreachable
from raftcore.transport.grpc_transport import SERVICE, GrpcTransport, GrpcTransportConfig
from z4sql.testing.ports import free_address


class Station:
    """A receiver that keeps what it is told."""

    def __init__(self, cluster_id: str, name: str) -> None:
        self.cluster_id = cluster_id
        self.name = name
        self.received: list[tuple[Message, str]] = []
        self.lost: list[str] = []
        self.invitations: list[Invitation] = []
        self.names: dict[str, str] = {}
        self.claims: list[Claim] = []

    def receive(self, messages: Sequence[Message], source: str) -> None:
        self.received.extend((message, source) for message in messages)

    def unreachable(self, address: str) -> None:
        self.lost.append(address)

    def hello(self) -> Hello:
        return Hello(self.name, self.cluster_id)

    def name_of(self, address: str) -> str:
        return self.names.get(address, "")

    def claimed(self, claim: Claim) -> None:
        self.claims.append(claim)

    async def invited(self, invitation: Invitation) -> None:
        if self.cluster_id not in ("", invitation.cluster_id):
            raise Refused(f"{self.name} is of cluster {self.cluster_id}")
        self.invitations.append(invitation)


@asynccontextmanager
async def station(cluster_id: str, name: str, address: str | None = None, **settings):
    address = address or free_address()
    receiver = Station(cluster_id, name)
    transport = GrpcTransport(GrpcTransportConfig(name=name, address=address, listen=address, **settings))
    await transport.start(receiver)
    try:
        yield transport, receiver, address
    finally:
        await transport.stop()


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def heartbeat(commit: int) -> Heartbeat:
    return Heartbeat(1, 1, 2, 1, commit, 0)


def append(index: int, size: int = 10) -> Append:
    return Append(1, 1, 2, 1, index - 1, 1, 0, 0, [Entry(1, index, EntryKind.COMMANDS, b"x" * size)])


async def test_messages_arrive_in_order_with_their_source() -> None:
    async with station("c", "peer1") as (one, _, address1), station("c", "peer2") as (_, there, address2):
        sent = [append(index) for index in range(1, 200)]
        for message in sent:
            one.send(address2, message)
            one.flush()
            await asyncio.sleep(0)
        one.send(address2, heartbeat(7))
        one.flush()
        await until(lambda: len(there.received) == 200)
        assert {source for _, source in there.received} == {address1}
        assert [message for message, _ in there.received if isinstance(message, Append)] == sent
        assert (heartbeat(7), address1) in there.received


async def test_one_flush_makes_one_frame() -> None:
    async with station("c", "peer1") as (one, _, _), station("c", "peer2") as (two, there, address):
        for index in range(1, 101):
            one.send(address, append(index))
        one.flush()
        await until(lambda: len(there.received) == 100)
        assert two.counts.frames_received == 1


async def test_what_is_not_urgent_waits_for_company_but_not_for_long() -> None:
    async with station("c", "peer1") as (one, _, _), station("c", "peer2") as (two, there, address):
        one.send(address, append(1))
        one.flush()
        await until(lambda: len(there.received) == 1)
        one.send(address, append(2), urgent=False)
        one.flush()
        await asyncio.sleep(0)
        one.send(address, append(3))
        one.flush()
        await until(lambda: len(there.received) == 3)
        assert two.counts.frames_received == 2
        one.send(address, append(4), urgent=False)
        one.flush()
        await until(lambda: len(there.received) == 4, timeout_s=1)


async def test_heartbeats_pass_appends() -> None:
    async with station("c", "peer1") as (one, _, _), station("c", "peer2") as (_, there, address):
        for index in range(1, 31):
            one.send(address, append(index, size=1 << 20))
        one.send(address, heartbeat(1))
        one.flush()
        await until(lambda: len(there.received) == 31)
        kinds = [type(message) for message, _ in there.received]
        assert kinds.index(Heartbeat) < 30


async def test_another_cluster_is_refused_and_counted() -> None:
    async with (
        station("ours", "peer1") as (one, here, _),
        station("theirs", "peer2") as (two, there, address),
    ):
        one.send(address, heartbeat(1))
        one.flush()
        await until(lambda: here.lost)
        assert two.counts.streams_refused == 1
        assert not there.received


async def test_a_fresh_host_takes_messages_only_after_it_is_invited() -> None:
    async with station("c", "peer1") as (one, here, _), station("", "peer2") as (_, there, address):
        assert await one.hello(address, 5) == Hello("peer2", "")
        one.send(address, heartbeat(1))
        one.flush()
        await until(lambda: here.lost)
        invitation = Invitation("c", 1, 9, "peer2")
        await one.invite(address, invitation, 5)
        assert there.invitations == [invitation]
        there.cluster_id = "c"

        def arrived() -> bool:
            one.send(address, heartbeat(2))
            one.flush()
            return bool(there.received)

        await until(arrived)


async def test_a_host_of_another_cluster_refuses_an_invitation() -> None:
    async with station("c", "peer1") as (one, _, _), station("other", "peer2") as (_, _, address):
        with pytest.raises(Refused, match="of cluster other"):
            await one.invite(address, Invitation("c", 1, 9, "peer2"), 5)


async def test_nobody_at_an_address_is_said_within_the_deadline() -> None:
    async with station("c", "peer1") as (one, here, _):
        nowhere = free_address()
        with pytest.raises(Unreachable, match=nowhere):
            await one.hello(nowhere, 0.3)
        one.send(nowhere, heartbeat(1))
        one.flush()
        await until(lambda: here.lost == [nowhere])
        assert one.counts.messages_dropped == 1


async def test_a_server_that_is_no_peer_is_told_from_nobody() -> None:
    server = grpc.aio.server()
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with station("c", "peer1") as (one, _, _):
        with pytest.raises(Unreachable, match=f"{address} is a server's, but not its address for peers"):
            await one.hello(address, 5)
    await server.stop(None)


async def test_a_full_outbox_drops_and_says_so() -> None:
    settings = {"outbox_bytes_max": 1 << 20}
    async with station("c", "peer1", **settings) as (one, here, _), station("c", "peer2") as (_, _, address):
        for index in range(1, 30):
            one.send(address, append(index, size=100_000))
        assert one.counts.messages_dropped == 19
        assert here.lost == [address] * 19


async def test_a_peer_that_comes_back_is_reached_again() -> None:
    address = free_address()
    async with station("c", "peer1") as (one, here, _):
        async with station("c", "peer2", address) as (_, there, _):
            one.send(address, heartbeat(1))
            one.flush()
            await until(lambda: there.received)
        await until(lambda: here.lost)
        async with station("c", "peer2", address) as (_, there, _):

            def arrived() -> bool:
                one.send(address, heartbeat(2))
                one.flush()
                return bool(there.received)

            await until(arrived)


async def test_connections_to_former_peers_are_closed() -> None:
    settings = {"retain_s": 0.05}
    async with station("c", "peer1", **settings) as (one, _, _), station("c", "peer2") as (_, there, address):
        one.send(address, heartbeat(1))
        one.flush()
        await until(lambda: there.received)
        before = len(asyncio.all_tasks())
        one.retain([])
        one.retain([address])
        await asyncio.sleep(0.1)
        one.send(address, heartbeat(2))
        one.flush()
        await until(lambda: len(there.received) == 2)
        one.retain([])
        await until(lambda: len(asyncio.all_tasks()) < before)


async def test_a_damaged_frame_ends_its_stream_and_is_counted() -> None:
    async with station("c", "peer1") as (one, _, _), station("c", "peer2") as (two, there, address):
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.stream_stream(f"/{SERVICE}/Bulk")(metadata=one.metadata(address))
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(b"no frame at all")
            assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert two.counts.frames_refused == 1
        assert not there.received


async def test_an_address_in_use_cannot_be_listened_on() -> None:
    async with station("c", "peer1") as (_, _, address):
        with pytest.raises(OSError, match=address):
            async with station("c", "peer2", address):
                pass
