"""How a client shows who it is, and makes sure of whom it talks to."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

Metadata = tuple[tuple[str, str], ...]


@dataclass(slots=True, frozen=True)
class Tls:
    """Files in PEM. ``ca_file`` None: the authorities that gRPC brings along.

    ``certificate_file`` and ``key_file`` are for clusters that ask clients for a certificate.
    """

    ca_file: str | Path | None = None
    certificate_file: str | Path | None = None
    key_file: str | Path | None = None

    def credentials(self) -> Any:
        """:raises OSError: when a file cannot be read. :raises ValueError: for half a pair, or no PEM."""
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("give certificate_file and key_file together")
        return grpc.ssl_channel_credentials(
            _pem("ca_file", self.ca_file),
            _pem("key_file", self.key_file),
            _pem("certificate_file", self.certificate_file),
        )


@dataclass(slots=True, frozen=True)
class Access:
    """A token and TLS, or neither. A token is never sent in plain text, but to this machine itself."""

    token: str = field(default="", repr=False)
    tls: Tls | None = None

    def check(self, endpoint: str) -> None:
        """:raises ValueError: when the token would cross the network in plain text."""
        if self.token and self.tls is None and not _is_loopback(endpoint):
            raise ValueError(f"a token for {endpoint} needs TLS: give tls=Tls(ca_file=...)")

    def metadata(self, endpoint: str) -> Metadata | None:
        """What goes with each call."""
        if not self.token or (self.tls is None and not _is_loopback(endpoint)):
            return None
        return (("authorization", f"Bearer {self.token}"),)

    def dial_blocking(self, endpoint: str) -> grpc.Channel:
        """A channel for threads."""
        if self.tls is None:
            return grpc.insecure_channel(endpoint)
        return grpc.secure_channel(endpoint, self.tls.credentials())


def _pem(name: str, file: str | Path | None) -> bytes | None:
    if file is None:
        return None
    data = Path(file).read_bytes()
    if b"-----BEGIN " not in data:
        raise ValueError(f"{name}: {file} holds nothing in PEM")
    return data


def _is_loopback(endpoint: str) -> bool:
    host = endpoint.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
