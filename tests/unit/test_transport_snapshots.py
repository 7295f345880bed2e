"""Pulling a snapshot's files over loopback: any offset, damage, strangers, and messages that do not wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from test_transport_grpc import append, heartbeat, station, until

from raftcore.core.errors import BadFrame
from raftcore.core.types import NodeId
from raftcore.transport import snapshot_stream
from raftcore.transport.base import Refused, Unreachable

CONTENT = bytes(range(256)) * 8_000
NODE = NodeId(7)


class Offered:
    """A snapshot called "a" of one file, "f"; ``gate`` holds its chunks back."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, int, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def manifest(self, id: str, node: NodeId) -> bytes:
        if id != "a":
            raise Refused(f"snapshot {id} is gone")
        return b"what it is"

    async def chunks(self, id: str, node: NodeId, path: str, offset: int) -> AsyncIterator[bytes]:
        self.manifest(id, node)
        if path != "f":
            raise Refused(f"no {path}")
        for at in range(offset, len(CONTENT), 100_000):
            await self.gate.wait()
            yield CONTENT[at : at + 100_000]

    def pulled(self, id: str, node: NodeId, ok: bool) -> None:
        self.ended.append((id, node, ok))


async def test_a_file_is_pulled_from_any_offset_on() -> None:
    async with station("c", "a") as (source, _, address), station("c", "b") as (puller, _, _):
        offered = Offered()
        source.serve_snapshots(offered)
        async with puller.pull(address) as pull:
            assert await pull.manifest("a", NODE) == b"what it is"
            for offset in (0, 1, 777_777, len(CONTENT) - 1, len(CONTENT)):
                got = b"".join([data async for data in pull.chunks("a", NODE, "f", offset)])
                assert got == CONTENT[offset:]
            await pull.pulled("a", NODE, ok=True)
        assert offered.ended == [("a", 7, True)]


async def test_what_is_not_offered_or_not_asked_by_a_member_is_refused() -> None:
    async with station("c", "a") as (source, _, address), station("other", "b") as (stranger, _, _):
        source.serve_snapshots(Offered())
        async with stranger.pull(address) as pull:
            with pytest.raises(Refused, match="cluster"):
                await pull.manifest("a", NODE)
            with pytest.raises(Refused, match="cluster"):
                async for _ in pull.chunks("a", NODE, "f", 0):
                    pass
        async with station("c", "b") as (puller, _, _), puller.pull(address) as pull:
            with pytest.raises(Refused, match="gone"):
                await pull.manifest("b", NODE)
            with pytest.raises(Refused, match="no g"):
                async for _ in pull.chunks("a", NODE, "g", 0):
                    pass


async def test_a_source_that_falls_silent_or_dies_is_given_up() -> None:
    async with station("c", "b", silence_s=0.3) as (puller, _, _):
        async with station("c", "a") as (source, _, address):
            offered = Offered()
            source.serve_snapshots(offered)
            offered.gate.clear()
            async with puller.pull(address) as pull:
                with pytest.raises(Unreachable):
                    async for _ in pull.chunks("a", NODE, "f", 0):
                        pass
        async with puller.pull(address) as pull:
            with pytest.raises(Unreachable):
                await pull.manifest("a", NODE)


async def test_a_damaged_chunk_ends_the_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = snapshot_stream.encode_chunk
    monkeypatch.setattr(snapshot_stream, "encode_chunk", lambda data: encode(data)[:-1] + b"?")
    async with station("c", "a") as (source, _, address), station("c", "b") as (puller, _, _):
        source.serve_snapshots(Offered())
        async with puller.pull(address) as pull:
            with pytest.raises(BadFrame):
                async for _ in pull.chunks("a", NODE, "f", 0):
                    pass


async def test_messages_do_not_wait_for_a_file_that_is_not_read() -> None:
    async with station("c", "a") as (source, _, address), station("c", "b") as (puller, receiver, back):
        source.serve_snapshots(Offered())
        async with puller.pull(address) as pull:
            chunks = pull.chunks("a", NODE, "f", 0)
            await anext(chunks)
            source.send(back, heartbeat(5))
            source.send(back, append(1))
            source.flush()
            await until(lambda: len(receiver.received) == 2)
            await chunks.aclose()
