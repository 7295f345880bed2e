"""Streams that stay open: each ends when its caller may not have it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from z4sql.api.guard import Admitted, Guard
from z4sql.api.status import CallError

_LOOK_S: Final = 0.5


class _Stream:
    __slots__ = ("admitted", "refusal", "task")

    def __init__(self, admitted: Admitted, task: asyncio.Task[object]) -> None:
        self.admitted = admitted
        self.task = task
        self.refusal: CallError | None = None


class OpenStreams:
    """Looks at the access file while there are any, and at them when it was changed."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._streams: set[_Stream] = set()
        self._version = guard.version
        self._looking = False

    @contextmanager
    def watched(self, admitted: Admitted) -> Iterator[None]:
        """The present task is that of a stream: it is ended here when the caller's rights are.

        :raises CallError: as the guard says then.
        """
        task = asyncio.current_task()
        assert task is not None
        stream = _Stream(admitted, task)
        self._streams.add(stream)
        self._look_later()
        try:
            yield
        except BaseException:
            if stream.refusal is None:
                raise
        finally:
            self._streams.discard(stream)
        if stream.refusal is not None:
            task.uncancel()
            raise stream.refusal

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._looking = False
        version = self._guard.version
        if version != self._version:
            self._version = version
            for stream in self._streams:
                self._check(stream)
        if self._streams:
            self._look_later()

    def _check(self, stream: _Stream) -> None:
        if stream.refusal is not None:
            return
        try:
            stream.admitted.check_again()
        except CallError as refusal:
            stream.refusal = refusal
            stream.task.cancel()
