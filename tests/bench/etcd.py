"""Three etcd servers on loopback, each put durable on a majority: the peer of the write benchmarks.

Messages are the few fields of etcd's public API (rpc.proto: KV.Put, KV.Txn) that a put needs.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

PUT = "/etcdserverpb.KV/Put"
TRANSACTION = "/etcdserverpb.KV/Txn"


def installed() -> bool:
    return shutil.which("etcd") is not None


class EtcdCluster:
    def __init__(self, directory: Path) -> None:
        ports = _free_ports(6)
        self.endpoints = [f"127.0.0.1:{port}" for port in ports[:3]]
        peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        initial = ",".join(f"e{n}={peer}" for n, peer in enumerate(peers))
        self._processes = [
            subprocess.Popen(
                ["etcd", "--name", f"e{n}", "--data-dir", str(directory / f"e{n}")]
                + [
                    "--listen-client-urls",
                    f"http://{endpoint}",
                    "--advertise-client-urls",
                    f"http://{endpoint}",
                ]
                + ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
                + ["--initial-cluster", initial, "--initial-cluster-state", "new", "--log-level", "error"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for n, (endpoint, peer) in enumerate(zip(self.endpoints, peers, strict=True))
        ]

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(10)


def put(key: bytes, value: bytes) -> bytes:
    """An encoded PutRequest."""
    return _field(1, key) + _field(2, value)


def transaction(puts: list[bytes]) -> bytes:
    """An encoded TxnRequest that carries out every PutRequest."""
    return b"".join(_field(2, _field(2, one)) for one in puts)


def _field(number: int, data: bytes) -> bytes:
    length, out = len(data), bytearray([number << 3 | 2])
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    return bytes(out) + data


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
