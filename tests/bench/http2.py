"""gRPC calls as bare HTTP/2 frames: a load generator that costs a few microseconds a message.

On a machine of two cores an ordinary client takes as much of them as the servers that it measures. Here the
frames are made once; a call is a patched stream number and a write. RFC 9113 §4.1, §6; gRPC over HTTP/2.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from tests.bench.load import Figures

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_WINDOW_MAX = (1 << 31) - 1
_WINDOW_DEFAULT = 65_535
_REFILL_BYTES = 1 << 20


class CallFailed(Exception):
    """A call ended otherwise than with status 0."""


def host_and_port(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host, int(port)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def message(body: bytes) -> bytes:
    """A gRPC message as it stands in DATA frames."""
    return struct.pack(">BI", 0, len(body)) + body


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that no table remembers (RFC 7541 §6.2.2)."""
    assert len(name) < 127
    assert len(value) < 127
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def request_headers(path: str) -> bytes:
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
    return b"".join(_literal(name, value) for name, value in fields)


class Connection(asyncio.Protocol):
    """One HTTP/2 connection; tells ``on_end`` every stream that ended, ``on_data`` every DATA frame."""

    def __init__(self, on_end: Callable[[int, float], None], on_data: Callable[[int, bytes], None]) -> None:
        self._on_end = on_end
        self._on_data = on_data
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._consumed = 0
        self._send_window = _WINDOW_DEFAULT
        self._stream_window = _WINDOW_DEFAULT
        self._waiting: deque[bytes] = deque()
        self._started: dict[int, float] = {}
        self.failure: CallFailed | None = None
        self._next_stream = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        window = struct.pack(">HI", 4, _WINDOW_MAX)
        transport.write(
            _PREFACE
            + frame(_SETTINGS, 0, 0, window)
            + frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW_MAX - _WINDOW_DEFAULT))
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if self.failure is None and self._started:
            self.failure = CallFailed(f"the connection was lost: {exc}")

    def call(self, headers: bytes, body: bytes) -> int:
        """Start a unary call; its stream's number."""
        stream = self.open(headers)
        self.send(stream, body, end=True)
        return stream

    def open(self, headers: bytes) -> int:
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._started[stream] = time.perf_counter()
        self._transport.write(frame(_HEADERS, _END_HEADERS, stream, headers))
        return stream

    def send(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """Send the bytes of one or more messages in one DATA frame, at most 16 KiB."""
        assert len(body) <= 16_384
        self._waiting.append(frame(_DATA, _END_STREAM if end else 0, stream, body))
        self._flush()

    def close(self) -> None:
        self._started.clear()
        self._transport.close()

    def _flush(self) -> None:
        ready = []
        while self._waiting and len(self._waiting[0]) - 9 <= self._send_window:
            data = self._waiting.popleft()
            self._send_window -= len(data) - 9
            ready.append(data)
        if ready:
            self._transport.write(b"".join(ready))

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at, size = 0, len(received)
        while size - at >= 9:
            length = received[at] << 16 | received[at + 1] << 8 | received[at + 2]
            if size - at < 9 + length:
                break
            kind, flags = received[at + 3], received[at + 4]
            stream = int.from_bytes(received[at + 5 : at + 9], "big")
            self._frame(kind, flags, stream, received, at + 9, length)
            at += 9 + length
        del received[:at]
        if self._consumed >= _REFILL_BYTES:
            self._transport.write(frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._consumed)))
            self._consumed = 0

    def _frame(self, kind: int, flags: int, stream: int, data: bytearray, at: int, length: int) -> None:
        if kind == _DATA:
            self._consumed += length
            self._on_data(stream, bytes(data[at : at + length]))
        elif kind == _HEADERS:
            if flags & _END_STREAM:
                self._end(stream, bytes(data[at : at + length]))
        elif kind == _WINDOW_UPDATE:
            if stream == 0:
                self._send_window += int.from_bytes(data[at : at + 4], "big")
                self._flush()
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._transport.write(frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING:
            if not flags & _ACK:
                self._transport.write(frame(_PING, _ACK, 0, bytes(data[at : at + length])))
        elif kind in (_RESET, _GOAWAY):
            self.failure = CallFailed(f"stream {stream} was reset: {bytes(data[at : at + length])!r}")

    def _end(self, stream: int, _trailers: bytes) -> None:
        started = self._started.pop(stream, None)
        if started is not None:
            self._on_end(stream, started)


async def unary_load(
    name: str,
    address: tuple[str, int],
    path: str,
    bodies: Sequence[bytes],
    *,
    callers: int,
    seconds: float,
    warm_up_s: float = 1.0,
) -> tuple[Figures, int]:
    """``callers`` unary calls on their way at any time; the figures, and how many calls were made in all."""
    loop = asyncio.get_running_loop()
    figures = Figures(name)
    headers = request_headers(path)
    framed = [message(body) for body in bodies]
    ended = loop.create_future()
    begun = time.perf_counter()
    measure_from, until = begun + warm_up_s, begun + warm_up_s + seconds
    made = answered = 0

    def start() -> None:
        nonlocal made
        connection.call(headers, framed[made % len(framed)])
        made += 1

    def on_end(_stream: int, started: float) -> None:
        nonlocal answered
        answered += 1
        now = time.perf_counter()
        if started >= measure_from and now <= until:
            figures.units += 1
            figures.latencies_s.append(now - started)
        if now < until:
            start()
        elif answered == made and not ended.done():
            ended.set_result(None)

    replies = 0

    def on_data(_stream: int, _data: bytes) -> None:
        nonlocal replies
        replies += 1

    _, connection = await loop.create_connection(lambda: Connection(on_end, on_data), *address)
    for _ in range(callers):
        start()
    await asyncio.wait_for(ended, seconds + warm_up_s + 30)
    connection.close()
    if connection.failure is not None:
        raise connection.failure
    # A call that failed has trailers only: no message.
    if replies < made:
        raise CallFailed(f"{made - replies} of {made} calls were answered without a message")
    figures.took_s = seconds
    return figures, made


async def stream_load(
    name: str,
    address: tuple[str, int],
    path: str,
    bodies: Sequence[bytes],
    *,
    streams: int,
    window: int,
    seconds: float,
    warm_up_s: float = 1.0,
) -> tuple[Figures, int]:
    """``streams`` streams on a connection each, ``window`` single messages on their way on each.

    Latencies are of one message, from its sending to its answer.
    """
    loop = asyncio.get_running_loop()
    figures = Figures(name)
    framed = [message(body) for body in bodies]
    begun = time.perf_counter()
    measure_from, until = begun + warm_up_s, begun + warm_up_s + seconds
    made = answered = 0
    ended = loop.create_future()
    sent: list[deque[float]] = [deque() for _ in range(streams)]
    partial = [b""] * streams
    connections: list[Connection] = []
    numbers: list[int] = []

    def send(which: int, count: int) -> None:
        nonlocal made
        now = time.perf_counter()
        for _ in range(count):
            connections[which].send(numbers[which], framed[made % len(framed)])
            sent[which].append(now)
            made += 1

    def received(which: int, data: bytes) -> None:
        nonlocal answered
        data = partial[which] + data
        at = count = 0
        while len(data) - at >= 5:
            length = int.from_bytes(data[at + 1 : at + 5], "big")
            if len(data) - at < 5 + length:
                break
            at += 5 + length
            count += 1
        partial[which] = data[at:]
        answered += count
        now = time.perf_counter()
        for _ in range(count):
            started = sent[which].popleft()
            if started >= measure_from and now <= until:
                figures.units += 1
                figures.latencies_s.append(now - started)
        if now < until:
            send(which, count)
        elif answered == made and not ended.done():
            ended.set_result(None)

    def stream_ended(_stream: int, _started: float) -> None:
        if not ended.done():
            ended.set_exception(CallFailed("a stream ended by itself"))

    for which in range(streams):

        def on_data(_stream: int, data: bytes, which: int = which) -> None:
            received(which, data)

        _, connection = await loop.create_connection(
            lambda on_data=on_data: Connection(stream_ended, on_data), *address
        )
        connections.append(connection)
        numbers.append(connection.open(request_headers(path)))
    for which in range(streams):
        send(which, window)
    await asyncio.wait_for(ended, seconds + warm_up_s + 30)
    for connection in connections:
        connection.close()
        if connection.failure is not None:
            raise connection.failure
    figures.took_s = seconds
    return figures, made
