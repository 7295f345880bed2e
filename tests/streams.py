"""Plain gRPC streams for tests: what is sent and received is said message by message, with bounded waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import grpc

from z4sql.api._pb import z4_pb2 as pb

T = TypeVar("T")


def wait_for(found: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """Poll until ``found`` answers something true."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = found()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"within {timeout_s} s: {what}"
        time.sleep(0.01)


class Stream:
    """A bidirectional call: `send` bytes, `received` holds (monotonic seconds, bytes) as they came."""

    def __init__(
        self, channel: grpc.Channel, method: str, *, metadata: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self.received: list[tuple[float, bytes]] = []
        self.error: grpc.RpcError | None = None
        self.ended = threading.Event()
        self._outgoing: queue.Queue[bytes | None] = queue.Queue()
        self._call = channel.stream_stream(method)(self._requests(), metadata=metadata)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def send(self, message: Any) -> None:
        self._outgoing.put(message if isinstance(message, bytes) else message.SerializeToString())

    def half_close(self) -> None:
        self._outgoing.put(None)

    def cancel(self) -> None:
        """Break off, as a client that goes away."""
        self._call.cancel()
        self._outgoing.put(None)
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def _requests(self) -> Iterator[bytes]:
        while (message := self._outgoing.get()) is not None:
            yield message

    def _read(self) -> None:
        try:
            for message in self._call:
                self.take(time.monotonic(), message)
        except grpc.RpcError as error:
            self.error = error
        finally:
            self.ended.set()

    def take(self, at_s: float, message: bytes) -> None:
        self.received.append((at_s, message))


class TaskStream(Stream):
    """A stream of bare tasks."""

    def tasks(self) -> list[pb.Task]:
        return [pb.Task.FromString(message) for _, message in list(self.received)]

    def wait(self, count: int, timeout_s: float = 10.0) -> list[pb.Task]:
        wait_for(lambda: len(self.received) >= count, timeout_s, f"{count} tasks, {len(self.received)} came")
        return self.tasks()


class ConsumeCall(Stream):
    """Queue.Consume. ``deliveries`` in order, with the wall clock of their arrival; ``outcomes`` by token."""

    def __init__(
        self,
        channel: grpc.Channel,
        *namespaces: str,
        credit: int = 0,
        name: str = "",
        lease_ms: int = 0,
        auto_ack: bool = False,
    ) -> None:
        self.deliveries: list[pb.Delivery] = []
        self.arrivals_s: list[float] = []
        self.outcomes: dict[int, list[pb.Settlement]] = {}
        self.started: pb.ConsumeStarted | None = None
        self._auto_ack = auto_ack
        super().__init__(channel, "/z4.Queue/Consume")
        start = pb.ConsumeStart(namespaces=namespaces, consumer=name, lease_ms=lease_ms)
        self.send(pb.ConsumeRequest(start=start, credit=credit))

    def take(self, at_s: float, message: bytes) -> None:
        response = pb.ConsumeResponse.FromString(message)
        if response.HasField("started"):
            self.started = response.started
        now_s = time.time()
        for delivery in response.deliveries:
            self.arrivals_s.append(now_s)
            self.deliveries.append(delivery)
        if self._auto_ack and response.deliveries:
            acks = [pb.Ack(lease_token=delivery.lease_token) for delivery in response.deliveries]
            self.send(pb.ConsumeRequest(acks=acks, credit=len(acks)))
        for outcome in response.settled:
            self.outcomes.setdefault(outcome.lease_token, []).append(outcome)
        self.received.append((at_s, message))

    def wait(self, count: int, timeout_s: float = 10.0) -> list[pb.Delivery]:
        """The first ``count`` deliveries."""
        wait_for(
            lambda: len(self.deliveries) >= count,
            timeout_s,
            f"{count} deliveries, {len(self.deliveries)} came; {self.error}",
        )
        return self.deliveries[:count]

    def credit(self, count: int) -> None:
        self.send(pb.ConsumeRequest(credit=count))

    def ack(self, *tokens: int) -> list[pb.Settlement]:
        self.send(pb.ConsumeRequest(acks=[pb.Ack(lease_token=token) for token in tokens]))
        return [self.outcome(token) for token in tokens]

    def nack(self, token: int, **fields: Any) -> pb.Settlement:
        self.send(pb.ConsumeRequest(nacks=[pb.Nack(lease_token=token, **fields)]))
        return self.outcome(token)

    def extend(self, token: int, lease_ms: int = 0) -> pb.Settlement:
        self.send(pb.ConsumeRequest(extensions=[pb.Extension(lease_token=token, lease_ms=lease_ms)]))
        return self.outcome(token)

    def outcome(self, token: int, timeout_s: float = 10.0) -> pb.Settlement:
        wait_for(lambda: self.outcomes.get(token), timeout_s, f"an outcome of {token}; {self.error}")
        return self.outcomes[token].pop(0)


class StuckConsumer:
    """Asks for tasks and reads nothing: flow control stops what it is sent long before its credit is used."""

    def __init__(self, channel: grpc.Channel, namespace: str, *, credit: int, lease_ms: int) -> None:
        self._leaving = threading.Event()
        start = pb.ConsumeStart(namespaces=[namespace], consumer="stuck", lease_ms=lease_ms)
        self._opening = pb.ConsumeRequest(start=start, credit=credit).SerializeToString()
        self._call = channel.stream_stream("/z4.Queue/Consume")(self._requests())

    def _requests(self) -> Iterator[bytes]:
        yield self._opening
        # Whoever says no more is taken to have left.
        self._leaving.wait()

    def cancel(self) -> None:
        self._leaving.set()
        self._call.cancel()
