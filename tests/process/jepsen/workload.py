"""Clients that do random calls on a few keys and write down what they saw.

Keys are left behind after a while, so that no history of one key grows beyond what the checker decides
quickly. Every value is written once.
"""

from __future__ import annotations

import asyncio
import random
import time
from itertools import count

from raftcore.core.errors import OutcomeUnknown
from raftcore.kv.client import KvClient
from raftcore.kv.errors import KvError
from raftcore.sim.linearizability import Kind, Operation

KEYS = 4
GENERATION_S = 2.0
TIMEOUTS_S = (3.0, 0.3)
"""The patient learn what became of every write by repeating it; the impatient leave some unknown."""
SLACK_S = 0.005
"""How far the wall clock and the monotonic one may part while a key lives."""

_values = count(1)


class Recorder:
    """The history, and how calls ended."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.counts = {"ok": 0, "unknown": 0, "refused": 0}
        self.expired = 0
        self.running = True
        self._begun_s = time.monotonic()

    def generation(self) -> int:
        return int((time.monotonic() - self._begun_s) / GENERATION_S)

    async def client(self, number: int, endpoints: list[str], seed: int, *, stale: bool = False) -> None:
        """Call until `running` ends. ``stale`` reads whatever the node has: a mutant."""
        dice = random.Random(f"{seed}/{number}")
        dice.shuffle(endpoints := list(endpoints))
        timeout_s = TIMEOUTS_S[number % 2]
        async with KvClient(endpoints, timeout_s, attempt_s=0.8) as client:
            while self.running:
                await self.step(f"c{number}", client, dice, stale=stale)
                await asyncio.sleep(dice.random() * 0.02)

    async def step(self, process: str, client: KvClient, dice: random.Random, *, stale: bool) -> None:
        key = f"g{self.generation()}/{dice.randrange(KEYS)}"
        action = dice.choices(("get", "set", "delete", "create", "swap", "scan"), weights=(8, 4, 1, 2, 5, 1))[
            0
        ]
        match action:
            case "get":
                await self.get(process, client, key, stale=stale)
            case "scan":
                await self.scan(process, client, key.split("/", maxsplit=1)[0] + "/", stale=stale)
            case "set":
                value = _value()
                await self.record(process, Kind.WRITE, key, value, client.set(key.encode(), value))
            case "delete":
                await self.record(process, Kind.DELETE, key, None, client.delete(key.encode()))
            case "create":
                value = _value()
                call = client.set(key.encode(), value, expected_version=0)
                await self.record(process, Kind.CREATE, key, value, call)
            case "swap":
                seen = await self.get(process, client, key, stale=stale)
                if seen is None:
                    return
                value = _value()
                # Values are unique, so that a version says no more and no less than its value.
                expected = dice.choice(({"expected_value": seen.value}, {"expected_version": seen.version}))
                call = client.set(key.encode(), value, **expected)
                await self.record(process, Kind.SWAP, key, (seen.value, value), call)

    async def get(self, process: str, client: KvClient, key: str, *, stale: bool = False):
        """The item that was read; None also when nothing was."""
        invoked_at = time.monotonic()
        try:
            item = await client.get(key.encode(), stale=stale)
        except (KvError, OutcomeUnknown):
            self.counts["refused"] += 1
            return None
        value = None if item is None else item.value
        self._add(Operation(process, Kind.READ, key, None, invoked_at, time.monotonic(), value))
        return item

    async def scan(self, process: str, client: KvClient, prefix: str, *, stale: bool = False) -> None:
        invoked_at = time.monotonic()
        try:
            found = await client.scan(prefix.encode(), 100, stale=stale)
        except (KvError, OutcomeUnknown):
            self.counts["refused"] += 1
            return
        returned_at = time.monotonic()
        values = {item.key: item.value for item in found.items}
        for number in range(KEYS):
            key = f"{prefix}{number}"
            read = Operation(process, Kind.READ, key, None, invoked_at, returned_at, values.get(key.encode()))
            self._add(read)

    async def sessions(self, endpoints: list[str], seed: int) -> None:
        """Keys that expire do so when they should: not early, not late, and for good.

        All nodes share one clock here, so that it is told exactly. :raises AssertionError: otherwise.
        """
        dice = random.Random(f"{seed}/sessions")
        async with KvClient(endpoints, TIMEOUTS_S[0], attempt_s=0.8) as client:
            while self.running:
                key, ttl_s = b"session/" + _value(), dice.choice((0.05, 0.3, 1.0))
                set_at = time.monotonic()
                try:
                    await client.set(key, b"v", ttl_ms=int(ttl_s * 1000))
                    until_s = time.monotonic() + ttl_s
                    is_over = False
                    while (asked_at := time.monotonic()) < until_s + 0.2:
                        item = await client.get(key)
                        what = f"{key!r}, set for {ttl_s} s between {set_at} and {until_s - ttl_s}"
                        if item is None:
                            assert time.monotonic() >= set_at + ttl_s - SLACK_S, f"{what}, ended early"
                            is_over = True
                        else:
                            assert not is_over, f"{what}, came back"
                            assert asked_at <= until_s + SLACK_S, f"{what}, was read at {asked_at}"
                        await asyncio.sleep(0.02)
                    self.expired += is_over
                except (KvError, OutcomeUnknown):
                    self.counts["refused"] += 1

    async def record(self, process: str, kind: Kind, key: str, value: object, call) -> None:
        invoked_at = time.monotonic()
        try:
            result = await call
        except OutcomeUnknown:
            self.counts["unknown"] += 1
            self.operations.append(Operation(process, kind, key, value, invoked_at, None))
            return
        except KvError:
            self.counts["refused"] += 1
            return
        self._add(Operation(process, kind, key, value, invoked_at, time.monotonic(), result.done))

    def _add(self, operation: Operation) -> None:
        self.counts["ok"] += 1
        self.operations.append(operation)


def _value() -> bytes:
    return b"%d" % next(_values)
