"""The port of a host and callers that are not of its cluster: what is read of them, what they may claim."""

from __future__ import annotations

import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from test_transport_grpc import append, heartbeat, station, until

from raftcore.transport.base import Claim, Hello
from raftcore.transport.grpc_transport import SERVICE

LARGE = 150 << 20


@asynccontextmanager
async def dialled(address: str) -> AsyncIterator[grpc.aio.Channel]:
    options = (("grpc.max_send_message_length", -1),)
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


def most_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.parametrize("method", ["Hello", "Join", "SnapshotManifest", "SnapshotPulled"])
async def test_what_a_stranger_sends_is_not_taken_into_memory(method: str) -> None:
    async with station("c", "peer1") as (_, here, address), dialled(address) as channel:
        request = bytes(LARGE)
        before_bytes = most_memory_bytes()
        call = channel.unary_unary(f"/{SERVICE}/{method}")(request, timeout=20)
        if method == "Hello":
            assert json.loads(await call) == {"name": "peer1", "cluster_id": "c"}
        else:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            codes = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED)
            assert refused.value.code() in (*codes, grpc.StatusCode.INVALID_ARGUMENT)
        # The sender is this process too, and copies it once.
        assert most_memory_bytes() - before_bytes < 1.5 * LARGE
        assert not here.invitations


async def test_an_invitation_is_small_and_comes_soon(monkeypatch) -> None:
    monkeypatch.setattr("raftcore.transport.grpc_transport._INVITATION_TIMEOUT_S", 0.2)
    async with station("", "peer1") as (_, here, address), dialled(address) as channel:
        join = channel.unary_unary(f"/{SERVICE}/Join")
        fields = {"cluster_id": "c", "shard": 1, "node": 7, "name": "peer1"}
        with pytest.raises(grpc.aio.AioRpcError, match="the most are 65536") as refused:
            await join(json.dumps({**fields, "more": "x" * 70_000}).encode(), timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        slow = channel.stream_unary(f"/{SERVICE}/Join")(timeout=10)
        await slow.wait_for_connection()
        await join(json.dumps(fields).encode(), timeout=10)
        assert [each.node for each in here.invitations] == [7]
        assert await slow.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_beyond_the_limit_ends_its_stream_and_the_largest_does_not() -> None:
    limits = {"frame_bytes_max": 1 << 20, "message_bytes_max": 2 << 20}
    async with (
        station("c", "peer1", **limits) as (one, here, _),
        station("c", "peer2", **limits) as (_, there, address),
    ):
        one.send(address, append(1, (1 << 20) - 200))
        one.send(address, append(2, (2 << 20) - 200))
        one.flush()
        await until(lambda: len(there.received) == 2)
        one.send(address, append(3, 4 << 20))
        one.flush()
        await until(lambda: here.lost)
        assert len(there.received) == 2
        await until(lambda: arrives(one, there, address))


def arrives(one, there, address: str) -> bool:
    one.send(address, append(4))
    one.flush()
    return any(message.entries[-1].index == 4 for message, _ in there.received)


async def test_a_host_is_told_when_another_cluster_counts_on_its_name() -> None:
    async with station("c", "peer1") as (one, here, source):
        for cluster, name, claims in (("d", "peer2", 1), ("", "peer2", 1), ("d", "peer3", 0)):
            async with station(cluster, name) as (_, there, address):
                here.names[address] = "peer2"
                assert await one.hello(address, 5) == Hello(name, cluster)
                one.send(address, heartbeat(1))
                one.flush()
                await until(lambda: here.lost)
                assert there.claims[:1] == [Claim("c", "peer1", source)] * claims
                here.lost.clear()


async def test_a_host_is_not_told_of_callers_that_expect_nobody() -> None:
    async with station("c", "peer1") as (one, here, _), station("d", "peer2") as (_, there, address):
        one.send(address, heartbeat(1))
        one.flush()
        await until(lambda: here.lost)
        assert not there.claims
