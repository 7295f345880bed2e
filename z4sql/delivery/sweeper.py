"""What has to be done although no consumer asks: leases that ran out, tasks that expired, retention.

Goes round all namespaces, a bounded step at a time, and rests at least `_REST` times as long as it worked.
"""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from raftcore.core.errors import NotAccepted, RaftError
from raftcore.storage.kv import Store
from z4sql.tasks.due import cursor_before
from z4sql.tasks.keys import NAMESPACE, namespace_part
from z4sql.tasks.life import RETIRED_MAX, retire_outcome
from z4sql.tasks.model import NamespaceSettings
from z4sql.tasks.record import STATE_NAMES
from z4sql.tasks.settings import decode_settings

if TYPE_CHECKING:
    from z4sql.delivery.shift import Shift

_PAUSE_S: Final = 0.5
_REST: Final = 10
_DUES_PER_STEP: Final = 256
_STEPS_PER_ROUND: Final = 20
_NAMESPACES_PER_STEP: Final = 64
_END: Final = bytes([NAMESPACE[0] + 1])
_LEASE_GRACE_US: Final = 10_000_000
_STEP_S: Final = 0.05
"""The wall clock is taken to have been set when it moves so much against the monotonic one."""
_CHECK_S: Final = 60.0
_SURVEY_S: Final = 2.0
_MISSED_AFTER_US: Final = 2_000_000
_RECENT_US: Final = 600_000_000
_PIECE_US: Final = 4_000_000
"""What was delivered long ago has left nothing behind; what was delivered lately is walked by such pieces."""

_log = structlog.get_logger()


