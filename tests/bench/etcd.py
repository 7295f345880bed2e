"""Three etcd servers on loopback, each put durable on a majority: the peer of the write benchmarks.

Messages are the few fields of etcd's public API (rpc.proto: KV.Put, KV.Txn) that a put needs.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import grpc

from z4sql.testing.ports import free_ports

PUT = "/etcdserverpb.KV/Put"
TRANSACTION = "/etcdserverpb.KV/Txn"
STATUS = "/etcdserverpb.Maintenance/Status"


def installed() -> bool:
    return shutil.which("etcd") is not None


class EtcdCluster:
    def __init__(self, directory: Path) -> None:
        ports = free_ports(6)
        self.endpoints = [f"127.0.0.1:{port}" for port in ports[:3]]
        peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        initial = ",".join(f"e{n}={peer}" for n, peer in enumerate(peers))
        self._commands = [
            ["etcd", "--name", f"e{n}", "--data-dir", str(directory / f"e{n}")]
            + ["--listen-client-urls", f"http://{endpoint}", "--advertise-client-urls", f"http://{endpoint}"]
            + ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            + ["--initial-cluster", initial, "--initial-cluster-state", "new", "--log-level", "error"]
            for n, (endpoint, peer) in enumerate(zip(self.endpoints, peers, strict=True))
        ]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(3):
            self.start(number)

    def start(self, number: int) -> None:
        self._processes[number] = subprocess.Popen(
            self._commands[number], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self, number: int) -> None:
        self._processes[number].kill()
        self._processes[number].wait(10)

    def stop(self) -> None:
        for number in self._processes:
            self.kill(number)

    async def leader(self) -> int:
        """The number of the server that leads, by its own account."""
        async with asyncio.timeout(30):
            while True:
                for number, endpoint in enumerate(self.endpoints):
                    async with grpc.aio.insecure_channel(endpoint) as channel:
                        try:
                            answer = await channel.unary_unary(STATUS)(b"", timeout=0.5)
                        except grpc.aio.AioRpcError:
                            continue
                    fields = _varints(answer)
                    header = _varints(fields[1]) if isinstance(fields.get(1), bytes) else {}
                    if fields.get(4) and fields.get(4) == header.get(2):
                        return number
                await asyncio.sleep(0.05)


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


def _varints(data: bytes) -> dict[int, int | bytes]:
    """The last value of each field of an encoded message: numbers, and bytes."""
    found: dict[int, int | bytes] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            found[tag >> 3] = varint()
        else:
            assert tag & 7 == 2, "the messages asked for hold numbers and bytes"
            length = varint()
            found[tag >> 3] = data[at : at + length]
            at += length
    return found
