"""Snapshots between hosts: files that the receiver pulls, over a connection of their own.

Three calls: what the snapshot consists of; the bytes of one file from an offset on, in chunks that carry a
crc32; and how it ended. Whoever pulls sets the pace and goes on at any offset after a broken connection;
messages between replicas never wait behind a file.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Protocol
from zlib import crc32

import grpc

from raftcore.core.errors import BadFrame
from raftcore.core.types import NodeId
from raftcore.transport.base import Refused, Unreachable

CHUNK_BYTES = 256 << 10

_CRC = struct.Struct("<I")

Metadata = tuple[tuple[str, str | bytes], ...]


class SnapshotSource(Protocol):
    """What a host offers to be pulled. Every method is called on its loop."""

    def manifest(self, id: str, node: NodeId) -> bytes:
        """What the snapshot consists of, for replica ``node``. :raises Refused: it is not here any more."""
        ...

    def chunks(self, id: str, node: NodeId, path: str, offset: int) -> AsyncIterator[bytes]:
        """The bytes of one of its files from ``offset`` on. :raises Refused: as `manifest`."""
        ...

    def pulled(self, id: str, node: NodeId, ok: bool) -> None:
        """The replica has the whole snapshot, or has given up."""
        ...


class SnapshotService:
    """The serving side; ``admit`` ends the call of a host that is not of this cluster."""

    def __init__(self, admit: Callable[[Any], Any]) -> None:
        self.source: SnapshotSource | None = None
        self._admit = admit

    def handlers(self) -> dict[str, Any]:
        """gRPC's method handlers, by method name."""
        return {
            # As streams of requests, so that nothing is read of a caller that is not admitted.
            "SnapshotManifest": grpc.stream_unary_rpc_method_handler(self._serve_manifest),
            "SnapshotChunks": grpc.stream_stream_rpc_method_handler(self._serve_chunks),
            "SnapshotPulled": grpc.stream_unary_rpc_method_handler(self._serve_pulled),
        }

    async def _serve_manifest(self, _requests: Any, context: Any) -> bytes:
        source, fields = await self._open(context)
        try:
            return source.manifest(str(fields["id"]), NodeId(int(fields["node"])))
        except Refused as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise

    async def _serve_chunks(self, _requests: Any, context: Any) -> AsyncIterator[bytes]:
        source, fields = await self._open(context)
        chunks = source.chunks(
            str(fields["id"]), NodeId(int(fields["node"])), str(fields["path"]), int(fields["offset"])
        )
        try:
            async for chunk in chunks:
                yield encode_chunk(chunk)
        except Refused as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    async def _serve_pulled(self, _requests: Any, context: Any) -> bytes:
        source, fields = await self._open(context)
        source.pulled(str(fields["id"]), NodeId(int(fields["node"])), bool(fields["ok"]))
        return b"{}"

    async def _open(self, context: Any) -> tuple[SnapshotSource, dict[str, Any]]:
        await self._admit(context)
        request = await context.read()
        if self.source is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this host has no snapshots")
        assert self.source is not None
        try:
            fields = json.loads(b"" if request is grpc.aio.EOF else request)
            int(fields["node"]), int(fields.get("offset", 0)), fields["id"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no snapshot request: {error}")
        return self.source, fields


class SnapshotPull:
    """The pulling side: one connection to the host at ``address``, for one snapshot."""

    def __init__(
        self, address: str, channel: Any, service: str, metadata: Metadata, silence_s: float
    ) -> None:
        """A call that stands still for ``silence_s`` is broken off."""
        self._address = address
        self._channel = channel
        self._service = service
        self._metadata = metadata
        self._silence_s = silence_s

    async def __aenter__(self) -> SnapshotPull:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def manifest(self, id: str, node: NodeId) -> bytes:
        """What the snapshot consists of.

        :raises Unreachable: no answer. :raises Refused: it is not there any more.
        """
        return await self._ask("SnapshotManifest", {"id": id, "node": node})

    async def pulled(self, id: str, node: NodeId, ok: bool) -> None:
        """Tell how it ended. :raises Unreachable: :raises Refused: as `manifest`."""
        await self._ask("SnapshotPulled", {"id": id, "node": node, "ok": ok})

    async def chunks(self, id: str, node: NodeId, path: str, offset: int) -> AsyncIterator[bytes]:
        """The bytes of file ``path`` from ``offset`` to its end.

        :raises Unreachable: the connection broke. :raises Refused: the snapshot is not there any more.
        :raises BadFrame: a chunk came damaged.
        """
        request = json.dumps({"id": id, "node": node, "path": path, "offset": offset}).encode()
        async with self._errors():
            call = self._channel.unary_stream(f"/{self._service}/SnapshotChunks")(
                request, metadata=self._metadata
            )
            try:
                while True:
                    async with asyncio.timeout(self._silence_s):
                        chunk = await call.read()
                    if chunk is grpc.aio.EOF:
                        return
                    yield decode_chunk(chunk)
            finally:
                call.cancel()

    async def _ask(self, method: str, fields: dict[str, Any]) -> bytes:
        async with self._errors():
            reply: bytes = await self._channel.unary_unary(f"/{self._service}/{method}")(
                json.dumps(fields).encode(), metadata=self._metadata, timeout=self._silence_s
            )
        return reply

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                raise Refused(f"{self._address}: {error.details()}") from error
            raise Unreachable(f"{self._address}: {error.code().name}") from error
        except TimeoutError as error:
            raise Unreachable(f"{self._address}: silent for {self._silence_s} s") from error


def encode_chunk(data: bytes) -> bytes:
    """A chunk on the wire: its crc32, little-endian, and its bytes."""
    return _CRC.pack(crc32(data)) + data


def decode_chunk(chunk: bytes) -> bytes:
    """The bytes of a chunk. :raises BadFrame: they fail their checksum."""
    if len(chunk) < _CRC.size or _CRC.unpack_from(chunk)[0] != crc32(data := chunk[_CRC.size :]):
        raise BadFrame("snapshot chunk fails its checksum")
    return data