class Sweeper:
    """Part of one shift."""

    def __init__(self, shift: Shift, store: Store) -> None:
        self._shift = shift
        self._store = store
        self._positions: dict[str, bytes | None] = {}
        """Where the walk of a namespace's due tasks goes on."""
        self._floors: dict[bytes, bytes] = {}
        """Where it begins when its feed does not know: not with what was delivered before, and is gone.

        By namespace, as it stands in keys.
        """
        self._checked_s = asyncio.get_running_loop().time()
        self._surveyed_s = self._checked_s
        self._worked_s = 0.0
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sweeping = asyncio.create_task(self._sweep(), name="sweeper of tasks")

    def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()

    def arrived(self, part: bytes, cursor: bytes) -> None:
        """Something came to stand behind ``cursor``."""
        if cursor < self._floors.get(part, b""):
            self._floors[part] = cursor

    def unwatched(self) -> None:
        """Something may have come anywhere."""
        self._floors.clear()

    def _from(self, name: str) -> bytes | None:
        """A cursor in front of all that is due in a namespace."""
        return self._shift.cursor_of(name) or self._floors.get(namespace_part(name.encode()))

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        drift_s = self._shift.clock.wall_us() / 1e6 - loop.time()
        while True:
            self._worked_s = 0.0
            self._shift.survey()
            former_s, drift_s = drift_s, self._shift.clock.wall_us() / 1e6 - loop.time()
            if abs(drift_s - former_s) > _STEP_S:
                self._shift.look_at_all()
            try:
                await self._round()
            except Exception as error:
                self._shift.failed(error)
                return
            await asyncio.sleep(max(_PAUSE_S, self._worked_s * _REST))

    async def _round(self) -> None:
        now_s = asyncio.get_running_loop().time()
        checking = now_s - self._checked_s >= _CHECK_S
        if checking:
            self._checked_s = now_s
        surveying = now_s - self._surveyed_s >= _SURVEY_S
        if surveying:
            self._surveyed_s = now_s
        key = NAMESPACE
        while True:
            begun_s = time.perf_counter()
            namespaces = [
                (bytes(found), decode_settings(value))
                for found, value in islice(self._store.scan(key + b"\0", _END), _NAMESPACES_PER_STEP)
            ]
            self._worked_s += time.perf_counter() - begun_s
            for key, settings in namespaces:
                name = key[2:].decode()
                await self._namespace(name, settings)
                if checking:
                    await self._check(name)
                if surveying:
                    self._survey(name, settings)
            if len(namespaces) < _NAMESPACES_PER_STEP:
                break
        self._forget_lost()

    async def _namespace(self, name: str, settings: NamespaceSettings) -> None:
        """A bounded piece of work for one namespace."""
        for _ in range(_STEPS_PER_ROUND):
            begun_s = time.perf_counter()
            more = self._step(name, settings)
            self._worked_s += time.perf_counter() - begun_s
            await asyncio.sleep(0)
            if not more:
                break
        for _ in range(_STEPS_PER_ROUND):
            if not await self._forget_finished(name, settings):
                break

    def _step(self, name: str, settings: NamespaceSettings) -> bool:
        """Look at some due tasks; whether there are more."""
        shift = self._shift
        now_us = shift.clock.stamp_us()
        begun = name not in self._positions
        after = self._positions.pop(name, None) or self._from(name)
        found, first, behind = shift.due.held_up(
            name.encode(), after=after, until_us=now_us, examined_max=_DUES_PER_STEP
        )
        if begun:
            self._floors[namespace_part(name.encode())] = first or cursor_before(name.encode(), now_us + 1)
        shift.sort_out(found, settings, now_us)
        if behind is None:
            return False
        self._positions[name] = behind
        return True

    async def _check(self, name: str) -> None:
        """Whether the feed of a namespace overlooked what is due: that would be a defect, and is made up for.

        A piece at a time: where much was delivered lately, a walk over what is left of it takes long.
        """
        shift = self._shift
        until_us = shift.clock.stamp_us() - _MISSED_AFTER_US
        from_us = until_us - _RECENT_US
        edges = [*range(from_us, until_us, _PIECE_US), until_us]
        for after_us, to_us in zip([None, *edges[:-1]], edges, strict=True):
            if shift.cursor_of(name) is None:
                return
            begun_s = time.perf_counter()
            after = None if after_us is None else cursor_before(name.encode(), after_us)
            found = shift.due.due(name.encode(), after=after, until_us=to_us, limit=_DUES_PER_STEP)
            missed = shift.missed(name, found)
            if missed:
                _log.error("due_tasks_overlooked", namespace=name, count=missed)
            self._worked_s += time.perf_counter() - begun_s
            await asyncio.sleep(0)

    def _survey(self, name: str, settings: NamespaceSettings) -> None:
        """Tell what the namespace holds. A pause is no reason to worry about what waits."""
        shift = self._shift
        begun_s = time.perf_counter()
        now_us = shift.clock.stamp_us()
        first_us = None
        if not settings.is_paused(now_us):
            first = shift.due.due(name.encode(), after=self._from(name), until_us=now_us, limit=1)
            first_us = first[0].next_attempt_at_us if first else None
        age_us = 0 if first_us is None else max(now_us - first_us, 0)
        counts = {STATE_NAMES[state]: count for state, count in shift.reader.counts(name).items()}
        shift.observer.surveyed(name, counts, age_us / 1e6)
        self._worked_s += time.perf_counter() - begun_s

    async def _forget_finished(self, name: str, settings: NamespaceSettings) -> bool:
        """Forget some finished tasks whose retention is over; whether there may be more."""
        shift = self._shift
        begun_s = time.perf_counter()
        until_us = shift.clock.stamp_us() - settings.retention_seconds * 1_000_000
        places = shift.due.finished_before(name.encode(), until_us, RETIRED_MAX)
        self._worked_s += time.perf_counter() - begun_s
        if not places:
            return False
        applied: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def done(result: bytes | RaftError) -> None:
            if not applied.done():
                applied.set_result(result if isinstance(result, bytes) else None)

        try:
            shift.propose(shift.commands.retire(places, ()), done)
        except NotAccepted:
            return False
        result = await applied
        if result is None:
            return False
        shift.observer.removed("retention", name, retire_outcome(result).forgotten)
        return len(places) == RETIRED_MAX

    def _forget_lost(self) -> None:
        """Leases in memory whose tasks were canceled or removed: they come up nowhere."""
        limit_us = self._shift.clock.stamp_us() - _LEASE_GRACE_US
        for held in [held for held in self._shift.leases.values() if held.lease_until_us < limit_us]:
            if not held.settling:
                self._shift.lost(held)
