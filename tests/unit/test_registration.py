"""A peer's addresses reach the replicated state, whatever fails on the way, and again when they are lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from raftcore.core.errors import InvariantViolation, StorageError
from z4sql.api import registration
from z4sql.api.registration import Registration
from z4sql.tasks.model import MemberAddresses

OWN = MemberAddresses("peer1", "h:1", "h:2", "h:3", "h:4")


class Cluster:
    """One row of replicated state, which fails when told to."""

    def __init__(self) -> None:
        self.row: MemberAddresses | None = None
        self.failures: list[BaseException] = []

    def known(self) -> MemberAddresses | None:
        self._fail()
        return self.row

    async def register(self, addresses: MemberAddresses) -> None:
        self._fail()
        self.row = addresses

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


async def registered(cluster: Cluster) -> None:
    async with asyncio.timeout(5):
        while cluster.row != OWN:
            await asyncio.sleep(0.001)


async def test_addresses_are_written_after_any_failure_and_again_when_they_are_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registration, "PAUSE_S", 0.001)
    monkeypatch.setattr(registration, "_LOOK_S", 0.001)
    cluster = Cluster()
    running = asyncio.create_task(Registration(OWN, cluster.known, cluster.register).run())
    for failure in (StorageError("is closed"), InvariantViolation("the machine is open"), OSError("gone")):
        for row in (None, MemberAddresses("peer1", "h:1", "h:2", "h:3", "elsewhere:4")):
            cluster.failures, cluster.row = [failure, failure], row
            await registered(cluster)
    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
