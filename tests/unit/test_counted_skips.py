"""Skipped tests are counted by reason, and those for root are named when root has not run them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SKIPPING = """
import pytest

@pytest.mark.root
@pytest.mark.parametrize("number", range(3))
def test_for_root(number):
    pytest.skip("strace is not installed")

def test_for_all():
    pytest.skip("no shell")
"""


@pytest.mark.parametrize("user", [0, 1000])
def test_skips_are_counted_by_reason_and_root_is_told_what_it_missed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    pytester.makeini("[pytest]\nmarkers = root\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(SKIPPING)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    result = pytester.runpytest_inprocess()
    result.stdout.re_match_lines(
        [r"=+ 4 skipped, by reason =+", r" +3 strace is not installed", r" +1 no shell"]
    )
    named = [line for line in result.outlines if "test_for_root[" in line and "strace" in line]
    assert len(named) == (3 if user == 0 else 0)
