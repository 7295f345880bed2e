"""The access file: users in TOML, read again when it changes.

::

    peer_token = "..."                      # the same on every peer; lets them pass calls on

    [users.grafana]
    roles = ["read"]                        # read, produce, consume, admin
    namespaces = ["welcome_emails", "billing_*"]
    passwords = ["<64 hex>:<40 hex>"]       # as `z4 access` prints them
    tokens = ["<64 hex>"]
    connections_max = 20

Secrets are not in it, except for the peers' own: only hashes, made by `z4 access`. Let only the peer read it.
"""

from __future__ import annotations

import hashlib
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from z4sql.access.model import Directory, Grant, PasswordHashes, Role, User

_TOKEN_BYTES: Final = 32
_KEYS: Final = frozenset({"roles", "namespaces", "passwords", "tokens", "connections_max"})


class AccessFileError(Exception):
    """The file cannot be used; the message names it, the user and the key at fault."""


def password_hashes(password: str) -> PasswordHashes:
    """:raises ValueError: for an empty password, which would need no knowledge at all."""
    if not password:
        raise ValueError("a password must not be empty")
    raw = password.encode()
    return PasswordHashes(
        hashlib.sha256(hashlib.sha256(raw).digest()).digest(),
        hashlib.sha1(hashlib.sha1(raw).digest()).digest(),  # noqa: S324 - mysql_native_password is made of it
    )


def password_text(hashes: PasswordHashes) -> str:
    """As it stands in the file."""
    return f"{hashes.sha2.hex()}:{hashes.native.hex()}"


def new_token() -> str:
    """A secret of 256 random bits: guessing is hopeless, so one round of hashing is enough to store it."""
    return "z4_" + secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def read_directory(path: Path) -> Directory:
    """:raises AccessFileError:"""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as problem:
        raise AccessFileError(f"{path}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise AccessFileError(f"{path}: {problem}") from None
    return _directory(path, content)


def _directory(path: Path, content: Mapping[str, object]) -> Directory:
    unknown = set(content) - {"users", "peer_token"}
    if unknown:
        raise AccessFileError(f"{path}: unknown key {min(unknown)!r}; known: peer_token, users")
    token = content.get("peer_token", "")
    if not isinstance(token, str):
        raise AccessFileError(f"{path}: peer_token: must be text")
    entries = content.get("users", {})
    if not isinstance(entries, dict):
        raise AccessFileError(f"{path}: users: must be a table of tables, [users.NAME]")
    users = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise AccessFileError(f"{path}: users.{name}: must be a table")
        try:
            users[name] = _user(name, entry)
        except ValueError as problem:
            raise AccessFileError(f"{path}: users.{name}.{problem}") from None
    return Directory(users, token)


def _user(name: str, entry: Mapping[str, object]) -> User:
    unknown = set(entry) - _KEYS
    if unknown:
        raise ValueError(f"{min(unknown)}: unknown key; known: {', '.join(sorted(_KEYS))}")
    roles = _texts(entry, "roles", [])
    for role in roles:
        if role not in set(Role):
            raise ValueError(f"roles: {role!r} is no role; known: {', '.join(Role)}")
    patterns = _texts(entry, "namespaces", ["*"])
    for pattern in patterns:
        if not pattern or "*" in pattern[:-1]:
            raise ValueError(f"namespaces: {pattern!r}: a star may only be the last character")
    connections_max = entry.get("connections_max", 0)
    if not isinstance(connections_max, int) or isinstance(connections_max, bool) or connections_max < 0:
        raise ValueError("connections_max: must be a number, 0 or more")
    return User(
        name,
        frozenset(Role(role) for role in roles),
        Grant(tuple(patterns)),
        tuple(_password(text) for text in _texts(entry, "passwords", [])),
        tuple(_hex("tokens", text, 32) for text in _texts(entry, "tokens", [])),
        connections_max,
    )


def _texts(entry: Mapping[str, object], key: str, default: list[str]) -> list[str]:
    value = entry.get(key, default)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{key}: must be a list of texts")
    return value


def _password(text: str) -> PasswordHashes:
    sha2, colon, native = text.partition(":")
    if not colon:
        raise ValueError("passwords: each is two hashes with a colon between, as `z4 access` prints them")
    return PasswordHashes(_hex("passwords", sha2, 32), _hex("passwords", native, 20))


def _hex(key: str, text: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size:
        raise ValueError(
            f"{key}: a hash of {2 * size} hexadecimal digits is wanted, as `z4 access` prints it"
        )
    return value
