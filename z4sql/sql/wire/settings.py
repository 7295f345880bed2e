"""Limits and manners of the wire server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class WireSettings:
    """Times in seconds, sizes in bytes. ``tls`` None: TLS is not offered."""

    server_version: str = "8.0.36-z4"
    tls: ssl.SSLContext | None = None
    tls_required: bool = False
    connections_max: int = 512
    connections_per_user_max: int = 0
    """0: no limit."""
    login_timeout_s: float = 10.0
    failed_login_pause_s: float = 0.25
    """Slows guessing: an answer of "access denied" comes no sooner."""
    read_timeout_s: float = 30.0
    """Within a packet that has begun."""
    write_timeout_s: float = 600.0
    """How long a client may leave a full buffer unread."""
    linger_s: float = 0.5
    prepared_statements_max: int = 1024
    """Of one connection."""
