"""Packet codecs, and the only module that sees mysql-mimic.

Taken from it: the enumerations, the greeting, OK and EOF packets, length-encoded writing and the table of
collations. Not taken: its readers, which loop for ever on a text without its NUL and believe every length;
its session, connection, server and stream.
"""

from __future__ import annotations

import codecs
import struct
from functools import lru_cache
from typing import Final, NoReturn

import mysql_mimic.schema
import mysql_mimic.session
import sqlglot.executor  # noqa: TID251 - imported by mysql_mimic anyway; made unusable below
from mysql_mimic.charset import CharacterSet, Collation
from mysql_mimic.packets import make_eof, make_handshake_v10, make_ok
from mysql_mimic.types import Capabilities, ColumnType, Commands, ServerStatus, str_len, uint_len
from mysql_mimic.utils import nonce

from z4sql.sql.errors import SqlError
from z4sql.sql.wire.errors import BadCharacters, MalformedPacket

__all__ = [
    "Capabilities",
    "ColumnType",
    "Commands",
    "PacketReader",
    "ServerStatus",
    "decode_text",
    "eof_packet",
    "error_packet",
    "greeting_packet",
    "new_nonce",
    "ok_packet",
    "str_len",
    "text_codec",
    "uint_len",
]


def _refuse_to_evaluate(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("sqlglot.executor evaluates generated Python and is never called here")


# The executor builds Python source from the client's SQL; a quoted identifier escapes into it.
sqlglot.executor.execute = _refuse_to_evaluate  # noqa: TID251 - the ban, enforced
mysql_mimic.session.execute = _refuse_to_evaluate
mysql_mimic.schema.execute = _refuse_to_evaluate

NONCE_BYTES: Final = 20
_MESSAGE_BYTES_MAX: Final = 2048
_UTF8: Final = "utf-8"
_MULTIBYTE: Final = frozenset(
    codecs.lookup(name).name
    for name in ("big5", "gbk", "gb2312", "gb18030", "shift_jis", "cp932", "euc_kr", "euc_jp")
)
_RENAMED: Final = {"eucjpms": "euc_jp", "latin1": "cp1252", "latin5": "iso8859_9", "latin7": "iso8859_13"}
_NEVER_SENT: Final = frozenset({"ucs2", "utf16", "utf16le", "utf32", "binary"})


def new_nonce() -> bytes:
    """20 random letters and digits: Connector/J reads the challenge as ASCII."""
    return bytes(nonce(NONCE_BYTES))


def greeting_packet(
    capabilities: int, version: str, connection_id: int, challenge: bytes, plugin: str
) -> bytes:
    """Protocol::HandshakeV10."""
    return bytes(
        make_handshake_v10(
            capabilities=Capabilities(capabilities),
            server_charset=CharacterSet.utf8mb4,
            server_version=version,
            connection_id=connection_id,
            auth_data=challenge + b"\0",
            status_flags=ServerStatus.SERVER_STATUS_AUTOCOMMIT,
            auth_plugin_name=plugin,
        )
    )


@lru_cache(maxsize=64)
def ok_packet(capabilities: Capabilities, status: int, *, warnings: int = 0, as_eof: bool = False) -> bytes:
    """OK with no affected rows: MariaDB Connector/J reads a row count in a result's end as more columns."""
    return bytes(
        make_ok(
            capabilities=capabilities,
            status_flags=ServerStatus(status),
            eof=as_eof,
            warnings=min(warnings, 0xFFFF),
        )
    )


@lru_cache(maxsize=64)
def eof_packet(capabilities: Capabilities, status: int, *, warnings: int = 0) -> bytes:
    return bytes(
        make_eof(capabilities=capabilities, status_flags=ServerStatus(status), warnings=min(warnings, 0xFFFF))
    )


def error_packet(error: SqlError, *, with_state: bool = True) -> bytes:
    """ERR. Without the state before the capabilities are agreed, as a client reads it then."""
    state = b"#" + error.state.encode("ascii") if with_state else b""
    message = error.message.encode(errors="replace")[:_MESSAGE_BYTES_MAX]
    return b"\xff" + struct.pack("<H", error.code) + state + message.decode(errors="ignore").encode()


def text_codec(collation_id: int) -> str:
    """The Python codec of a client's collation; UTF-8 for ids that nobody knows.

    MariaDB sends the low byte of its own collations: refusing unknown ones would refuse its clients.
    """
    try:
        name = Collation(collation_id).charset.name
    except (ValueError, KeyError):
        return _UTF8
    if name in _NEVER_SENT:
        return _UTF8
    try:
        return codecs.lookup(_RENAMED.get(name, name)).name
    except LookupError:
        return _UTF8


def decode_text(data: bytes, codec: str) -> str:
    """A client's text. UTF-8 is tried first, but for multi-byte sets where a byte can pass for a backslash.

    :raises BadCharacters: when it is neither UTF-8 nor ``codec``.
    """
    if codec not in _MULTIBYTE:
        try:
            return data.decode()
        except UnicodeDecodeError:
            if codec == _UTF8:
                raise BadCharacters from None
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        raise BadCharacters from None


class PacketReader:
    """Reads the fields of one packet and never past its end.

    :raises MalformedPacket: from every method, when a field does not fit.
    """

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    @property
    def remaining(self) -> int:
        return len(self._data) - self.position

    def take(self, length: int) -> bytes:
        end = self.position + length
        if length < 0 or end > len(self._data):
            raise MalformedPacket
        piece = self._data[self.position : end]
        self.position = end
        return piece

    def uint(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def sint(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little", signed=True)

    def length(self) -> int:
        """A length-encoded integer."""
        first = self.uint(1)
        if first < 0xFB:
            return first
        if first == 0xFC:
            return self.uint(2)
        if first == 0xFD:
            return self.uint(3)
        if first == 0xFE:
            return self.uint(8)
        raise MalformedPacket

    def bytes_len(self) -> bytes:
        """Bytes behind their length-encoded length."""
        return self.take(self.length())

    def bytes_null(self) -> bytes:
        """Bytes up to a NUL, which is consumed."""
        end = self._data.find(b"\0", self.position)
        if end < 0:
            raise MalformedPacket
        piece = self._data[self.position : end]
        self.position = end + 1
        return piece

    def rest(self) -> bytes:
        return self.take(self.remaining)
