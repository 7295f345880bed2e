"""raftcore.kv as its users meet it: the command line, expiry, retries, watching, joining by snapshot."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from jepsen.cluster import Cluster, NodeProcess

from raftcore.kv.__main__ import ABSENT, DONE, FAILED, REFUSED, UNAVAILABLE, USAGE, main
from raftcore.kv.client import KvClient
from raftcore.kv.errors import BadRequest, Unavailable
from z4sql.testing.ports import free_address


@pytest.fixture
async def cluster(tmp_path: Path):
    made = Cluster(tmp_path, 3)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@pytest.fixture
async def nodes(tmp_path: Path):
    """Three nodes of which nobody is started."""
    made = Cluster(tmp_path, 3)
    yield made.nodes
    await made.stop()


@pytest.fixture
def command(capfd):
    """Runs a command line; returns its exit code, what it printed, and its lines on standard error."""

    async def run(*arguments: str) -> tuple[int, str, list[str]]:
        capfd.readouterr()
        code = await asyncio.to_thread(main, [str(each) for each in arguments])
        out, problems = capfd.readouterr()
        return code, out, problems.splitlines()

    return run


async def test_every_command_answers_with_its_documented_exit_code(cluster: Cluster, command) -> None:
    at = ("--endpoints", ",".join(reversed(cluster.endpoints)))

    async def expect(code: int, *arguments: str) -> str:
        got, out, problems = await command(*arguments, *at)
        assert got == code, (arguments, out, problems)
        assert len(problems) == (code not in (DONE, ABSENT)), problems
        return out

    assert json.loads(await expect(DONE, "set", "k", "one"))["version"] == 1
    assert await expect(DONE, "get", "k") == "one\n"
    assert await expect(ABSENT, "get", "missing") == ""
    assert not json.loads(await expect(ABSENT, "set", "k", "two", "--if-version", "0"))["done"]
    await expect(DONE, "set", "k", "two", "--if-value", "one")
    index = json.loads(await expect(DONE, "set", "k\udcff", "raw"))["index"]
    shown = [json.loads(line) for line in (await expect(DONE, "scan", "k")).splitlines()]
    assert [(item["key"], item["value"]) for item in shown] == [("k", "two"), ("k\udcff", "raw")]
    await expect(DONE, "delete", "k")
    await expect(ABSENT, "delete", "k")
    watched = await expect(DONE, "watch", "--from-index", str(index), "--count", "2")
    assert [json.loads(line)["kind"] for line in watched.splitlines()] == ["set", "delete"]
    await expect(USAGE, "set", "", "v")
    await expect(USAGE, "set", "k", "v", "--ttl-ms", "-1")
    await expect(REFUSED, "add-node", "n2", cluster.nodes[1].address)
    await expect(REFUSED, "remove-node", "nobody")
    await expect(DONE, "ping")
    await expect(DONE, "transfer", "n3")
    await expect(DONE, "remove-node", "n2")
    await expect(DONE, "add-learner", "n2", cluster.nodes[1].address)
    info = json.loads(await expect(DONE, "info"))
    assert info["leader_id"] == info["id"] > 0
    assert info["term"] > 0
    assert info["applied"] > index
    assert [(peer["name"], peer["voter"]) for peer in info["peers"]] == [
        ("n1", True),
        ("n3", True),
        ("n2", False),
    ]
    await expect(DONE, "promote", "n2")
    assert all(peer["voter"] for peer in json.loads(await expect(DONE, "info"))["peers"])
    nowhere = ("--endpoints", free_address(), "--timeout-s", "0.5")
    for call in (("get", "k"), ("set", "k", "v"), ("ping",), ("info",), ("transfer",)):
        code, _, problems = await command(*call, *nowhere)
        assert (code, len(problems)) == (UNAVAILABLE, 1), (call, problems)


async def test_an_expired_key_is_gone_at_every_node_at_once_and_swept(cluster: Cluster) -> None:
    async with KvClient(cluster.endpoints) as client:
        await client.set(b"long", b"v", ttl_ms=60_000)
        for node in cluster.nodes:
            async with KvClient([node.address]) as reader:
                await reader.get(b"long")
                written = await client.set(b"short", b"v", ttl_ms=300)
                # Nobody writes meanwhile: the clock of the state stands still unless a reader moves it on.
                await asyncio.sleep(0.301)
                assert await reader.get(b"short") is None, f"{node.name} read an expired key"
                assert [item.key for item in (await reader.scan(b"", 10)).items] == [b"long"]
        kinds = []
        async with asyncio.timeout(10):
            async for change in client.watch(written.index, b"short"):
                kinds.append(change.kind)
                if len(kinds) == 2:
                    break
        assert kinds == ["set", "expire"]


async def test_a_write_repeated_at_another_leader_is_done_once(cluster: Cluster) -> None:
    async with KvClient(cluster.endpoints, timeout_s=20) as client:
        first = await client.set(b"k", b"1", request_id=b"the first")
        await client.set(b"k", b"2", request_id=b"the second")
        await (await cluster.leader()).kill()
        assert await client.set(b"k", b"1", request_id=b"the first") == first
        assert (await client.get(b"k")).value == b"2"
        with pytest.raises(BadRequest, match="value"):
            await client.set(b"k", b"v" * (2 << 20))


async def test_a_watcher_sees_every_change_once_and_in_order_though_nodes_die(cluster: Cluster) -> None:
    expected = [b"%d" % number for number in range(60)]

    async def watched() -> list[bytes]:
        found = []
        async with KvClient(cluster.endpoints) as watcher:
            async for change in watcher.watch(1, b"w/"):
                found.append(change.value)
                if len(found) == len(expected):
                    break
        return found

    watching = asyncio.create_task(watched())
    async with KvClient(cluster.endpoints, timeout_s=20) as client:
        for number, value in enumerate(expected):
            await client.set(b"w/%d" % (number % 3), value)
            if number % 20 == 10:
                node = cluster.nodes[number // 20]
                await node.kill()
                await node.start()
    async with asyncio.timeout(20):
        assert await watching == expected


async def test_a_watcher_leaves_a_node_that_nobody_tells_anything_any_more(cluster: Cluster) -> None:
    _, removed, other = cluster.nodes
    seen = []

    async def watched() -> None:
        async with KvClient([removed.address, other.address]) as watcher:
            async for change in watcher.watch(1):
                seen.append(change.key)
                if change.key == b"after":
                    return

    watching = asyncio.create_task(watched())
    async with KvClient(cluster.endpoints) as client:
        await client.set(b"before", b"v")
        async with asyncio.timeout(10):
            while not seen:
                await asyncio.sleep(0.01)
        await client.change("remove-node", removed.name)
        await client.set(b"after", b"v")
    async with asyncio.timeout(10):
        await watching
    assert seen == [b"before", b"after"]


async def test_newcomers_join_by_snapshot_between_tables_of_both_kinds(nodes: list[NodeProcess]) -> None:
    """The first keeps its state in RocksDB, the second in memory, the third in RocksDB again."""
    for number, node in enumerate(nodes):
        await node.start(bootstrap=number == 0)
    async with KvClient([nodes[0].address], timeout_s=30) as client:
        for newcomer, leader in zip(nodes[1:], nodes, strict=False):
            for number in range(150):
                await client.set(b"%s/%d" % (leader.name.encode(), number), b"v%d" % number)
            await until_logged(leader, "log_compacted")
            await client.change("add-node", newcomer.name, newcomer.address)
            await until_logged(newcomer, "snapshot_installed")
            await client.change("transfer", newcomer.name)
    states = []
    for node in nodes:
        async with KvClient([node.address], timeout_s=10) as client:
            states.append((await client.scan(b"", 1_000)).items)
    assert len(states[0]) == 300
    assert states[0] == states[1] == states[2]


async def until_logged(node: NodeProcess, event: str) -> None:
    async with asyncio.timeout(20):
        while event not in (node.directory / "log.txt").read_text():
            await asyncio.sleep(0.05)


async def test_a_node_of_no_cluster_says_so(nodes: list[NodeProcess]) -> None:
    await nodes[0].start()
    async with KvClient([nodes[0].address], timeout_s=0.5) as client:
        for call in (client.get(b"k", stale=True), client.get(b"k"), client.set(b"k", b"v")):
            with pytest.raises(Unavailable):
                await call
        assert (await client.info(nodes[0].address)).id == 0


async def test_a_node_stops_cleanly_when_told_and_fails_by_name_where_it_cannot_listen(
    cluster: Cluster, tmp_path: Path
) -> None:
    leader = await cluster.leader()
    other = NodeProcess("n4", tmp_path / "n4", leader.address, [])
    with pytest.raises(AssertionError, match="did not start"):
        await other.start(bootstrap=True)
    assert await other.process.wait() == FAILED
    assert leader.address in other.log_end().splitlines()[-1]
    leader.process.terminate()
    assert await asyncio.wait_for(leader.process.wait(), 20) == DONE
    async with KvClient(cluster.endpoints, timeout_s=10) as client:
        await client.set(b"k", b"v")
    await leader.start()
    async with KvClient([leader.address], timeout_s=10) as client:
        assert (await client.get(b"k")).value == b"v"
