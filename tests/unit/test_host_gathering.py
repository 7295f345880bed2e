"""Commands of a busy host gather for some milliseconds; those of an idle one, or of a lone caller, do not."""

from __future__ import annotations

import asyncio

import pytest

from raftcore.core.errors import Busy, NotLeader
from raftcore.core.types import ShardId
from raftcore.host.gathering import GATHER_S_MAX, SAMPLE_S, GatheredCommands, Gathering

SHARD = ShardId(1)


class Watched:
    """Gathered commands on a clock of the test's own, and what of them was proposed."""

    def __init__(self) -> None:
        self.now_s = self.processor_s = 0.0
        self.proposed: list[bytes] = []
        self.error: Exception | None = None
        self.gathering = Gathering(lambda: self.now_s, lambda: self.processor_s)
        self.commands = GatheredCommands(self._propose, self.gathering)

    def busy(self, share: float) -> None:
        self.now_s += SAMPLE_S
        self.processor_s += SAMPLE_S * share

    def add(self, command: bytes) -> list[object]:
        outcomes: list[object] = []
        self.commands.add(command, outcomes.append, SHARD)
        return outcomes

    def _propose(self, command: bytes, done, _shard) -> None:
        if self.error is not None:
            raise self.error
        self.proposed.append(command)
        done(b"result of " + command)


@pytest.mark.parametrize(
    ("share", "wait_s"),
    [
        (0.0, 0.0),
        (0.3, 0.0),
        (0.32, 0.0),
        (0.45, GATHER_S_MAX / 2),
        (0.6, GATHER_S_MAX),
        (1.0, GATHER_S_MAX),
    ],
)
def test_commands_gather_longer_the_busier_the_loop_is(share: float, wait_s: float) -> None:
    watched = Watched()
    watched.busy(share / 2)
    watched.now_s -= SAMPLE_S / 2
    assert watched.gathering.wait_s() == 0.0, "it is too soon to tell"
    watched.now_s += SAMPLE_S / 2
    watched.processor_s *= 2
    assert watched.gathering.wait_s() == pytest.approx(wait_s)


def test_a_loop_that_became_idle_makes_nobody_wait() -> None:
    watched = Watched()
    for share, wait_s in ((1.0, GATHER_S_MAX), (0.01, 0.0)):
        watched.busy(share)
        assert watched.gathering.wait_s() == wait_s


@pytest.mark.parametrize(("share", "callers"), [(0.1, 9), (0.3, 9), (1.0, 1)])
async def test_an_idle_host_and_a_lone_caller_wait_for_nobody(share: float, callers: int) -> None:
    watched = Watched()
    watched.busy(share)
    watched.commands.callers = callers
    assert watched.add(b"a") == [b"result of a"]
    assert watched.add(b"b") == [b"result of b"]


async def test_commands_of_a_busy_host_are_proposed_together_and_in_order() -> None:
    watched = Watched()
    watched.busy(0.9)
    watched.commands.callers = 9
    outcomes = [watched.add(command) for command in (b"a", b"b", b"c")]
    assert watched.proposed == []
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    async with asyncio.timeout(5):
        while not watched.proposed:
            await asyncio.sleep(0.001)
    assert loop.time() - begun_s >= GATHER_S_MAX / 2
    assert watched.proposed == [b"a", b"b", b"c"]
    assert outcomes == [[b"result of a"], [b"result of b"], [b"result of c"]]
    watched.busy(0.1)
    assert watched.add(b"d") == [b"result of d"]


@pytest.mark.parametrize("error", [NotLeader(), Busy("full")])
async def test_a_command_that_is_not_accepted_says_so_once(error: Exception) -> None:
    watched = Watched()
    watched.error = error
    assert watched.add(b"a") == [error]
