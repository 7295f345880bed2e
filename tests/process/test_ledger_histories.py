"""No task is lost, early, or given to two at a time, whatever happens to three peers.

Producers retry by request id, consumers acknowledge, refuse, extend, are too slow, fall silent or leave;
peers are killed, stopped, moved from the lead and parted. What everybody was told is checked by
`tests.process.ledger_checks`. A failure prints its seed and leaves the history; replay one with
``LEDGER_SEED=SEED pytest tests/process/test_ledger_histories.py -k NAME``.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.fault_peers import FaultyCluster, needs_root
from tests.process.ledger import History
from tests.process.ledger_checks import violations
from tests.process.ledger_planted import PLANTED
from tests.process.ledger_run import FAULTS, LIMITS, PARTITIONS, judge, observe

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests/process/test_ledger_histories.py"
LONG_SEEDS = range(1, 5)


def chosen_seed() -> int:
    return int(os.environ.get("LEDGER_SEED", random.SystemRandom().randrange(1 << 32)))


def seeds() -> list[int]:
    return [chosen_seed()] if "LEDGER_SEED" in os.environ else [*LONG_SEEDS]


def on_loopback(directory: Path, seed: int, faults: list[str], name: str) -> History:
    replay = f"LEDGER_SEED={seed} pytest {HERE} -m '' -k {name}"
    print(f"seed {seed}; replay: {replay}")
    with FaultyCluster(directory) as cluster:
        cluster.form()
        return judge(cluster, seed, faults, replay, directory)


def test_a_kill_and_a_pause_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    history = on_loopback(tmp_path, chosen_seed(), ["kill_leader", "pause_leader"], "a_kill_and_a_pause")
    assert len(history.deliveries) > 50, history.summary()


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds())
def test_many_faults_lose_nothing_and_double_nothing(tmp_path: Path, seed: int) -> None:
    faults = random.Random(seed).choices(sorted(FAULTS), k=10)
    on_loopback(tmp_path, seed, faults, "many_faults")


@pytest.mark.long
@pytest.mark.parametrize(
    ("defect", "rule"),
    [pytest.param(plant.__name__, rule, id=plant.__name__) for plant, rule in PLANTED.items()],
)
def test_a_planted_defect_is_found(tmp_path: Path, defect: str, rule: str) -> None:
    seed = chosen_seed()
    print(f"seed {seed}; replay: LEDGER_SEED={seed} pytest {HERE} -m '' -k {defect}")
    with FaultyCluster(tmp_path) as cluster:
        for peer in cluster.members:
            peer.program = [sys.executable, "-m", "tests.process.ledger_planted", defect]
        cluster.form()
        found = violations(*observe(cluster, seed, [], calm_s=3.0, deliveries_min=150), LIMITS)
    print("\n".join(found[:20]))
    assert any(one.startswith(f"{rule}: ") for one in found), f"{defect} was not found; seed {seed}"


@needs_root
@pytest.mark.root
@pytest.mark.long
@pytest.mark.parametrize("seed", seeds())
def test_partitions_lose_nothing_and_double_nothing(tmp_path: Path, seed: int) -> None:
    names = [*sorted(PARTITIONS), *random.Random(seed).choices(sorted(FAULTS | PARTITIONS), k=3)]
    fresh = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    bridge = ["ip", "link", "add", "probe", "type", "bridge"]
    for program in ([*fresh, *bridge], ["nft", "--version"]):
        try:
            probe = subprocess.run(program, capture_output=True, text=True)
        except FileNotFoundError as error:
            pytest.skip(f"{error.filename} is not installed")
        if probe.returncode:
            pytest.skip(f"no network namespaces with bridges here: {probe.stderr.strip()}")
    words = [sys.executable, "-m", "tests.process.ledger_run", str(seed), ",".join(names), str(tmp_path)]
    done = subprocess.run(
        [*fresh, *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    print(done.stdout, f"replay: {' '.join([*fresh, *words])}", sep="\n")
    assert done.returncode == 0, done.stdout + done.stderr
