"""Connections that say nothing, or begin and never go on, are dropped and keep nobody else waiting."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from z4sql.api.server import ApiServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
HALF_HEADERS = b"\x00\x00\x20\x01\x00\x00\x00\x00\x01\x82"
"""A HEADERS frame of 32 bytes, of which one comes."""
BEGINNINGS = {
    "nothing": b"",
    "half a preface": PREFACE[:11],
    "the preface alone": PREFACE,
    "half a frame header": PREFACE + SETTINGS[:5],
    "half a request header": PREFACE + SETTINGS + HALF_HEADERS,
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n",
}
HANDSHAKE_MS = 300
PING_MS = 300
CONNECTIONS_MAX = 40
BUSY_S = 10.0
"""What a busy machine may add."""


class _NoMethods(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        return None


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = ApiServer(
        _NoMethods(),  # type: ignore[arg-type]  # health is what these tests ask
        "127.0.0.1:0",
        handshake_timeout_ms=HANDSHAKE_MS,
        ping_ms=PING_MS,
    )
    await server.start()
    await server.set_serving(True)
    yield server.port
    await server.stop(0)


def opened(port: int, beginning: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(beginning)
    connection.setblocking(False)
    return connection


async def is_dropped(connection: socket.socket) -> bool:
    """Whether the server closed it; what it sends before that is of no interest."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(HANDSHAKE_MS / 1000 + 2 * PING_MS / 1000 + BUSY_S):
            while await loop.sock_recv(connection, 4096):
                continue
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


async def answer_s(port: int) -> float:
    """How long a call on a new connection takes."""
    started_s = time.monotonic()
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        request = health_pb2.HealthCheckRequest()
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=BUSY_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    return time.monotonic() - started_s


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_a_connection_that_never_goes_on_is_dropped(port: int, beginning: bytes) -> None:
    connection = opened(port, beginning)
    try:
        assert await is_dropped(connection)
    finally:
        connection.close()


async def test_silent_connections_keep_nobody_waiting_and_are_all_dropped(port: int) -> None:
    beginnings = list(BEGINNINGS.values())
    silent = [opened(port, beginnings[at % len(beginnings)]) for at in range(CONNECTIONS_MAX // 2)]
    try:
        times_s = [await answer_s(port) for _ in range(5)]
        assert min(times_s) < 1.0
        dropped = await asyncio.gather(*(is_dropped(connection) for connection in silent))
        assert all(dropped)
    finally:
        for connection in silent:
            connection.close()


async def test_connections_above_the_cap_are_dropped_at_once() -> None:
    server = ApiServer(_NoMethods(), "127.0.0.1:0", connections_max=CONNECTIONS_MAX)  # type: ignore[arg-type]
    await server.start()
    await server.set_serving(True)
    strangers = [opened(server.port, b"") for _ in range(4 * CONNECTIONS_MAX)]
    try:
        dropped = [asyncio.ensure_future(is_dropped(connection)) for connection in strangers]
        while sum(one.done() for one in dropped) < 3 * CONNECTIONS_MAX:
            assert not all(one.done() for one in dropped)
            await asyncio.wait(
                [one for one in dropped if not one.done()], return_when=asyncio.FIRST_COMPLETED
            )
        for connection in strangers:
            connection.close()
        assert await answer_s(server.port) < BUSY_S
    finally:
        for one in dropped:
            one.cancel()
        await server.stop(0)
