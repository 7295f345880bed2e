"""The connection phase up to the client's login packet, on the raw socket.

Until it is known whether TLS follows, not one byte is read ahead: a ClientHello that came in the same
segment as the SSLRequest stays in the kernel for the TLS layer, and so does plaintext smuggled in behind
it, which TLS then refuses (the STARTTLS injection of CVE-2021-38371 and its kin).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from z4sql.sql.wire.auth import LOGIN_PACKET_BYTES_MAX, SHA2_PLUGIN
from z4sql.sql.wire.codec import Capabilities, greeting_packet, new_nonce
from z4sql.sql.wire.errors import BadHandshake, PacketsOutOfOrder, PacketTooLarge
from z4sql.sql.wire.framing import frame
from z4sql.sql.wire.requests import OFFERED, is_ssl_request
from z4sql.sql.wire.settings import WireSettings
from z4sql.sql.wire.stream import READ_BUFFER_BYTES, PacketStream, WatchedProtocol


@dataclass(slots=True, frozen=True)
class Opened:
    """A stream behind whatever encryption the client asked for, and its first packet, unparsed."""

    stream: PacketStream
    login_packet: bytes
    nonce: bytes
    cipher: tuple[str, str] | None
    """(name, protocol version) under TLS."""


async def open_stream(
    accepted: socket.socket,
    connection_id: int,
    settings: WireSettings,
    on_gone: Callable[[], None],
) -> Opened:
    """Greet, read the login packet, upgrade to TLS when asked.

    :raises SqlError: the packet is too large, out of order, or asks for TLS that is not offered; nothing
        was sent yet in reply and the socket is still the caller's.
    :raises OSError: the client is gone, or broke TLS.
    :raises ClientLost: the same, under TLS.
    """
    nonce = new_nonce()
    capabilities = OFFERED
    if settings.tls is not None:
        capabilities |= Capabilities.CLIENT_SSL
    greeting = greeting_packet(capabilities, settings.server_version, connection_id, nonce, SHA2_PLUGIN)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(accepted, frame(greeting, 0).data)
    packet = await _read_packet(accepted, sequence=1)
    encrypt = is_ssl_request(packet)
    if encrypt and settings.tls is None:
        raise BadHandshake
    reader = asyncio.StreamReader(limit=READ_BUFFER_BYTES)
    protocol = WatchedProtocol(reader, on_gone)
    if encrypt:
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=settings.tls,
            ssl_handshake_timeout=settings.login_timeout_s,
        )
    else:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted)
    stream = PacketStream(
        reader,
        asyncio.StreamWriter(transport, protocol, reader, loop),
        read_timeout_s=settings.read_timeout_s,
        write_timeout_s=settings.write_timeout_s,
    )
    stream.sequence = 2
    cipher = None
    if encrypt:
        name, version, _ = transport.get_extra_info("cipher")
        cipher = (name, version)
        packet = await stream.read(LOGIN_PACKET_BYTES_MAX)
    return Opened(stream, packet, nonce, cipher)


async def _read_packet(accepted: socket.socket, *, sequence: int) -> bytes:
    header = await _read_exactly(accepted, 4)
    length = int.from_bytes(header[:3], "little")
    if length > LOGIN_PACKET_BYTES_MAX:
        raise PacketTooLarge
    if header[3] != sequence:
        raise PacketsOutOfOrder
    return await _read_exactly(accepted, length)


async def _read_exactly(accepted: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < length:
        piece = await loop.sock_recv(accepted, length - len(data))
        if not piece:
            raise ConnectionResetError("the client left during its login")
        data += piece
    return bytes(data)
