"""A loop that stood still says so, and the host goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog
from dict_machine import DictMachine
from test_host_loop import command, config_of, led

from raftcore.host.host import Host


async def test_a_loop_that_stood_still_is_counted_and_said_and_goes_on(tmp_path: Path) -> None:
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / "state"))
    await host.start(bootstrap=True)
    await led(host)
    before = host.saturation.stalls
    with structlog.testing.capture_logs() as events:
        async with asyncio.timeout(20):
            while not any(event["event"] == "loop_stalled" for event in events):
                # Longer than a heartbeat's interval: whatever timer there is comes late.
                time.sleep(0.06)  # noqa: ASYNC251
                await asyncio.sleep(0.005)
    said = next(event for event in events if event["event"] == "loop_stalled")
    assert host.saturation.stalls > before
    assert said["late_ms"] >= 20 and said["log_level"] == "warning"
    assert await command(host, "add", "a", 1) == 1
    await host.stop()
