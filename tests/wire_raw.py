"""A MySQL client of a few lines that can also misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

PROTOCOL_41 = 0x200
SECURE = 0x8000
SSL = 0x800
WITH_DATABASE = 0x8
PLUGIN_AUTH = 0x80000
ATTRIBUTES = 0x100000
DEPRECATE_EOF = 0x1000000
QUERY_ATTRIBUTES = 0x8000000
PLAIN = PROTOCOL_41 | SECURE | PLUGIN_AUTH


@dataclass
class Greeting:
    capabilities: int
    nonce: bytes
    plugin: str
    connection_id: int


@dataclass
class Raw:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    capabilities: int = PLAIN

    def send(self, payload: bytes, sequence: int = 0) -> None:
        while True:
            piece, payload = payload[:0xFFFFFF], payload[0xFFFFFF:]
            self.writer.write(struct.pack("<I", len(piece) | sequence << 24) + piece)
            sequence = (sequence + 1) % 256
            if len(piece) < 0xFFFFFF:
                return

    async def packet(self) -> tuple[int, bytes]:
        """(sequence, payload)"""
        async with asyncio.timeout(10):
            header = await self.reader.readexactly(4)
            return header[3], await self.reader.readexactly(int.from_bytes(header[:3], "little"))

    async def payload(self) -> bytes:
        return (await self.packet())[1]

    async def ask(self, payload: bytes) -> bytes:
        self.send(payload)
        return await self.payload()

    async def greeting(self) -> Greeting:
        data = await self.payload()
        end = data.index(0, 1)
        rest = data[end + 1 :]
        low, high = struct.unpack_from("<H", rest, 13)[0], struct.unpack_from("<H", rest, 18)[0]
        nonce = rest[4:12] + rest[31:43]
        plugin = rest[44:].rstrip(b"\0").decode()
        return Greeting(low | high << 16, nonce, plugin, struct.unpack_from("<I", rest)[0])

    async def closed(self) -> bool:
        """Whether the server closes within a bound; reads all that still comes."""
        try:
            async with asyncio.timeout(5):
                while await self.reader.read(1 << 16):
                    pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    async def log_in(self, user: str = "root", capabilities: int = PLAIN, database: bytes = b"") -> Greeting:
        self.capabilities = capabilities
        greeting = await self.greeting()
        self.send(login(user.encode(), capabilities=capabilities, database=database), 1)
        assert (await self.payload())[0] == 0
        return greeting

    async def query(self, sql: str) -> bytes:
        head = b"\x03" + (b"\0\1" if self.capabilities & QUERY_ATTRIBUTES else b"")
        return await self.ask(head + sql.encode())

    async def rows(self) -> list[bytes]:
        """Row payloads up to the end packet, which comes last."""
        rows = []
        while True:
            payload = await self.payload()
            rows.append(payload)
            if payload[:1] == b"\xff" or (payload[:1] == b"\xfe" and len(payload) < 9):
                return rows


def login(
    user: bytes = b"root",
    *,
    capabilities: int = PLAIN,
    answer: bytes = b"",
    plugin: bytes = b"caching_sha2_password",
    database: bytes = b"",
    collation: int = 255,
    tail: bytes = b"",
) -> bytes:
    packet = struct.pack("<IIB23x", capabilities, 1 << 24, collation) + user + b"\0"
    packet += bytes((len(answer),)) + answer
    if capabilities & WITH_DATABASE:
        packet += database + b"\0"
    if capabilities & PLUGIN_AUTH:
        packet += plugin + b"\0"
    return packet + tail


def sha2_answer(password: bytes, nonce: bytes) -> bytes:
    first = hashlib.sha256(password).digest()
    mask = hashlib.sha256(hashlib.sha256(first).digest() + nonce).digest()
    return bytes(a ^ b for a, b in zip(first, mask, strict=True))


def native_answer(password: bytes, nonce: bytes) -> bytes:
    first = hashlib.sha1(password).digest()
    mask = hashlib.sha1(nonce + hashlib.sha1(first).digest()).digest()
    return bytes(a ^ b for a, b in zip(first, mask, strict=True))


def error_code(payload: bytes) -> int:
    assert payload[0] == 0xFF, payload
    return int.from_bytes(payload[1:3], "little")


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
