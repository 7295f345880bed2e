"""Peers in network namespaces of their own behind one bridge, and what may pass between any two of them.

Runs inside a fresh network namespace (``unshare --net``), which is the bridge's; everything made here ends
with the process, so that nothing has to be cleaned up and nothing of the machine is touched.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.process.fault_peers import FaultyCluster, FaultyPeer, namespace_of, wait_for
from z4sql.cli.local_cluster import PeerPorts, PeerProcess

_PORTS = PeerPorts(6355, 6356, 3306, 2112)
_FRESH_NAMESPACE = ["unshare", "--net", "sh", "-c", 'read -r _ < "$0"; exec "$@"']


class NetworkPeer(FaultyPeer):
    """A peer at 10.77.0.N in its own namespace; it listens on every address there."""

    def __init__(self, name: str, number: int, directory: Path) -> None:
        super().__init__(name, _PORTS, directory, bootstrap=number == 1)
        self.number = number
        self.environment |= {"Z4_INSECURE": "true"}

    @property
    def host(self) -> str:
        return f"10.77.0.{self.number}"

    @property
    def service_address(self) -> str:
        return f"{self.host}:{self.ports.service}"

    @property
    def peer_address(self) -> str:
        return f"{self.host}:{self.ports.peer}"

    def command(self) -> list[str]:
        return [*_FRESH_NAMESPACE, str(self._gate), *super().command()]

    @property
    def _gate(self) -> Path:
        return self.directory / "network-ready"

    def start(self) -> None:
        """Start, and plug the namespace in before the server runs."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._gate.unlink(missing_ok=True)
        _run("mkfifo", str(self._gate))
        super().start()
        pid = self.pid or 0
        own = namespace_of(None)
        wait_for(lambda: namespace_of(pid) not in (own, "") or None, 5, "a namespace")
        inside, outside = f"in{self.number}", f"out{self.number}"
        subprocess.run(["ip", "link", "delete", outside], capture_output=True, check=False)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", str(pid))
        _run("ip", "link", "set", outside, "master", "bridge", "up")
        enter = ["nsenter", "--target", str(pid), "--net"]
        _run(*enter, "ip", "address", "add", f"{self.host}/24", "dev", inside)
        _run(*enter, "ip", "link", "set", inside, "up")
        _run(*enter, "ip", "link", "set", "lo", "up")
        self._gate.write_text("\n")


class NetworkCluster(FaultyCluster):
    """Three `NetworkPeer`s; this process stands at the bridge and always reaches all of them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, 0)
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "bridge", "type", "bridge")
        _run("ip", "address", "add", "10.77.0.254/24", "dev", "bridge")
        _run("ip", "link", "set", "bridge", "up")
        self.members = [NetworkPeer(f"peer{n}", n, directory / f"peer{n}") for n in (1, 2, 3)]
        self.peers: list[PeerProcess] = list(self.members)
        for peer in self.members:
            peer.environment["TMPDIR"] = str(self.temporary)

    def cut(self, *directions: tuple[FaultyPeer, FaultyPeer]) -> None:
        """Drop what travels from the first to the second of each pair; let everything else pass."""
        rules = [
            f"add rule bridge cuts forward ip saddr {_host(source)} ip daddr {_host(target)} drop"
            for source, target in directions
        ]
        lines = [
            "table bridge cuts",
            "delete table bridge cuts",
            "table bridge cuts {",
            "chain forward { type filter hook forward priority 0; policy accept; }",
            "}",
            *rules,
        ]
        subprocess.run(["nft", "-f", "-"], input="\n".join(lines) + "\n", text=True, check=True)

    def part(self, one: FaultyPeer, others: list[FaultyPeer]) -> None:
        """Neither side reaches the other."""
        self.cut(*((one, other) for other in others), *((other, one) for other in others))

    def heal(self) -> None:
        self.cut()


def _host(peer: FaultyPeer) -> str:
    assert isinstance(peer, NetworkPeer)
    return peer.host


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
