"""A cluster of real peer processes on loopback, as the demo, the benchmarks and the tests run it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from z4sql.cli import z4t
from z4sql.testing.ports import free_ports as free_port_numbers

_READY_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0


class ClusterFailed(Exception):
    """A peer did not come up, or went down by itself; the message names its log."""


@dataclass(slots=True, frozen=True)
class PeerPorts:
    service: int
    peer: int
    sql: int
    metrics: int


class PeerProcess:
    """One ``z4 server`` process, its ports, its directory and its log."""

    def __init__(self, name: str, ports: PeerPorts, directory: Path, *, bootstrap: bool) -> None:
        self.name = name
        self.ports = ports
        self.directory = directory
        self.bootstrap = bootstrap
        self.log = directory / "log"
        self.environment: dict[str, str] = {}
        """Further settings, as ``Z4_*`` variables."""
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def service_address(self) -> str:
        return f"127.0.0.1:{self.ports.service}"

    @property
    def peer_address(self) -> str:
        return f"127.0.0.1:{self.ports.peer}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def command(self) -> list[str]:
        """What `start` runs."""
        return [sys.executable, "-m", "z4sql.cli.z4", "server"]

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("Z4_")}
        environment |= {
            "Z4_PEER_ID": self.name,
            "Z4_PEER_ADVERTISE_ADDR": self.peer_address,
            "Z4_PEER_PORT": str(self.ports.peer),
            "Z4_SERVICE_PORT": str(self.ports.service),
            "Z4_SQL_PORT": str(self.ports.sql),
            "Z4_METRICS_PORT": str(self.ports.metrics),
            "Z4_DB_DATA_DIR": str(self.directory / "db"),
            "Z4_PEER_DATA_DIR": str(self.directory / "peer"),
            "Z4_BOOTSTRAP_CLUSTER": "true" if self.bootstrap else "false",
            **self.environment,
        }
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(  # noqa: S603 - our own words
            self.command(),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9, as a crash would; the peer's SQL process goes with its parent."""
        self._signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> int | None:
        """Stop cleanly; returns the exit code."""
        return self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._output is not None:
            self._output.close()
        return process.returncode


class LocalCluster:
    """Peers under one directory; leaving the context stops them all."""

    def __init__(self, directory: Path, ports: list[PeerPorts]) -> None:
        self.peers = [
            PeerProcess(f"peer{number}", peer_ports, directory / f"peer{number}", bootstrap=number == 1)
            for number, peer_ports in enumerate(ports, start=1)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def form(self) -> None:
        """Start every peer, then add the others to the first one's cluster."""
        for peer in self.peers:
            peer.start()
        self.wait_healthy(self.peers[0])
        for peer in self.peers[1:]:
            # Whoever adds a peer waits only a moment for it, and it may still be starting.
            self.wait_healthy(peer, leaderless=True)
            arguments = ["-t", self.peers[0].service_address, "-p", peer.peer_address, "-id", peer.name]
            if z4t.main([*arguments, "add-peer"]) != 0:
                raise ClusterFailed(f"{peer.name} could not be added: see {peer.log}")
        for peer in self.peers:
            self.wait_healthy(peer)
            self.wait_sql(peer)

    def stop(self) -> None:
        for peer in self.peers:
            peer.send_signal(signal.SIGTERM)
        for peer in self.peers:
            peer.stop()

    def wait_healthy(
        self, peer: PeerProcess, timeout_s: float = _READY_TIMEOUT_S, *, leaderless: bool = False
    ) -> None:
        """Wait until the peer answers that it knows a leader; ``leaderless``: until it answers."""
        import grpc

        deadline = time.monotonic() + timeout_s
        with grpc.insecure_channel(peer.service_address) as channel:
            check = channel.unary_unary("/z4.Admin/CheckHealth")
            while True:
                try:
                    check(b"", timeout=1.0, wait_for_ready=True)
                    return
                except grpc.RpcError as error:
                    if leaderless and error.code() is grpc.StatusCode.INTERNAL:
                        return
                    self._check(peer, deadline, f"not healthy: {error.details()}")
                    time.sleep(0.02)

    def wait_sql(self, peer: PeerProcess, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Wait until the peer's MySQL port greets."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with socket.create_connection(("127.0.0.1", peer.ports.sql), timeout=1.0) as connection:
                    if connection.recv(5):
                        return
            except OSError:
                pass
            self._check(peer, deadline, "its SQL port does not answer")
            time.sleep(0.02)

    def _check(self, peer: PeerProcess, deadline: float, problem: str) -> None:
        if not peer.running():
            raise ClusterFailed(f"{peer.name} stopped: see {peer.log}")
        if time.monotonic() > deadline:
            raise ClusterFailed(f"{peer.name}: {problem}: see {peer.log}")


def free_ports(count: int) -> list[PeerPorts]:
    """Ports that nobody listens on, for ``count`` peers."""
    numbers = free_port_numbers(4 * count)
    return [PeerPorts(*numbers[at : at + 4]) for at in range(0, 4 * count, 4)]


def usual_ports(count: int) -> list[PeerPorts]:
    """The ports of the walk-through: 6355, 6455, ... for gRPC, 3306, 3307, ... for SQL."""
    return [PeerPorts(6355 + 100 * n, 6356 + 100 * n, 3306 + n, 2112 + n) for n in range(count)]


def taken(ports: list[PeerPorts]) -> list[int]:
    """Those of the ports that somebody listens on."""
    busy = []
    for number in (port for peer in ports for port in (peer.service, peer.peer, peer.sql, peer.metrics)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                busy.append(number)
    return busy
