"""What clients send: login, change of user, queries. Every field is read within its packet."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from z4sql.sql.wire.auth import Credentials
from z4sql.sql.wire.codec import Capabilities, PacketReader, decode_text, text_codec
from z4sql.sql.wire.errors import BadHandshake, MalformedPacket
from z4sql.sql.wire.parameters import read_parameters, read_types

SSL_REQUEST_BYTES: Final = 32
_ATTRIBUTES_MAX: Final = 256

OFFERED: Final = (
    Capabilities.CLIENT_LONG_PASSWORD
    | Capabilities.CLIENT_FOUND_ROWS
    | Capabilities.CLIENT_LONG_FLAG
    | Capabilities.CLIENT_CONNECT_WITH_DB
    | Capabilities.CLIENT_ODBC
    | Capabilities.CLIENT_IGNORE_SPACE
    | Capabilities.CLIENT_PROTOCOL_41
    | Capabilities.CLIENT_INTERACTIVE
    | Capabilities.CLIENT_TRANSACTIONS
    | Capabilities.CLIENT_SECURE_CONNECTION
    | Capabilities.CLIENT_MULTI_RESULTS
    | Capabilities.CLIENT_PS_MULTI_RESULTS
    | Capabilities.CLIENT_PLUGIN_AUTH
    | Capabilities.CLIENT_CONNECT_ATTRS
    | Capabilities.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capabilities.CLIENT_DEPRECATE_EOF
    | Capabilities.CLIENT_QUERY_ATTRIBUTES
)
"""Neither MULTI_STATEMENTS nor LOCAL_FILES nor compression."""


@dataclass(slots=True, frozen=True)
class LoginRequest:
    """Protocol::HandshakeResponse41. ``codec`` is the Python codec of the client's character set."""

    capabilities: Capabilities
    codec: str
    credentials: Credentials
    database: str | None
    attributes: dict[str, str]


@dataclass(slots=True, frozen=True)
class ChangeUserRequest:
    codec: str
    credentials: Credentials
    database: str | None
    attributes: dict[str, str]


def is_ssl_request(packet: bytes) -> bool:
    """The short form of a login that asks for TLS before it says more."""
    return (
        len(packet) == SSL_REQUEST_BYTES
        and struct.unpack_from("<I", packet)[0] & Capabilities.CLIENT_SSL.value != 0
    )


def read_login(packet: bytes, *, encrypted: bool) -> LoginRequest:
    """:raises BadHandshake: for anything that is not a whole login of protocol 4.1."""
    try:
        return _read_login(PacketReader(packet), encrypted=encrypted)
    except MalformedPacket:
        raise BadHandshake from None


def _read_login(reader: PacketReader, *, encrypted: bool) -> LoginRequest:
    said = Capabilities(reader.uint(4))
    if not said & Capabilities.CLIENT_PROTOCOL_41:
        raise BadHandshake
    if said & Capabilities.CLIENT_SSL and not encrypted:
        raise BadHandshake
    capabilities = said & OFFERED
    reader.uint(4)
    codec = text_codec(reader.uint(1))
    reader.take(23)
    user = _text(reader.bytes_null(), codec)
    if capabilities & Capabilities.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA:
        answer = reader.bytes_len()
    elif capabilities & Capabilities.CLIENT_SECURE_CONNECTION:
        answer = reader.take(reader.uint(1))
    else:
        answer = reader.bytes_null()
    database = None
    if capabilities & Capabilities.CLIENT_CONNECT_WITH_DB:
        database = _text(reader.bytes_null(), codec) or None
    plugin = None
    if capabilities & Capabilities.CLIENT_PLUGIN_AUTH:
        plugin = _text(reader.bytes_null(), codec)
    attributes = _read_attributes(reader, codec, capabilities)
    return LoginRequest(capabilities, codec, Credentials(user, plugin, answer), database, attributes)


def read_change_user(packet: bytes, capabilities: Capabilities, codec: str) -> ChangeUserRequest:
    """:raises MalformedPacket: a field does not fit."""
    reader = PacketReader(packet)
    user = _text(reader.bytes_null(), codec)
    if capabilities & Capabilities.CLIENT_SECURE_CONNECTION:
        answer = reader.take(reader.uint(1))
    else:
        answer = reader.bytes_null()
    database = _text(reader.bytes_null(), codec) or None
    plugin = None
    attributes: dict[str, str] = {}
    if reader.remaining:
        collation = reader.uint(2)
        codec = text_codec(collation)
        if capabilities & Capabilities.CLIENT_PLUGIN_AUTH and reader.remaining:
            plugin = _text(reader.bytes_null(), codec)
            attributes = _read_attributes(reader, codec, capabilities)
    return ChangeUserRequest(codec, Credentials(user, plugin, answer), database, attributes)


def _read_attributes(reader: PacketReader, codec: str, capabilities: Capabilities) -> dict[str, str]:
    if not capabilities & Capabilities.CLIENT_CONNECT_ATTRS or not reader.remaining:
        return {}
    pairs = PacketReader(reader.bytes_len())
    attributes: dict[str, str] = {}
    while pairs.remaining:
        name = _text(pairs.bytes_len(), codec)
        value = _text(pairs.bytes_len(), codec)
        if len(attributes) < _ATTRIBUTES_MAX:
            attributes[name] = value
    return attributes


def _text(data: bytes, codec: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(codec, errors="replace")


def read_query(payload: bytes, capabilities: Capabilities, codec: str) -> str:
    """The text of COM_QUERY; query attributes before it are read over.

    :raises MalformedPacket: a field does not fit.
    :raises BadCharacters: the text is not in the client's character set.
    """
    reader = PacketReader(payload)
    if capabilities & Capabilities.CLIENT_QUERY_ATTRIBUTES:
        count = reader.length()
        reader.length()
        if count:
            nulls = reader.take((count + 7) // 8)
            if reader.uint(1) != 1:
                raise MalformedPacket
            types = read_types(reader, count, named=True)
            read_parameters(reader, types, nulls, {}, codec)
    return decode_text(reader.rest(), codec)
