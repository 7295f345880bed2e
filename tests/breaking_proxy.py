"""A TCP proxy that breaks connections, or lets answers vanish, when a test says so."""

from __future__ import annotations

import asyncio
import contextlib

from z4sql.client import AsyncClient


class BreakingProxy:
    """Passes bytes between clients and the peer, and breaks off when told to."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._pairs: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.deaf = False
        """The peer's answers are held back; it does not notice."""

    async def __aenter__(self) -> BreakingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for writer in list(self._pairs):
            writer.transport.abort()
        self._pairs.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        self._pairs |= {writer, there_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(
                self._pass(reader, there_writer, False), self._pass(there_reader, writer, True)
            )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: bool) -> None:
        while data := await reader.read(1 << 16):
            if back and self.deaf:
                continue
            writer.write(data)
        writer.close()


def pin(client: AsyncClient, proxy: BreakingProxy) -> None:
    """Keep ``client`` from the addresses that peers tell: the proxy stands for none of them."""

    async def only_there(_: float) -> str:
        return proxy.address

    client._connection._find_leader = only_there  # type: ignore[method-assign]
