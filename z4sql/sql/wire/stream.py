"""A connection as packets: exact reads with limits, writes with back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from z4sql.sql.wire.errors import PacketsOutOfOrder, PacketTooLarge
from z4sql.sql.wire.framing import PAYLOAD_MAX, Frames, frame

WRITE_BUFFER_BYTES: Final = 64 * 1024
READ_BUFFER_BYTES: Final = 256 * 1024
_RELEASE_DELAY_S: Final = 0.02
_LINGER_BYTES_MAX: Final = 64 << 20


class ClientLost(Exception):
    """The client left, stalled or does not read: there is nobody to tell."""


class WatchedProtocol(asyncio.StreamReaderProtocol):
    """Tells at once when the client is gone, also while bytes of it wait to be read."""

    def __init__(self, reader: asyncio.StreamReader, on_gone: Callable[[], None]) -> None:
        super().__init__(reader)
        self._on_gone = on_gone

    def eof_received(self) -> bool | None:
        self._on_gone()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_gone()
        super().connection_lost(exc)


class PacketStream:
    """``sequence`` is the number of the next packet in either direction; a command starts again at 0."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        read_timeout_s: float,
        write_timeout_s: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s
        self._buffer = bytearray()
        self._release_timer: asyncio.TimerHandle | None = None
        self._sent = False
        self.sequence = 0
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    async def read(self, bytes_max: int, idle_timeout_s: float | None = None) -> bytes:
        """The next payload, joined from its packets.

        :raises TimeoutError: nothing came for ``idle_timeout_s``.
        :raises PacketTooLarge: before the packet that exceeds ``bytes_max`` is read.
        :raises PacketsOutOfOrder: the client lost count.
        :raises ClientLost:
        """
        async with asyncio.timeout(idle_timeout_s):
            header = await self._exactly(4)
        self._sent = False
        parts: list[bytes] = []
        total = 0
        while True:
            length = int.from_bytes(header[:3], "little")
            if header[3] != self.sequence:
                raise PacketsOutOfOrder
            self.sequence = self.sequence + 1 & 0xFF
            total += length
            if total > bytes_max:
                raise PacketTooLarge
            parts.append(await self._soon(length))
            if length < PAYLOAD_MAX:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            header = await self._soon(4)

    async def _soon(self, length: int) -> bytes:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                return await self._exactly(length)
        except TimeoutError:
            raise ClientLost from None

    async def _exactly(self, length: int) -> bytes:
        try:
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ClientLost from error

    @property
    def reply(self) -> bytes | None:
        """All that was put since the last read, framed; None when a part of it is sent already."""
        return None if self._sent else bytes(self._buffer)

    def put(self, payload: bytes) -> None:
        """Frame a payload into the buffer."""
        self.put_frames(frame(payload, self.sequence))

    def put_frames(self, frames: Frames) -> None:
        self._buffer += frames.data
        self.sequence = self.sequence + frames.packets & 0xFF

    async def write_frames(self, frames: Frames) -> None:
        """Send packets framed elsewhere; waits while the client does not read.

        Cancelling it leaves the stream in step: what was begun is written whole.

        :raises ClientLost: it is gone or does not read.
        """
        if len(self._buffer) + len(frames.data) < WRITE_BUFFER_BYTES:
            self.put_frames(frames)
            return
        self._release()
        self.sequence = self.sequence + frames.packets & 0xFF
        self._writer.write(frames.data)
        await self._drain()

    def release_soon(self) -> None:
        """Send what is buffered in a moment, unless more comes first: rows do not wait for a slow query."""
        if self._buffer and self._release_timer is None:
            loop = asyncio.get_running_loop()
            self._release_timer = loop.call_later(_RELEASE_DELAY_S, self._release)

    async def flush(self) -> None:
        """Send all that is buffered.

        :raises ClientLost: it is gone or does not read.
        """
        self._release()
        await self._drain()

    def _release(self) -> None:
        self._stop_timer()
        if self._buffer:
            self._sent = True
            self._writer.write(bytes(self._buffer))
            self._buffer.clear()

    def _stop_timer(self) -> None:
        if self._release_timer is not None:
            self._release_timer.cancel()
            self._release_timer = None

    async def _drain(self) -> None:
        await asyncio.sleep(0)  # a client that keeps up must not keep the loop from others
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._writer.drain()
        except OSError as error:
            raise ClientLost from error

    async def linger(self, timeout_s: float) -> None:
        """Throw away what the client still sends, so that closing does not destroy the error sent before."""
        discarded = 0
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(timeout_s):
                while discarded < _LINGER_BYTES_MAX and (piece := await self._reader.read(1 << 16)):
                    discarded += len(piece)
        except (TimeoutError, OSError):
            return

    def say_last(self, payload: bytes) -> None:
        """Send one packet to a client that waits for nothing, and close."""
        if not self._writer.is_closing():
            self._writer.write(frame(payload, 0).data)
            self._writer.close()

    def close(self) -> None:
        self._stop_timer()
        self._writer.close()

    def abort(self) -> None:
        self._stop_timer()
        self._writer.transport.abort()
