"""What did not run is counted at the end: how many tests for which reason, and which that need root."""

from __future__ import annotations

import os
from collections import Counter

import pytest

pytest_plugins = ["tests.compared_servers"]


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The words of the test that was skipped; a skip's longrepr is (path, line, reason)."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section(f"{len(skipped)} skipped, by reason")
    for reason, count in Counter(map(skip_reason, skipped)).most_common():
        terminalreporter.write_line(f"{count:5} {reason}")
    needing_root = [report for report in skipped if "root" in report.keywords]
    if needing_root and os.geteuid() == 0:
        terminalreporter.section("tests for root that did not run though this is root", red=True)
        for report in needing_root:
            terminalreporter.write_line(f"{report.nodeid}: {skip_reason(report)}", red=True)
