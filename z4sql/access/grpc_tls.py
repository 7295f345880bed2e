"""gRPC credentials from PEM files; servers follow the files when they are replaced."""

from __future__ import annotations

from typing import Any

import grpc
import structlog

from z4sql.access.tls import TlsFiles

_log = structlog.get_logger()


def server_credentials(files: TlsFiles, *, mutual: bool) -> Any:
    """For a listener; ``mutual``: callers must show a certificate of the same authority.

    :raises OSError: a file cannot be read.
    """
    last = (_mark(files), _pair(files, mutual))

    def fetch() -> Any:
        nonlocal last
        try:
            mark = _mark(files)
            if mark != last[0]:
                last = (mark, _pair(files, mutual))
                _log.info("certificates_read", certificate=str(files.certificate))
        except OSError as problem:
            _log.error("certificates_refused", reason=str(problem))
            return None
        return last[1]

    return grpc.dynamic_ssl_server_credentials(last[1], fetch, require_client_authentication=mutual)


def channel_credentials(files: TlsFiles) -> Any:
    """For calls to other peers: shows this peer's certificate. :raises OSError: a file cannot be read."""
    return grpc.ssl_channel_credentials(
        files.authority.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes()
    )


def _pair(files: TlsFiles, mutual: bool) -> Any:
    pair = [(files.key.read_bytes(), files.certificate.read_bytes())]
    return grpc.ssl_server_certificate_configuration(
        pair, root_certificates=files.authority.read_bytes() if mutual else None
    )


def _mark(files: TlsFiles) -> tuple[int, ...]:
    return tuple(path.stat().st_mtime_ns for path in (files.certificate, files.key, files.authority))
