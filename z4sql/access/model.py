"""Who may do what: users, their roles, and the namespaces that they may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a user may do in the namespaces that are theirs."""

    READ = "read"
    """See tasks, namespaces and the cluster: over gRPC, and with SQL."""
    PRODUCE = "produce"
    """Create tasks, and change single ones."""
    CONSUME = "consume"
    """Take due tasks and settle them."""
    ADMIN = "admin"
    """Everything, in every namespace: members, settings, bulk changes, everybody's SQL connections."""


@dataclass(slots=True, frozen=True)
class Grant:
    """Namespaces: exact names, and prefixes that end in ``*``; ``*`` alone is every namespace."""

    patterns: tuple[str, ...] = ("*",)

    @property
    def everything(self) -> bool:
        return "*" in self.patterns

    def allows(self, namespace: str) -> bool:
        return any(
            namespace.startswith(pattern[:-1]) if pattern.endswith("*") else namespace == pattern
            for pattern in self.patterns
        )


EVERYTHING = Grant()


@dataclass(slots=True, frozen=True)
class PasswordHashes:
    """SHA256(SHA256(password)) and SHA1(SHA1(password)): what MySQL's two login plugins need."""

    sha2: bytes = field(repr=False)
    native: bytes = field(repr=False)


@dataclass(slots=True, frozen=True)
class User:
    """``passwords`` open SQL, ``token_hashes`` (SHA256 of a token) gRPC; several, so that they can change."""

    name: str
    roles: frozenset[Role]
    grant: Grant = EVERYTHING
    passwords: tuple[PasswordHashes, ...] = ()
    token_hashes: tuple[bytes, ...] = field(default=(), repr=False)
    connections_max: int = 0
    """SQL connections at once; 0: no limit of its own."""

    def has(self, role: Role) -> bool:
        return role in self.roles or Role.ADMIN in self.roles

    def may(self, role: Role, namespace: str) -> bool:
        """Whether ``role`` is theirs in ``namespace``."""
        return Role.ADMIN in self.roles or (role in self.roles and self.grant.allows(namespace))

    @property
    def restricted(self) -> bool:
        """Whether there are namespaces that are not theirs."""
        return Role.ADMIN not in self.roles and not self.grant.everything


_ANYONE = User("anyone", frozenset({Role.READ}))
_ROOT = User("root", frozenset({Role.ADMIN}))


def without_accounts(name: str) -> User:
    """Whoever logs in to SQL where no credentials are configured: ``root`` administers, others read."""
    return _ROOT if name == _ROOT.name else _ANYONE


@dataclass(slots=True, frozen=True)
class Directory:
    """Every user, and the secret that peers show each other when they pass calls on."""

    users: Mapping[str, User]
    peer_token: str = field(default="", repr=False)
