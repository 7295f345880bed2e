"""The gRPC server of a peer: listeners, limits, keepalive, health and reflection."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.methods import Methods

MESSAGE_BYTES_MAX = 16 << 20
SERVICES = tuple(
    pb.DESCRIPTOR.services_by_name[name].full_name for name in sorted(pb.DESCRIPTOR.services_by_name)
)

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class PortTaken(Exception):
    """A listener could not bind; the message names the address."""


class ApiServer:
    """Serves ``methods`` beside grpc.health.v1 and reflection."""

    def __init__(
        self,
        methods: Methods,
        address: str,
        credentials: Any = None,
        *,
        handshake_timeout_ms: int = 5_000,
        ping_ms: int = 10_000,
        connections_max: int = 10_000,
    ) -> None:
        """``credentials``: gRPC's, of the listener; None is plain text.

        A connection has ``handshake_timeout_ms`` to become one of HTTP/2; then it is asked every ``ping_ms``
        whether it lives, and has half of that to answer. :raises PortTaken:
        """
        # A stopped client is noticed by the ping's timeout alone: the keepalive timeout does not cover it.
        patience = (
            ("grpc.server_handshake_timeout_ms", handshake_timeout_ms),
            ("grpc.keepalive_time_ms", ping_ms),
            ("grpc.keepalive_timeout_ms", ping_ms // 2),
            ("grpc.http2.ping_timeout_ms", ping_ms // 2),
            ("grpc.max_allowed_incoming_connections", connections_max),
        )
        self._server = grpc.aio.server(options=(*_OPTIONS, *patience))
        self._health = health.aio.HealthServicer()
        self._server.add_generic_rpc_handlers((methods,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        try:
            if credentials is None:
                self.port: int = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise PortTaken(f"cannot listen on {address}: the port is taken or not allowed") from None

    async def start(self) -> None:
        await self._server.start()
        await self.set_serving(False)

    async def set_serving(self, serving: bool) -> None:
        """Serving means that this peer knows a leader."""
        status = (
            health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in ("", *SERVICES):
            await self._health.set(service, status)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, end open streams with UNAVAILABLE after ``grace_s``."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
