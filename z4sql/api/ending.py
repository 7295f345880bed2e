"""How a stream of deliveries ends: its client says no more, or this peer sends no more."""

from __future__ import annotations

import asyncio
from typing import assert_never

from grpc import StatusCode

from z4sql.api.passing import moved
from z4sql.api.status import CallError
from z4sql.delivery.model import Closing


class Ending:
    """Wakes whoever writes to the stream, for whatever there is to do, and tells whether it is to end."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._closing: Closing | None = None
        self._reading: asyncio.Task[None] | None = None

    def closed(self, why: Closing) -> None:
        """Nothing is sent any more: the dispatcher's ``on_closed``."""
        self._closing = why
        self.wake.set()

    def ends_with(self, reading: asyncio.Task[None]) -> None:
        """Once ``reading`` is over the client has said its last word."""
        self._reading = reading
        reading.add_done_callback(self._on_read)

    def has_come(self) -> bool:
        """Whether the client has said its last word. :raises CallError: when this peer ends the stream."""
        match self._closing:
            case None:
                pass
            case Closing.MOVED:
                raise moved()
            case Closing.STOPPING:
                raise CallError(
                    StatusCode.UNAVAILABLE,
                    "this peer is stopping: connect to another",
                    reason="STOPPING",
                    retry_ms=50,
                )
            case _:
                assert_never(self._closing)
        if self._reading is None or not self._reading.done():
            return False
        self._reading.result()
        return True

    def cancel(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()

    def _on_read(self, reading: asyncio.Task[None]) -> None:
        if not reading.cancelled():
            # Marks it as seen, should nobody wait for it any more.
            reading.exception()
        self.wake.set()
