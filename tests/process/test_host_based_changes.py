"""Changes of the membership that name the one they were decided on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from dict_machine import DictMachine

from raftcore.core.config import CoreConfig
from raftcore.core.errors import ConfigMoved
from raftcore.core.types import Role
from raftcore.host.host import Host, HostConfig
from z4sql.testing.ports import free_address


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[Host]]:
    """The first leads a cluster of one; the others wait to be invited."""
    made = []
    for number in (1, 2, 3):
        address = free_address()
        directory = tmp_path / f"peer{number}"
        config = HostConfig(
            name=f"peer{number}",
            address=address,
            listen=address,
            data_dir=directory / "log",
            core=CoreConfig(election_timeout_us=600_000, heartbeat_interval_us=50_000),
            formation_wait_s=0,
        )
        made.append(Host(config, lambda shard, node, at=directory: DictMachine(at / f"state-{node}")))
    for host in made:
        await host.start(bootstrap=host is made[0])
    async with asyncio.timeout(10):
        while (status := made[0].status()) is None or status.role is not Role.LEADER:
            await asyncio.sleep(0.01)
    yield made
    for host in made:
        await host.stop()


async def test_a_change_is_made_to_the_membership_it_was_decided_on_or_to_none(hosts: list[Host]) -> None:
    leader, second, third = hosts
    decided_on = leader.status().membership_index
    await leader.add_learner("peer2", second.config.address, 20, decided_on)
    changed = leader.status()
    late: list[Callable[[], Awaitable[object]]] = [
        lambda: leader.add_member("peer3", third.config.address, 20, decided_on),
        lambda: leader.add_learner("peer3", third.config.address, 20, decided_on),
        lambda: leader.promote_member("peer2", 20, decided_on),
        lambda: leader.remove_member("peer2", 20, decided_on),
    ]
    for change in late:
        with pytest.raises(ConfigMoved, match=f"changed by entry {changed.membership_index}"):
            await change()
        assert leader.status().membership == changed.membership
    await leader.promote_member("peer2", 20, changed.membership_index)
    await leader.remove_member("peer2", 20, leader.status().membership_index)
    assert [member.name for member in leader.status().membership.members] == ["peer1"]


async def test_of_two_changes_decided_on_one_membership_one_is_made(hosts: list[Host]) -> None:
    leader, second, third = hosts
    decided_on = leader.status().membership_index
    outcomes = await asyncio.gather(
        leader.add_learner("peer2", second.config.address, 20, decided_on),
        leader.add_learner("peer3", third.config.address, 20, decided_on),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConfigMoved", "Member"]
    assert len(leader.status().membership.members) == 2
