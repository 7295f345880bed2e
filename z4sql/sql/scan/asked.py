"""What queries asked for lately, by namespace: what is worth to be kept, and to be read ahead."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from itertools import islice
from typing import Final

_REMEMBERED_MAX: Final = 512
_COLUMNS_MAX: Final = 8
_NOTHING: Final = ""
"""Stands for a query that needs no column but those of keys."""
_LATELY_S: Final = 900.0


class Asked:
    """Columns of namespaces (as they stand in keys), the latest last. Used from any thread."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._times_s: OrderedDict[tuple[bytes, str], float] = OrderedDict()

    def note(self, space: bytes, columns: Collection[str]) -> bool:
        """Somebody asks for these columns; whether all of them were asked for before."""
        now_s = self._clock_s()
        with self._lock:
            known = all((space, name) in self._times_s for name in columns)
            for name in columns or (_NOTHING,):
                self._times_s[space, name] = now_s
                self._times_s.move_to_end((space, name))
            while len(self._times_s) > _REMEMBERED_MAX:
                self._times_s.popitem(last=False)
        return known

    def spaces(self) -> list[bytes]:
        """Namespaces that somebody asked about lately, the latest first."""
        return list(dict.fromkeys(space for space, _ in self._lately()))

    def columns(self, space: bytes) -> list[str]:
        """What was asked of one lately, the latest first; not more than a few."""
        lately = (name for known, name in self._lately() if known == space and name != _NOTHING)
        return list(islice(lately, _COLUMNS_MAX))

    def _lately(self) -> list[tuple[bytes, str]]:
        since_s = self._clock_s() - _LATELY_S
        with self._lock:
            return [key for key, asked_s in reversed(self._times_s.items()) if asked_s >= since_s]
