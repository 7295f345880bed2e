"""A cluster of one peer for tests: a child process, a directory and ports of its own, a clock to move."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from z4sql.client import AsyncClient, Client
from z4sql.testing.clock import Clock
from z4sql.testing.ports import free_ports

_STARTS_MAX: Final = 3
_READY_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 10.0


class ClusterFailed(Exception):
    """The peer did not come up; the message ends with its log."""


class TestCluster:
    """A real peer, in the state of a cluster that was just made.

    ::

        with TestCluster() as cluster:
            cluster.client.create("emails", delay=timedelta(hours=3))
            cluster.clock.advance(hours=3)
            with cluster.client.consume("emails") as tasks:
                next(iter(tasks)).ack()
    """

    __test__ = False
    """Not a test, whatever its name."""

    def __init__(self, *, timeout_s: float = 10.0) -> None:
        """``timeout_s``: of the clients that it makes."""
        self._timeout_s = timeout_s
        self._directory = Path(tempfile.mkdtemp(prefix="z4-test-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._client: Client | None = None
        self._ports = [0, 0, 0, 0]
        self.clock = Clock(self._directory / "clock", self._on_move)
        """The cluster's time. Timeouts and elections go by the real one."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Where clients connect, ``HOST:PORT``."""
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def sql_port(self) -> int:
        """Where MySQL clients connect on 127.0.0.1; it may take a moment until it answers."""
        return self._ports[2]

    @property
    def client(self) -> Client:
        """A blocking client, made on first use and closed with the cluster."""
        if self._client is None:
            self._client = Client(self.address, timeout_s=self._timeout_s)
        return self._client

    def async_client(self) -> AsyncClient:
        """A client for asyncio, which its user closes."""
        return AsyncClient(self.address, timeout_s=self._timeout_s)

    def start(self) -> None:
        """Start the peer and wait until it serves. :raises ClusterFailed:"""
        for _ in range(_STARTS_MAX):
            self._ports = free_ports(len(self._ports))
            if self._start_once():
                return
        self.stop()
        raise ClusterFailed(f"the peer did not find free ports in {_STARTS_MAX} tries")

    def restart(self, *, crash: bool = False) -> None:
        """End the peer and start it again with what it holds, at the same addresses: clients go on.

        ``crash``: it is killed instead of stopped. :raises ClusterFailed:
        """
        self._end_process(crash=crash)
        if not self._start_once():
            raise ClusterFailed("another program took a port of the peer while it was down")

    def stop(self) -> None:
        """End the peer and remove its directory."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._end_process()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start_once(self) -> bool:
        """False when another program took a port meanwhile."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("Z4_")}
        self._log = (self._directory / "log").open("ab")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [sys.executable, "-m", "z4sql.testing.peer", str(self._directory), *map(str, self._ports)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        if self._wait_ready():
            return True
        text = (self._directory / "log").read_text(errors="replace")
        self._end_process()
        if "cannot listen on" in text:
            return False
        self.stop()
        raise ClusterFailed(f"the peer did not come up:\n{text[-4000:]}")

    def _wait_ready(self) -> bool:
        import grpc

        process = self._process
        deadline = time.monotonic() + _READY_TIMEOUT_S
        with grpc.insecure_channel(
            self.address,
            options=[("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)],
        ) as channel:
            check = channel.unary_unary("/z4.Admin/CheckHealth")
            while process is not None and process.poll() is None and time.monotonic() < deadline:
                try:
                    check(b"", timeout=1.0, wait_for_ready=True)
                except grpc.RpcError:
                    time.sleep(0.02)
                else:
                    return True
        return False

    def _end_process(self, *, crash: bool = False) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL if crash else signal.SIGTERM)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _on_move(self) -> None:
        """Settings that are set anew make the leader look at once for what is due."""
        if self._process is None:
            return
        for namespace in self.client.namespaces.list():
            self.client.namespaces.set(namespace.name)
