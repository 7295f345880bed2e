"""Invitations that nobody's leader sent: a host throws no replica away that its cluster still has."""

from __future__ import annotations

import asyncio
import json
import re
import signal

import grpc
import pytest

from raftcore.transport.grpc_transport import SERVICE
from tests.process.host_peers import Peer, assert_same_state, form, propose


async def ask(peer: Peer, method: str, request: bytes) -> bytes:
    async with grpc.aio.insecure_channel(peer.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/{method}")
        return await call(request, timeout=10)


async def invite(peer: Peer, node: int) -> None:
    """As anybody can who reaches the port: who listens there says what cluster it is of."""
    hello = json.loads(await ask(peer, "Hello", b"{}"))
    fields = {"cluster_id": hello["cluster_id"], "shard": 1, "node": node, "name": hello["name"]}
    await ask(peer, "Join", json.dumps(fields).encode())


async def test_members_that_hear_each_other_take_no_invitation(peers: list[Peer]) -> None:
    await form(peers, HOST_ELECTION_TIMEOUT_US="600000")
    await propose(peers[0], 0, 300)
    before = [await peer.call("status") for peer in peers]
    refusals = await asyncio.gather(
        *(
            invite(peer, node)
            for peer, status in zip(peers, before, strict=True)
            for node in (status["node"] + 1, status["applied"] + 1000, 2**40)
        ),
        return_exceptions=True,
    )
    for refusal in refusals:
        assert isinstance(refusal, grpc.aio.AioRpcError)
        assert refusal.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert re.search("still|no replica has id", refusal.details())
    after = [await peer.call("status") for peer in peers]
    kept = ("node", "role", "term", "leader", "voters")
    assert [[each[key] for key in kept] for each in after] == [[each[key] for key in kept] for each in before]
    await propose(peers[0], 300, 500)
    await assert_same_state(peers)


async def test_a_voter_that_hears_nobody_keeps_its_replica(peers: list[Peer]) -> None:
    await form(peers)
    await propose(peers[0], 0, 300)
    await assert_same_state(peers)
    for peer in peers[:2]:
        await peer.kill()
    node = (await peers[2].call("status"))["node"]
    await peers[2].until(lambda status: status["leader"] is None)
    with pytest.raises(grpc.aio.AioRpcError, match="still votes"):
        await invite(peers[2], node + 1000)
    await asyncio.gather(*(peer.start() for peer in peers[:2]))
    await peers[0].until(lambda status: status["leader"] is not None)
    await assert_same_state(peers)


async def test_a_learner_that_was_removed_while_it_was_away_comes_back(peers: list[Peer]) -> None:
    one, two, _ = peers
    await asyncio.gather(one.start(bootstrap=True), two.start())
    await one.until(lambda status: status["role"] == "LEADER")
    await one.call("add_learner", "peer2", two.address, 20)
    await propose(one, 0, 100)
    await assert_same_state([one, two])
    node = (await two.call("status"))["node"]
    two.process.send_signal(signal.SIGSTOP)
    await one.call("remove", "peer2", 10)
    await propose(one, 100, 200)
    two.process.send_signal(signal.SIGCONT)
    await one.call("add", "peer2", two.address, 20)
    await two.until(lambda status: status["node"] > node)
    await assert_same_state([one, two])
