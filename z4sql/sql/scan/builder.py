"""Reads ahead, while nobody asks: segments of what was written a while ago, so that a first query finds them.

What was asked for lately comes first, then the largest namespaces. It gives way to every query at once, rests
while the store changes a lot, never drops what queries left, and stops where memory ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from raftcore.storage.kv import Store
from z4sql.sql.copy.follower import CopyUnavailable
from z4sql.sql.errors import Interrupted
from z4sql.sql.scan.cached_source import CachedSource
from z4sql.sql.scan.limits import QueryLimits
from z4sql.sql.scan.members import Extractor
from z4sql.sql.scan.pieces import is_narrow
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, TimeRange
from z4sql.sql.scan.segments import SegmentCache
from z4sql.tasks.keys import namespace_part
from z4sql.tasks.reader import TaskReader

_STATE: Final = "state"
_STOP_TIMEOUT_S: Final = 1.0
_FAILED_PAUSE_S: Final = 10.0
_RANGES_MAX: Final = 16
_NAMESPACES_MAX: Final = 1_000
_GROWN: Final = 2
"""A namespace that nobody asks about is read again when it has so many times as many tasks."""

_log = structlog.get_logger()


@dataclass(slots=True, frozen=True)
class BuilderSettings:
    """``settled_s``: for how long a bucket was not written to. ``quiet_s``: how long after the last query.

    ``rows_max``: of one visit, which pins files of the store. ``busy_changes_s``: written tasks a second from
    which on only what was asked for is read. ``rest``: the share of time for others while the store changes.
    ``patience_s``: how long it gives way to queries that do not end, before it reads one segment.
    """

    settled_s: float = 2.0
    quiet_s: float = 0.05
    rows_max: int = 262_144
    busy_changes_s: float = 500.0
    rest: float = 0.8
    patience_s: float = 5.0
    pause_s: float = 0.25


class View(Protocol):
    """Of a copy: a store, and its segments."""

    @property
    def store(self) -> Store: ...

    @property
    def segments(self) -> SegmentCache | None: ...


class Turn:
    """Tells whether queries run. They never wait for it."""

    def __init__(self) -> None:
        self._running = 0
        self._ended_s = 0.0
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def query(self) -> Iterator[None]:
        """A query runs inside."""
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._ended_s = time.monotonic()
                self._changed.notify_all()

    @property
    def is_free(self) -> bool:
        return self._running == 0

    def wait(self, quiet_s: float, timeout_s: float) -> None:
        """Until no query has run for ``quiet_s``, but not longer than ``timeout_s``."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._closed and (now_s := time.monotonic()) < end_s:
                if self._running:
                    self._changed.wait(end_s - now_s)
                elif now_s - self._ended_s < quiet_s:
                    self._changed.wait(quiet_s)
                else:
                    return

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(slots=True, frozen=True)
class _Pass:
    """The last time that a namespace was read to the end. ``left_out``: some of it was being written."""

    began_s: float
    columns: frozenset[str]
    rows: int
    left_out: bool


@dataclass(slots=True, frozen=True)
class _Work:
    space: bytes
    ranges: tuple[TimeRange, ...]
    columns: tuple[str, ...]
    rows: int
    leaves_out: bool


class _GivingWay(QueryLimits):
    """Holds the scan while queries run; ends it when its segments are of no use any more."""

    def __init__(self, builder: SegmentBuilder, cache: SegmentCache) -> None:
        super().__init__()
        self._builder = builder
        self._cache = cache
        self.patience_s = builder.settings.patience_s
        """For how long it goes on to give way. What a scan pins must not be pinned for ever."""

    def check(self, rows: int) -> None:
        self.scanned_rows += rows
        if self.patience_s > 0 and not self._builder.turn.is_free:
            began_s = time.monotonic()
            self._builder.turn.wait(self._builder.settings.quiet_s, self.patience_s)
            self.patience_s -= time.monotonic() - began_s
        if self._cache.retired or self._builder.is_stopped:
            raise Interrupted


