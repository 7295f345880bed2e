"""The next task of a namespace is never overlooked, and what is gone is stepped over once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from raftcore.storage.kv import Batch, Store
from z4sql.delivery.horizon import MARKS_MAX, Horizon
from z4sql.tasks.due import DueReader, cursor_before
from z4sql.tasks.keys import DUE, index_key, namespace_part, place, time_bytes

NAME = b"mail"
START_US = 1_700_000_000_000_000


class Index:
    """The due index of one namespace: a task for every time, at most."""

    def __init__(self, path: Path) -> None:
        self.store = Store.open(path, wal=False)
        self.live: set[int] = set()

    def _key(self, time_us: int) -> bytes:
        return index_key(DUE, namespace_part(NAME) + place(START_US, 1), time_us)

    def change(self, come: set[int], gone: set[int]) -> None:
        batch = Batch()
        for time_us in gone:
            batch.delete(self._key(time_us))
        for time_us in come:
            batch.put(self._key(time_us), b"")
        self.store.write(batch)
        self.live = (self.live - gone) | come


@pytest.mark.parametrize("seed", range(30))
def test_it_is_never_later_than_the_first_task(tmp_path: Path, seed: int) -> None:
    """Replay one: pytest tests/property/test_delivery_horizon.py -k 'first_task[SEED]'"""
    generator = random.Random(seed)
    index = Index(tmp_path / "store")
    span_us = generator.choice([50, 5_000, 300_000_000])
    at_most = generator.choice([3, 40, 3_000])
    horizon = Horizon(DueReader(index.store), NAME)
    now_us = START_US
    for _ in range(120):
        count = generator.randrange(at_most)
        come = {now_us + generator.randrange(-span_us // 10, span_us) for _ in range(count)}
        gone = {time_us for time_us in index.live if generator.random() < generator.choice([0.1, 0.9])}
        index.change(come, gone)
        horizon.note(map(time_bytes, come))
        now_us += generator.randrange(max(span_us // 20, 2))
        index.change(set(), {time_us for time_us in index.live if time_us <= now_us})
        told_us = horizon.next_us(now_us, cursor_before(NAME, now_us + 1))
        first_us = min(index.live, default=None)
        if first_us is None:
            continue
        assert told_us is not None and now_us < told_us <= first_us
    index.store.close()


class Counting(DueReader):
    """Remembers where walks began."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.begun: list[bytes] = []

    def next_due_us(self, namespace: bytes, after: bytes | None = None) -> int | None:
        assert after is not None
        self.begun.append(after)
        return super().next_due_us(namespace, after)


def test_leases_that_were_acknowledged_are_stepped_over_once(tmp_path: Path) -> None:
    index = Index(tmp_path / "store")
    reader = Counting(index.store)
    horizon = Horizon(reader, NAME)
    rounds = 2 * MARKS_MAX
    for now_us in range(START_US, START_US + rounds):
        lease = {now_us + 300_000_000}
        index.change(lease, set())
        horizon.note(map(time_bytes, lease))
        index.change(set(), lease)
        horizon.next_us(now_us, cursor_before(NAME, now_us + 1))
    assert reader.begun == sorted(reader.begun)
    assert len(reader.begun) < 8
    index.store.close()
