"""Who may log in: caching_sha2_password and mysql_native_password, by stored double hashes.

Only hashes of hashes are stored. With SHA256(SHA256(password)) at hand every caching_sha2 login takes its
"fast" path: no RSA exchange, no need of TLS (MySQL manual: Caching SHA-2 Pluggable Authentication).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from z4sql.sql.wire.codec import Capabilities, new_nonce
from z4sql.sql.wire.errors import AccessDenied
from z4sql.sql.wire.stream import PacketStream

SHA2_PLUGIN: Final = "caching_sha2_password"
NATIVE_PLUGIN: Final = "mysql_native_password"
LOGIN_PACKET_BYTES_MAX: Final = 64 * 1024
_FAST_AUTH_SUCCESS: Final = b"\x01\x03"


@dataclass(slots=True, frozen=True)
class StoredPassword:
    """SHA256(SHA256(password)) and SHA1(SHA1(password)), 32 and 20 bytes."""

    sha2: bytes = field(repr=False)
    native: bytes = field(repr=False)

    @classmethod
    def of(cls, password: str) -> StoredPassword:
        """:raises ValueError: for an empty password, which would need no knowledge at all."""
        if not password:
            raise ValueError("an account needs a password")
        raw = password.encode()
        return cls(_sha256(_sha256(raw)), _sha1(_sha1(raw)))

    def matches(self, plugin: str, answer: bytes, nonce: bytes) -> bool:
        """Whether ``answer`` proves the password for the challenge ``nonce``."""
        if plugin == SHA2_PLUGIN:
            hashed = _xor(answer, _sha256(self.sha2 + nonce), 32)
            return hmac.compare_digest(_sha256(hashed), self.sha2)
        hashed = _xor(answer, _sha1(nonce + self.native), 20)
        return hmac.compare_digest(_sha1(hashed), self.native)


@dataclass(slots=True, frozen=True)
class Account:
    """``passwords``: any of them opens it, so that one can be changed without an outage."""

    passwords: tuple[StoredPassword, ...]
    connections_max: int = 0
    """0: no limit of its own."""


class Accounts(Protocol):
    """Where accounts come from."""

    @property
    def anyone(self) -> bool:
        """Every user may log in with any password."""
        ...

    def account(self, user: str) -> Account | None: ...


class NoAccounts:
    """Anyone may log in: for loopback, or where insecurity was asked for."""

    anyone = True

    def account(self, user: str) -> Account | None:
        return None


class StaticAccounts:
    """A fixed set of accounts."""

    anyone = False

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = dict(accounts)

    def account(self, user: str) -> Account | None:
        return self._accounts.get(user)


_NOBODY: Final = Account((StoredPassword(secrets.token_bytes(32), secrets.token_bytes(20)),))
"""Stands in for an unknown user, whose login takes the same steps as one with a wrong password."""


@dataclass(slots=True, frozen=True)
class Credentials:
    """What a client said of itself; ``plugin`` is None for clients that know no plugins."""

    user: str
    plugin: str | None
    answer: bytes


async def authenticate(
    stream: PacketStream,
    accounts: Accounts,
    credentials: Credentials,
    *,
    host: str,
    capabilities: Capabilities,
    nonce: bytes,
    ask_again: bool = False,
) -> Account | None:
    """Finish the exchange that the greeting began; the account, or None where anyone may log in.

    ``ask_again`` sends a new challenge also to a client that named the greeting's plugin (COM_CHANGE_USER).

    :raises AccessDenied: in the same words and after the same steps for unknown users and wrong passwords.
    """
    answer = credentials.answer
    plugin = NATIVE_PLUGIN
    if capabilities & Capabilities.CLIENT_PLUGIN_AUTH:
        plugin = NATIVE_PLUGIN if credentials.plugin == NATIVE_PLUGIN else SHA2_PLUGIN
        if ask_again or credentials.plugin != SHA2_PLUGIN:
            nonce = new_nonce()
            stream.put(b"\xfe" + plugin.encode() + b"\0" + nonce + b"\0")
            await stream.flush()
            answer = await stream.read(LOGIN_PACKET_BYTES_MAX)
    if answer == b"\0":
        answer = b""  # how some clients say "no password"
    account = accounts.account(credentials.user)
    if not accounts.anyone:
        checked = account or _NOBODY
        matches = [password.matches(plugin, answer, nonce) for password in checked.passwords]
        if account is None or not any(matches):
            raise AccessDenied(credentials.user, host, with_password=bool(answer))
    if plugin == SHA2_PLUGIN and answer:
        stream.put(_FAST_AUTH_SUCCESS)
    return account


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()  # noqa: S324 - what mysql_native_password is made of


def _xor(answer: bytes, mask: bytes, length: int) -> bytes:
    """Answers of a wrong length match nothing but take the same time."""
    padded = answer[:length].ljust(length, b"\0") if len(answer) == length else bytes(length)
    return bytes(a ^ b for a, b in zip(padded, mask, strict=True))