class SegmentBuilder:
    """Runs in a thread of its own, from `start` to `stop`; `visit` is one slice of its work."""

    def __init__(
        self,
        acquire: Callable[[], AbstractContextManager[View]],
        extractor: Callable[[], Extractor],
        settings: BuilderSettings | None = None,
    ) -> None:
        self._acquire = acquire
        self._extractor = extractor
        self.settings = settings or BuilderSettings()
        self.turn = Turn()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._cache: SegmentCache | None = None
        self._passes: dict[bytes, _Pass] = {}
        self._listed: list[tuple[str, int]] = []
        self._listed_at = -1
        self._changes = (0.0, 0)
        self._rate = 0.0

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="segments", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End within one slice, and wait for that a while."""
        self._stopped.set()
        self.turn.close()
        if self._thread is not None:
            self._thread.join(_STOP_TIMEOUT_S)

    def visit(self) -> bool:
        """Read some of what is missing; whether there was anything to read."""
        try:
            with self._acquire() as view:
                cache = view.segments
                if cache is None:
                    return False
                if cache is not self._cache:
                    self._cache, self._passes, self._listed_at = cache, {}, -1
                work = self._next(view.store, cache)
                return work is not None and self._read(view.store, cache, work)
        except (CopyUnavailable, Interrupted):
            return False

    def _run(self) -> None:
        while not self._stopped.wait(0):
            self.turn.wait(self.settings.quiet_s, self.settings.patience_s)
            began_s = time.monotonic()
            try:
                worked = self.visit()
            except Exception as error:
                # Whatever it is, queries do without.
                _log.warning("segments_not_read", reason=f"{type(error).__name__}: {error}")
                worked = False
                self._stopped.wait(_FAILED_PAUSE_S)
            took_s = time.monotonic() - began_s
            if not worked:
                self._stopped.wait(self.settings.pause_s)
            elif self._rate:
                self._stopped.wait(took_s * self.settings.rest / (1 - self.settings.rest))

    def _next(self, store: Store, cache: SegmentCache) -> _Work | None:
        """What to read next, if anything."""
        if not cache.has_room_ahead:
            return None
        self._measure(cache)
        asked = cache.asked.spaces()
        busy = self._rate > self.settings.busy_changes_s
        if self._listed_at != cache.changes and not busy:
            self._listed_at = cache.changes
            counts = TaskReader(store).counts_of_namespaces()
            sizes = [(name, sum(states.values())) for name, states in counts.items()]
            sizes.sort(key=lambda size: -size[1])
            self._listed = sizes[:_NAMESPACES_MAX]
        rows = dict(self._listed)
        for space in asked:
            name = space[1:].decode()
            if rows.get(name, cache.settings.kept_rows_min) < cache.settings.kept_rows_min:
                continue
            work = self._work(cache, space, name, rows.get(name, 0), asked=True)
            if work is not None:
                return work
        for name, size in () if busy else self._listed:
            if size < cache.settings.kept_rows_min:
                break
            work = self._work(cache, namespace_part(name.encode()), name, size, asked=False)
            if work is not None:
                return work
        return None

    def _work(self, cache: SegmentCache, space: bytes, name: str, rows: int, *, asked: bool) -> _Work | None:
        now_s = time.monotonic()
        settled_s = now_s - self.settings.settled_s
        columns = (_STATE, *(one for one in cache.asked.columns(space) if one != _STATE and is_narrow(one)))
        unsettled = list(cache.changed_since(space, settled_s))
        last = self._passes.get(space)
        if last is not None and last.columns.issuperset(columns):
            if asked:
                changed = cache.changed_since(space, last.began_s - self.settings.settled_s)
                due = any(changed_s < settled_s for changed_s in changed.values())
            else:
                due = rows >= last.rows * _GROWN or (last.left_out and not unsettled)
            if not due:
                return None
        ranges = _settled(name, unsettled)
        return _Work(space, ranges, columns, rows, bool(unsettled)) if ranges else None

    def _read(self, store: Store, cache: SegmentCache, work: _Work) -> bool:
        extractor = self._extractor()
        began_s, read = time.monotonic(), 0
        limits = _GivingWay(self, cache)
        source = CachedSource(store, limits, cache, extractor)
        batches = source.read_ahead(work.ranges, work.columns)
        try:
            for rows in batches:
                read += rows
                enough = read >= self.settings.rows_max or limits.patience_s <= 0
                if enough or not cache.has_room_ahead:
                    return True
        finally:
            batches.close()
            extractor.close()
        self._passes[work.space] = _Pass(began_s, frozenset(work.columns), work.rows, work.leaves_out)
        return True

    def _measure(self, cache: SegmentCache) -> None:
        """How much the store changes, by the second."""
        now_s = time.monotonic()
        since_s, changes = self._changes
        if now_s - since_s >= 1:
            self._rate = (cache.changes - changes) / (now_s - since_s) if since_s else 0.0
            self._changes = now_s, cache.changes


def _settled(namespace: str, unsettled: list[tuple[int, int]]) -> tuple[TimeRange, ...]:
    """All times but the unsettled ones, which are ordered; of very many ranges the latest."""
    ranges = []
    at_us = INSTANT_MIN
    for from_us, to_us in (*unsettled, (INSTANT_MAX, INSTANT_MAX)):
        if at_us < from_us:
            ranges.append(TimeRange(namespace, at_us, from_us))
        at_us = max(at_us, to_us)
    return tuple(ranges[-_RANGES_MAX:])
