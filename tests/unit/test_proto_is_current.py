"""The committed protobuf code is what the proto files say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("z4sql/api/_pb", "z4sql/tasks/_pb")


def test_generated_code_is_as_committed(tmp_path: Path) -> None:
    for place in PLACES:
        (tmp_path / place).mkdir(parents=True)
    subprocess.run(
        [ROOT / "proto" / "generate", tmp_path],
        check=True,
        env=os.environ | {"PYTHON": sys.executable},
        timeout=120,
    )
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2.py*"))
    assert len(made) == 6
    for path in made:
        assert (tmp_path / path).read_text() == (ROOT / path).read_text(), f"{path} is stale: run make proto"
