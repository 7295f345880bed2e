"""Hosts as processes of their own: what starts, asks, and kills them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from z4sql.testing.ports import free_address

HERE = Path(__file__).parent


class CallFailed(Exception):
    pass


class Peer:
    """A host process and the pipe to it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.address = free_address()
        self.directory = directory
        self.process: asyncio.subprocess.Process
        self._lock = asyncio.Lock()
        self._log_path = directory.with_name(f"{name}.log")
        self._log_path.touch()

    async def start(self, bootstrap: bool = False, **environment: str) -> None:
        log_file = self._log_file()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "host_process.py"),
            self.name,
            self.address,
            str(self.directory),
            "1" if bootstrap else "0",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file if not os.environ.get("HOST_LOGS") else None,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path]),
                **environment,
            },
            limit=1 << 26,
        )
        os.close(log_file)
        while json.loads(await self._line()) != "ready":
            pass

    def _log_file(self) -> int:
        """Of this life only; the process keeps it open."""
        return os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def log_text(self) -> str:
        """What this life has said so far."""
        return self._log_path.read_text(errors="replace")

    async def _line(self) -> bytes:
        while True:
            line = await asyncio.wait_for(self.process.stdout.readline(), 30)
            assert line, f"{self.name} ended; the end of its log: {self.log_text()[-2000:]}"
            if line[:1] in b'{"':
                return line

    async def call(self, method: str, *arguments):
        async with self._lock:
            self.process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")
            answer = json.loads(await self._line())
        if "error" in answer:
            raise CallFailed(f"{answer['error']}: {answer['text']}")
        return answer["ok"]

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def until(self, condition, timeout_s: float = 20.0):
        """Wait until ``condition`` holds for the status; return it."""
        status = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    status = await self.call("status")
                    if status is not None and condition(status):
                        return status
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{self.name} stays at {status}") from None


async def form(peers: list[Peer], **environment: str) -> Peer:
    """Make the three peers a cluster led by the first."""
    first, *others = peers
    await asyncio.gather(
        first.start(bootstrap=True, **environment), *(peer.start(**environment) for peer in others)
    )
    await first.until(lambda status: status["role"] == "LEADER")
    for peer in others:
        await first.call("add", peer.name, peer.address, 20)
    return first


async def leader_of(peers: list[Peer]) -> Peer:
    async with asyncio.timeout(20):
        while True:
            for peer in peers:
                status = await peer.call("status")
                if status and status["role"] == "LEADER":
                    return peer
            await asyncio.sleep(0.02)


async def propose(peer: Peer, lo: int, hi: int) -> None:
    outcomes = await peer.call("propose", [["add", f"key{i % 100}", i] for i in range(lo, hi)])
    assert not [outcome for outcome in outcomes if isinstance(outcome, str)]


async def assert_same_state(peers: list[Peer]) -> None:
    applied = max([(await peer.call("status"))["applied"] for peer in peers])
    states = []
    for peer in peers:
        await peer.until(lambda status: status["applied"] >= applied)
        states.append(await peer.call("values"))
    assert states.count(states[0]) == len(states)
