"""Partitions between real peers in network namespaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.fault_partitions import SCENARIOS
from tests.process.fault_peers import needs_root

ROOT = Path(__file__).resolve().parents[2]


def run(names: list[str], directory: Path, timeout_s: float) -> None:
    """Run scenarios one after the other on one cluster, in a namespace that ends with them."""
    words = [sys.executable, "-m", "tests.process.fault_partitions", ",".join(names), str(directory)]
    # A process namespace too: peers end with the scenario, however it ends.
    fresh = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        for tool in ("ip", "nft"):
            subprocess.run([tool, "-V"], capture_output=True)
        needed = "ip link add probe type bridge && nft add table bridge probe"
        probe = subprocess.run([*fresh, "sh", "-c", needed], capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is not installed")
    if probe.returncode:
        pytest.skip(f"no network namespaces with bridges here: {probe.stderr.strip()}")
    done = subprocess.run(
        [*fresh, *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    print(f"replay: {' '.join([*fresh, *words])}")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_root
@pytest.mark.root
def test_a_leader_without_its_majority_refuses_while_the_majority_goes_on(tmp_path: Path) -> None:
    run(["symmetric"], tmp_path, 60)


@needs_root
@pytest.mark.root
@pytest.mark.long
def test_every_partition_heals_to_equal_states(tmp_path: Path) -> None:
    run([*SCENARIOS] * 3, tmp_path, 600)
