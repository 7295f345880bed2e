"""What a host offers applications beside callbacks: results and indexes to await, its machine, its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from dict_machine import DictMachine
from led_host import config_of, led

from raftcore.core.errors import NotLeader, OutcomeUnknown, PayloadTooLarge, ReadFailed
from raftcore.core.types import Index, NodeId, ShardId
from raftcore.host.host import Host, HostConfig
from raftcore.host.replicas import state_directory
from z4sql.testing.ports import free_address


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(state_directory(tmp_path, shard, node)))
    await host.start(bootstrap=True)
    yield await led(host)
    await host.stop()


def adding(number: int) -> bytes:
    return json.dumps(["add", "sum", number]).encode()


async def test_a_command_that_is_awaited_gives_its_result(host: Host) -> None:
    answers = await asyncio.gather(*(host.apply(adding(1), 10) for _ in range(20)))
    assert sorted(map(json.loads, answers)) == list(range(1, 21))
    with pytest.raises(PayloadTooLarge):
        await host.apply(b"x" * (host.config.limits.command_bytes_max + 1), 10)


async def test_a_command_that_is_not_applied_in_time_has_an_unknown_outcome(host: Host) -> None:
    async with host.member_runner().held():
        with pytest.raises(OutcomeUnknown, match=r"within 0\.05 s"):
            await host.apply(adding(1), 0.05)
    host.need_apply()
    assert json.loads(await host.apply(adding(1), 10)) == 2


async def test_a_command_is_refused_where_nobody_leads(host: Host) -> None:
    await host.stop()
    with pytest.raises(NotLeader):
        await host.apply(adding(1), 10)


async def test_waiting_for_an_index_ends_when_it_is_applied_and_not_before(host: Host) -> None:
    await host.apply(adding(1), 10)  # Behind it no entry of the election is left to be applied.
    index = host.status().applied
    assert await host.until_applied(index, 0)
    waiting = [asyncio.create_task(host.until_applied(Index(index + 1 + n), 10)) for n in range(3)]
    assert not await host.until_applied(Index(index + 1), 0.01)
    for number, each in enumerate(waiting):
        assert not each.done()
        await host.apply(adding(1), 10)
        assert await asyncio.wait_for(each, 10)
        assert host.status().applied >= index + 1 + number
    abandoned = asyncio.create_task(host.until_applied(Index(index + 4), 10))
    await asyncio.sleep(0)
    abandoned.cancel()
    await host.apply(adding(1), 10)


async def test_waiting_ends_with_the_replica(host: Host) -> None:
    waiting = asyncio.create_task(host.until_applied(Index(1_000), 10))
    await asyncio.sleep(0)
    await host.stop()
    with pytest.raises(NotLeader):
        await asyncio.wait_for(waiting, 10)


async def test_the_machine_is_not_handed_out_while_a_snapshot_replaces_it(host: Host) -> None:
    assert isinstance(host.machine(), DictMachine)
    runner = host.member_runner()
    assert await host.freeze(runner)
    with pytest.raises(ReadFailed, match="replaced"):
        host.machine()
    host.thaw(runner)
    assert isinstance(host.machine(), DictMachine)


async def test_a_service_of_the_application_is_served_where_members_come(tmp_path: Path) -> None:
    async def upper(data: bytes, _context: object) -> bytes:
        return data.upper()

    handlers = {"Upper": grpc.unary_unary_rpc_method_handler(upper)}
    address = free_address()
    config = HostConfig(
        name="peer1",
        address=address,
        listen=address,
        data_dir=tmp_path / "log",
        services=(grpc.method_handlers_generic_handler("text.Text", handlers),),
    )
    host = Host(config, lambda shard, node: DictMachine(state_directory(tmp_path, shard, node)))
    await host.start()
    async with grpc.aio.insecure_channel(address) as channel:
        assert await channel.unary_unary("/text.Text/Upper")(b"abc", timeout=10) == b"ABC"
    await host.stop()


def test_a_replica_has_a_directory_of_its_own_and_former_ones_go(tmp_path: Path) -> None:
    first = state_directory(tmp_path, ShardId(0), NodeId(3))
    other_shard = state_directory(tmp_path, ShardId(1), NodeId(3))
    for directory in (first, other_shard, first.with_name(first.name + ".former")):
        directory.mkdir(parents=True)
    assert state_directory(tmp_path, ShardId(0), NodeId(3)) == first
    assert len(list(tmp_path.iterdir())) == 3
    second = state_directory(tmp_path, ShardId(0), NodeId(30))
    assert second != first
    assert list(tmp_path.iterdir()) == [other_shard]
