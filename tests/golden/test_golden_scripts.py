"""Every script prints what it says. ``GOLDEN_REWRITE=1 pytest tests/golden`` writes what is printed now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.golden.interaction import run

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))
REWRITE = bool(os.environ.get("GOLDEN_REWRITE"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_prints_what_it_says(path: Path) -> None:
    printed = run(path)
    if REWRITE:
        path.write_text(printed)
    assert printed.splitlines() == path.read_text().splitlines(), (
        f"{path.name}: GOLDEN_REWRITE=1 pytest tests/golden -k {path.stem}, then read the difference"
    )


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 15
