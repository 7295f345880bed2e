"""A peer whose directories are lost, and whose environment says for ever that it may form a cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.fault_peers import FaultyCluster, info_of, wait_for
from z4sql.cli.local_cluster import PeerProcess
from z4sql.client import Client, OutcomeUnknown, Unavailable

pytestmark = pytest.mark.long


def z4t(*arguments: str) -> str:
    command = [sys.executable, "-m", "z4sql.cli.z4t", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ids(peer: PeerProcess) -> list[str]:
    info = info_of(peer)
    return [member.id for member in info.members] if info else []


def test_a_wiped_bootstrap_peer_acknowledges_nothing_and_comes_back_by_remove_and_add(tmp_path: Path) -> None:
    with FaultyCluster(tmp_path / "cluster") as cluster:
        cluster.form()
        with Client([peer.service_address for peer in cluster.members]) as client:
            written = [client.create("kept", payload=b"%d" % number) for number in range(5)]
        wiped = cluster.members[0]
        assert wiped.bootstrap
        wiped.kill()
        others = cluster.others(wiped)
        leader = cluster.leader(others, timeout_s=30)
        shutil.rmtree(wiped.directory)
        wiped.start()
        wait_for(lambda: "name_claimed" in wiped.log_text(), 30, "an error that says what to do")
        with (
            Client(wiped.service_address, timeout_s=3) as client,
            pytest.raises((Unavailable, OutcomeUnknown)),
        ):
            client.create("kept")
        assert "cluster_formed" not in wiped.log_text()
        assert z4t("-t", leader.service_address, "-id", wiped.name, "remove-peer") == "peer removed\n"
        added = z4t("-t", leader.service_address, "-p", wiped.peer_address, "-id", wiped.name, "add-peer")
        assert added == "peer added\n"
        cluster.wait_healthy(wiped)
        assert ids(wiped) == ids(leader) == sorted(peer.name for peer in cluster.members)
        with Client(wiped.service_address) as client:
            assert [client.get("kept", id, linearizable=True).payload for id in written] == [
                b"%d" % number for number in range(5)
            ]
