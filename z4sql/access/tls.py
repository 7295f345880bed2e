"""TLS of the listeners, from files that are read again when they are replaced."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True, frozen=True)
class TlsFiles:
    """PEM files: this peer's certificate and key, and the authority that signs everybody's."""

    certificate: Path
    key: Path
    authority: Path


class ServerTls:
    """A server's TLS context whose certificate is loaded again when its file was replaced.

    New connections get the new certificate; those that stand are left alone.

    :raises OSError: :raises ssl.SSLError: a file cannot be used, at the first load.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._mark = self._mark_now()
        self.context.load_cert_chain(files.certificate, files.key)

    def refresh(self) -> bool:
        """Load the files again if they changed; whether they were. :raises OSError: :raises ssl.SSLError:"""
        mark = self._mark_now()
        if mark == self._mark:
            return False
        # Into a scratch context first: a certificate without its key must not replace a good pair.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._files.certificate, self._files.key)
        self.context.load_cert_chain(self._files.certificate, self._files.key)
        self._mark = mark
        return True

    def _mark_now(self) -> tuple[int, int]:
        return (self._files.certificate.stat().st_mtime_ns, self._files.key.stat().st_mtime_ns)
