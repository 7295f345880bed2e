"""What a peer's listeners ask of their callers, and what the peer shows to others."""

from __future__ import annotations

from typing import Any

from z4sql.access.book import AccessBook
from z4sql.access.grpc_tls import channel_credentials, server_credentials
from z4sql.api.dialing import Dialer
from z4sql.api.guard import Guard
from z4sql.config import Settings


class Security:
    """Credentials are gRPC's; None is plain text.

    :raises AccessFileError: the access file cannot be used. :raises OSError: a certificate cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        book = AccessBook(settings.access_file) if settings.access_file else None
        tls = settings.tls
        self.guard = Guard(book) if book else None
        self.service_credentials: Any = server_credentials(tls, mutual=False) if tls else None
        self.peer_server_credentials: Any = server_credentials(tls, mutual=True) if tls else None
        self.channel_credentials: Any = channel_credentials(tls) if tls else None
        self.dial = Dialer(self.channel_credentials, lambda: book.peer_token if book else "").dial

    def sql_flags(self) -> list[str]:
        """What the SQL process is told."""
        settings, flags = self._settings, []
        if settings.access_file is not None:
            flags += ["--access-file", str(settings.access_file)]
        if settings.tls is not None:
            tls = settings.tls
            flags += ["--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)]
            flags += ["--tls-ca", str(tls.authority)]
        if settings.sql_require_secure_transport:
            flags.append("--tls-required")
        return flags
