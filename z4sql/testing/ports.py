"""Ports of 127.0.0.1 that stay free until a server listens there, also while that server is down for a while.

The kernel gives ports of its ephemeral range to outgoing connections of any program at any time: a port that
was free when a test looked is taken when its server starts. So ports are chosen outside of that range.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_EPHEMERAL_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL: Final = range(32_768, 61_000)
"""Linux's default, where nothing says otherwise."""
_FIRST: Final = 10_000
"""Below are the ports that services are known by."""
_ENOUGH: Final = 2_000
_TRIES_MAX: Final = 10_000

_given: set[int] = set()


class NoFreePort(Exception):
    """Everything that was tried is taken."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on and that no connection is given; never one twice in a process.

    :raises NoFreePort:
    """
    candidates = _candidates(_ephemeral())
    found: list[int] = []
    for _ in range(_TRIES_MAX):
        if len(found) == count:
            return found
        port = secrets.choice(candidates)
        if port not in _given and _is_free(port):
            _given.add(port)
            found.append(port)
    raise NoFreePort(f"no {count} free ports among {candidates.start} to {candidates.stop - 1}")


def free_address() -> str:
    """``127.0.0.1:PORT`` of a free port. :raises NoFreePort:"""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


def _ephemeral() -> range:
    with suppress(OSError, ValueError):
        first, last = map(int, _EPHEMERAL_FILE.read_text().split())
        return range(first, last + 1)
    return _EPHEMERAL


def _candidates(ephemeral: range) -> range:
    """Below the ephemeral range, else above; all of it where it leaves no room."""
    below, above = range(_FIRST, ephemeral.start), range(max(_FIRST, ephemeral.stop), 1 << 16)
    return next((ports for ports in (below, above) if len(ports) >= _ENOUGH), range(_FIRST, 1 << 16))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
