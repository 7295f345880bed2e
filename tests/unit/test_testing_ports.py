"""Ports for servers of tests: free, never twice, and out of reach of outgoing connections."""

from __future__ import annotations

import socket

import pytest

from z4sql.testing import ports


def test_ports_are_free_distinct_and_not_ephemeral() -> None:
    found = ports.free_ports(50) + ports.free_ports(50)
    assert len(set(found)) == 100
    with socket.socket() as ephemeral:
        ephemeral.bind(("127.0.0.1", 0))
        given = ephemeral.getsockname()[1]
    own = ports._ephemeral()
    assert given in own
    assert not set(found) & set(own)
    for port in found:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_port_that_somebody_listens_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", ports.free_ports(1)[0])) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr(ports, "_candidates", lambda _ephemeral: range(taken, taken + 1))
        monkeypatch.setattr(ports, "_given", set())
        with pytest.raises(ports.NoFreePort, match=str(taken)):
            ports.free_ports(1)


@pytest.mark.parametrize(
    ("ephemeral", "expected"),
    [
        (range(32_768, 61_000), range(10_000, 32_768)),
        (range(1_024, 40_000), range(40_000, 65_536)),
        (range(1_024, 65_536), range(10_000, 65_536)),
        (range(11_000, 65_000), range(10_000, 65_536)),
    ],
)
def test_ports_are_chosen_below_the_ephemeral_range_or_above_it(ephemeral: range, expected: range) -> None:
    assert ports._candidates(ephemeral) == expected
