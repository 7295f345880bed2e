"""Channels to other peers' client ports: encrypted where listeners are, with the peers' own token."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc

from z4sql.api.guard import AUTHORIZATION

_OPTIONS = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),
    ("grpc.service_config", json.dumps({"methodConfig": []})),
)


class Dialer:
    """``credentials`` None: plain text. ``token`` answers the peers' token, empty where there is none."""

    def __init__(self, credentials: Any = None, token: Callable[[], str] = lambda: "") -> None:
        self._credentials = credentials
        self._interceptors = (_UnaryToken(token), _StreamToken(token))

    def dial(self, address: str) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=self._interceptors)
        return grpc.aio.secure_channel(
            address, self._credentials, options=_OPTIONS, interceptors=self._interceptors
        )


class _Token:
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def _with_token(self, details: Any) -> Any:
        token = self._token()
        if not token:
            return details
        metadata = (*(details.metadata or ()), (AUTHORIZATION, f"Bearer {token}"))
        return details._replace(metadata=metadata)


class _UnaryToken(_Token, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc carries no types
    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(self._with_token(details), request)


class _StreamToken(_Token, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]  # as above
    async def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return await continuation(self._with_token(details), requests)
