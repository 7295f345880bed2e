"""Peers that a test can hurt: run under another program, with other variables, on other directories."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from tests.process.fault_ledger import Ledger
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, PeerPorts, PeerProcess, free_ports

T = TypeVar("T")
SYNCS = "fdatasync,fsync"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class FaultyPeer(PeerProcess):
    """A peer whose next start is wrapped in ``prefix``."""

    def __init__(self, name: str, ports: PeerPorts, directory: Path, *, bootstrap: bool) -> None:
        super().__init__(name, ports, directory, bootstrap=bootstrap)
        self.prefix: list[str] = []
        self.program: list[str] = super().command()
        self.last_code = 0
        """Of the last life that ended by itself."""

    def command(self) -> list[str]:
        return [*self.prefix, *self.program]

    def kill(self) -> None:
        """kill -9 the server, and its tracer, which would let it go on alone."""
        if self.running():
            os.killpg(self.pid or 0, signal.SIGKILL)
        super().kill()

    def send_signal(self, number: signal.Signals) -> None:
        """To the server itself: a tracer blocks signals."""
        if self.running():
            for pid in children_of(self.pid or 0) if self.prefix else [self.pid or 0]:
                os.kill(pid, number)

    @property
    def server_pid(self) -> int:
        """The process of the server itself, below the tracer when there is one."""
        assert self.pid is not None
        if not self.prefix:
            return self.pid
        return wait_for(lambda: next(iter(children_of(self.pid or 0)), None), 5, "a traced server")

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_ended(self, timeout_s: float) -> int:
        """Wait until the process ends by itself; returns its exit code."""
        assert self._process is not None
        self.last_code = self._process.wait(timeout_s)
        self.kill()
        return self.last_code


class FaultyCluster(LocalCluster):
    """A cluster of `FaultyPeer`s."""

    def __init__(self, directory: Path, count: int = 3) -> None:
        super().__init__(directory, [])
        self.ledger = Ledger()
        """Of all that tests write to this cluster."""
        self.members = [
            FaultyPeer(f"peer{number}", ports, directory / f"peer{number}", bootstrap=number == 1)
            for number, ports in enumerate(free_ports(count), start=1)
        ]
        self.peers = list(self.members)
        self.temporary = Path(tempfile.mkdtemp(prefix="z4f-"))
        for peer in self.members:
            peer.environment["TMPDIR"] = str(self.temporary)

    def wait_sql(self, peer: PeerProcess, timeout_s: float = 30.0) -> None:
        """Not needed here: what a peer holds is read through its gRPC service."""

    def stop(self) -> None:
        for peer in self.members:
            peer.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def leader(self, among: Sequence[FaultyPeer] | None = None, timeout_s: float = 10.0) -> FaultyPeer:
        """The peer that leads in the highest term that any of ``among`` knows, once they agree."""
        asked = list(among or self.members)

        def agreed() -> FaultyPeer | None:
            named = {info.leader_id if (info := info_of(peer)) else "" for peer in asked}
            return next((peer for peer in asked if named == {peer.name}), None)

        return wait_for(agreed, timeout_s, f"a leader among {[peer.name for peer in asked]}")

    def revive(self) -> None:
        """Start whoever is down, and wait until all know a leader."""
        for peer in self.members:
            peer.prefix = []
            if not peer.running():
                peer.kill()
                peer.start()
        for peer in self.members:
            self.wait_healthy(peer)

    def others(self, *apart: FaultyPeer) -> list[FaultyPeer]:
        return [peer for peer in self.members if peer not in apart]


def info_of(peer: PeerProcess) -> pb.ClusterInfo | None:
    """What the peer says of the cluster; None when it does not answer."""
    with grpc.insecure_channel(peer.service_address) as channel:
        try:
            return pb.ClusterInfo.FromString(
                channel.unary_unary("/z4.Admin/GetClusterInfo")(b"", timeout=1.0)
            )
        except grpc.RpcError:
            return None


def namespace_of(pid: int | None) -> str:
    """The network namespace of a process, of this one for None; empty when it is gone."""
    try:
        return os.readlink(f"/proc/{pid or 'self'}/ns/net")
    except OSError:
        return ""


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in path.read_text().split()] if path.exists() else []


def wait_for(probe: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """The first true answer of ``probe``."""
    deadline = time.monotonic() + timeout_s
    while not (found := probe()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)
    return found


@functools.cache
def _missing_tracer() -> str:
    """Why there is no strace(1) that injects faults here; empty when there is."""
    words = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "strace is not installed"
    return f"strace cannot inject faults here: {done.stderr.strip()}" if done.returncode else ""


def strace(*injected: str, path: Path | None = None) -> list[str]:
    """The words that run a program under faults at its system calls; see strace(1), "inject".

    The test is skipped where that cannot be done.
    """
    if reason := _missing_tracer():
        pytest.skip(reason)
    calls = sorted({one.split(":", 1)[0] for one in injected})
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={','.join(calls)}"]
    for one in injected:
        words += ["-e", f"inject={one}"]
    return [*words, *(["-P", str(path)] if path is not None else [])]


def _is_traced(pid: int) -> bool:
    """Also when the fault has killed it already."""
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0\n" not in status or "State:\tZ" in status


@contextmanager
def injected(pid: int, fault: str, path: Path | None = None) -> Iterator[None]:
    """A running process meets ``fault`` until the context ends, at ``path`` only when that is given."""
    words = [*strace(fault, path=path), "-p", str(pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: _is_traced(pid), 5, f"a tracer on process {pid}")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(5)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait()
        assert tracer.stderr is not None
        tracer.stderr.close()
