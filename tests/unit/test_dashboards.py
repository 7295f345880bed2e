"""The Grafana dashboards ask only what z4 answers: every query is run, every metric exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import REGISTRY

from tests.cookbook import Kitchen
from z4sql.telemetry import Metrics

DIRECTORY = Path(__file__).parent.parent.parent / "docs" / "grafana"
_MACROS = (
    # As Grafana's MySQL data source writes them.
    (r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN FROM_UNIXTIME(1649894400) AND FROM_UNIXTIME(1649980800)"),
    (r"\$__timeGroup\((\w+), '5m'\)", r"UNIX_TIMESTAMP(\1) DIV 300 * 300"),
    (r"\$namespace", "welcome_emails"),
)


def _texts(name: str, key: str) -> Iterator[str]:
    def walk(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if key in node:
                yield node[key]
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    return walk(json.loads((DIRECTORY / name).read_text()))


async def test_every_query_of_the_tasks_dashboard_is_answered(tmp_path: Path) -> None:
    queries = [*_texts("tasks-mysql.json", "rawSql"), "SELECT name FROM namespaces ORDER BY name"]
    assert len(queries) >= 8
    kitchen = Kitchen(tmp_path / "state")
    try:
        for query in queries:
            for macro, text in _MACROS:
                query = re.sub(macro, text, query)
            assert (await kitchen.answer(query)).count("\n") >= 3, query
    finally:
        kitchen.close()


def test_every_metric_of_the_cluster_dashboard_is_told() -> None:
    if not any(metric.name == "z4_is_leader" for metric in REGISTRY.collect()):
        Metrics()  # Once a process: another test may have been first.
    known = {sample for metric in REGISTRY.collect() for sample in (metric.name, f"{metric.name}_total")}
    expressions = list(_texts("cluster-prometheus.json", "expr"))
    asked = {name.removesuffix("_bucket") for text in expressions for name in re.findall(r"z4_\w+", text)}
    assert len(asked) >= 8
    assert asked <= known, asked - known
