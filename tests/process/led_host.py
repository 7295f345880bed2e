"""A host in the test's own process, and waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raftcore.core.config import CoreConfig
from raftcore.core.types import Role
from raftcore.host.host import Host, HostConfig


def config_of(directory: Path, **settings: Any) -> HostConfig:
    """Of a host that leads soon, and listens where nobody looks."""
    return HostConfig(
        name="peer1",
        address="127.0.0.1:1",
        listen="127.0.0.1:0",
        data_dir=directory / "log",
        core=CoreConfig(election_timeout_us=100_000, heartbeat_interval_us=20_000),
        formation_wait_s=0,
        **settings,
    )


async def until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def led(host: Host) -> Host:
    """Wait until it leads."""
    await until(lambda: (status := host.status()) is not None and status.role is Role.LEADER)
    return host
