"""A newcomer has time for as long as it gets nearer, unless it is seen to be slower than the writes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from raftcore.core.types import Index, NodeId
from raftcore.host.members import _CatchingUp

NODE = NodeId(7)


class Newcomer:
    """What a leader's host knows of a newcomer, and whether that gives it more time."""

    def __init__(self) -> None:
        self.match = self.last_index = self.sent_bytes = self.being_made = 0
        runner = SimpleNamespace(shard=1, replica=SimpleNamespace(core=self))
        outgoing = SimpleNamespace(
            sent_bytes=lambda _node: self.sent_bytes, being_made=lambda _shard: self.being_made
        )
        snapshots = SimpleNamespace(outgoing=outgoing)
        self._catching_up = _CatchingUp(
            SimpleNamespace(member_runner=lambda: runner, snapshots=snapshots), NODE
        )
        self._prolonged = False

    def progress(self) -> dict[NodeId, SimpleNamespace]:
        return {NODE: SimpleNamespace(match=Index(self.match))}

    def reschedule(self, _when: float) -> None:
        self._prolonged = True

    async def has_more_time(self) -> bool:
        self._prolonged = False
        self._catching_up.prolong(self, 1.0)
        return self._prolonged


async def test_bytes_and_entries_that_are_new_give_time_and_nothing_else_does() -> None:
    newcomer = Newcomer()
    newcomer.last_index = 1_000
    assert not await newcomer.has_more_time()
    for sent_bytes, expected in ((10, True), (10, False), (20, True), (0, False), (15, False), (21, True)):
        newcomer.sent_bytes = sent_bytes
        assert await newcomer.has_more_time() is expected, sent_bytes
    for match, expected in ((500, True), (500, False), (400, False), (501, True)):
        newcomer.match = match
        assert await newcomer.has_more_time() is expected, match


async def test_the_first_snapshot_is_made_in_the_leaders_time_and_no_other() -> None:
    newcomer = Newcomer()
    newcomer.last_index = 1_000
    for being_made, expected in ((0, False), (4, True), (4, True), (0, False), (5, False), (4, True)):
        newcomer.being_made = being_made
        assert await newcomer.has_more_time() is expected, being_made


async def test_whoever_is_slower_than_the_writes_has_ten_rounds() -> None:
    newcomer = Newcomer()
    rounds = 0
    newcomer.last_index = 100
    assert not await newcomer.has_more_time()
    for step in range(1, 10_000):
        # Of three entries that are written it gets two.
        newcomer.last_index += 3
        newcomer.match += 2
        if not await newcomer.has_more_time():
            break
        rounds = step
    assert 100 / 2 < rounds < 9_999
    newcomer.last_index += 100
    newcomer.match += 50
    assert not await newcomer.has_more_time(), "the rounds are over for good"


def test_a_timeout_is_moved_by_its_length() -> None:
    async def moved() -> float:
        newcomer = Newcomer()
        newcomer.sent_bytes = 1
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5) as timeout:
            newcomer._catching_up.prolong(timeout, 50)
            return (timeout.when() or 0) - loop.time()

    assert 49 < asyncio.run(moved()) <= 50
