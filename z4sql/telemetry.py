"""Logging and metrics of a process: structlog to stderr, Prometheus on its own port."""

from __future__ import annotations

import logging
import platform
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from importlib.metadata import version
from itertools import accumulate
from typing import Any, Final

import structlog
from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from raftcore.core.types import Role
from raftcore.replica.turn import ReplicaStatus


def configure_logging(*, debug: bool) -> None:
    """One line per event on stderr: JSON, or ``key=value`` when stderr is a terminal."""
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(message)s")


_LATENESS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600)
_CALL_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ACK_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 60, 300, 3600)
_NAMESPACES_MAX: Final = 200
_OTHER: Final = "other"


class Tally(Collector):
    """Counts by labels, shown under every one of ``names``: old names stay, and counting costs once."""

    def __init__(self, names: Sequence[str], documentation: str, labels: Sequence[str]) -> None:
        self._names = tuple(names)
        self._documentation = documentation
        self._labels = tuple(labels)
        self._counts: dict[tuple[str, ...], int] = {}
        REGISTRY.register(self)

    def add(self, count: int, *labels: str) -> None:
        self._counts[labels] = self._counts.get(labels, 0) + count

    def collect(self) -> Iterator[CounterMetricFamily]:
        for name in self._names:
            family = CounterMetricFamily(name, self._documentation, labels=self._labels)
            # Copied in one step: the scraper is another thread.
            for labels, count in dict(self._counts).items():
                family.add_metric(labels, count)
            yield family


class Spread(Collector):
    """A histogram of what comes many at a time, for each combination of labels."""

    def __init__(
        self, name: str, documentation: str, bounds: Sequence[float], labels: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(bounds)
        self._labels = tuple(labels)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        if not labels:
            self.add(())
        REGISTRY.register(self)

    def add(self, values: Sequence[float], *labels: str) -> None:
        bounds, counts = self._bounds, self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(bounds) + 1)
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + sum(values)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        edges = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        # Copied in one step: the scraper is another thread.
        for labels, counts in dict(self._counts).items():
            buckets = list(zip(edges, accumulate(counts), strict=True))
            family.add_metric(labels, buckets, self._sums.get(labels, 0.0))
        yield family


class Metrics:
    """What a peer counts. Names are part of the API. Those without ``z4_`` are of the first generation."""

    def __init__(self) -> None:
        self._is_leader = Gauge("z4_is_leader", "1 while this peer leads")
        self._term = Gauge("z4_raft_term", "the log's present term")
        self._commit = Gauge("z4_raft_commit_index", "newest entry known to be committed")
        self._applied = Gauge("z4_raft_applied_index", "newest entry applied to the state")
        self._waiting = Gauge("z4_raft_queued_commands", "commands that wait for a place in the log")
        self._received_logs = [
            Gauge(name, "newest entry of this peer's log") for name in _with_prefix("received_log_count")
        ]
        self._applied_logs = [
            Gauge(name, "newest entry applied to the state") for name in _with_prefix("applied_log_count")
        ]
        self._snapshots = [
            Gauge(
                name,
                "when a copy of the state was last made or taken over, seconds since the epoch; 0: not yet",
            )
            for name in _with_prefix("last_fsm_snapshot")
        ]
        self._created = Tally(
            _with_prefix("create_task_request_total"),
            "tasks created through this peer",
            ["method", "namespace"],
        )
        self._pushed = Tally(
            ["z4_pushed_task_total"],
            "tasks created through this peer",
            ["method", "task_namespace"],
        )
        self._streamed = Tally(
            _with_prefix("streamed_task_total"), "tasks sent to consumers", ["method", "namespace"]
        )
        self._pulled = Tally(
            ["z4_pulled_task_total"], "tasks sent to consumers", ["method", "task_namespace"]
        )
        self._removed = Tally(
            ["z4_removed_task_total"],
            "tasks that are over: acknowledged, removed, expired, or forgotten after their retention",
            ["method", "task_namespace"],
        )
        self._settled = Tally(
            ["z4_settled_lease_total"],
            "what was said of leases, and whether they still lasted",
            ["kind", "outcome"],
        )
        self._redelivered = Tally(["z4_redelivered_task_total"], "deliveries that were not the first", [])
        self._lateness = Spread(
            "z4_task_lateness_seconds", "from when a task was due until it was sent", _LATENESS_S
        )
        self._acknowledged = Spread(
            "z4_ack_latency_seconds", "from when a task was sent until it was done, durably", _ACK_S
        )
        self._credits = Gauge("z4_credits", "tasks that the consumers of this leader still take")
        self._leases = Gauge("z4_leases", "leases of the consumers of this leader")
        self._consumers = Gauge("z4_consumers", "consumers of this leader")
        self._tasks = Gauge(
            "z4_tasks", "tasks by state, as the leader counts them", ["task_namespace", "state"]
        )
        self._oldest_due = Gauge(
            "z4_oldest_due_age_seconds", "how long the task is due that waits longest", ["task_namespace"]
        )
        self._calls = Tally(["grpc_server_handled_total"], "calls by how they ended", ["method", "code"])
        self._calls_took = Spread(
            "grpc_server_handling_seconds", "how long unary calls took", _CALL_S, ["method"]
        )
        self._elections = Counter("z4_raft_elections_total", "elections that this peer stood in")
        self._leader_changes = Counter("z4_raft_leader_changes_total", "times that another peer came to lead")
        self._last_leader = 0
        self._last_election = 0
        self._collected = [
            Gauge(name, "when finished tasks were last forgotten, seconds since the epoch; 0: not yet")
            for name in _with_prefix("last_db_gc")
        ]
        self._sql_statements = Tally(
            ["z4_sql_statements_total"],
            "statements by their first word and how they ended",
            ["verb", "outcome"],
        )
        self._sql_took = Spread(
            "z4_sql_statement_seconds", "how long statements took, rows included", _CALL_S
        )
        self._sql_rows = Tally(["z4_sql_rows_total"], "rows that clients were given", [])
        self._sql_scanned = Tally(["z4_sql_scanned_rows_total"], "rows that queries read to answer", [])
        self._sql_connections = Gauge("z4_sql_connections", "open connections of SQL clients")
        self._state_bytes = Gauge("z4_state_bytes", "the state on the disk, with what SQL reads")
        self._background_errors = Gauge(
            "z4_state_background_errors",
            "flushes and merges of the state's files that failed since the start",
        )
        self._free_bytes = Gauge(
            "z4_disk_free_bytes", "room that is left where a directory lies", ["directory"]
        )
        Gauge("z4_build_info", "1", ["version", "python"]).labels(
            version("z4"), platform.python_version()
        ).set(1)
        self._namespaces: set[str] = set()

    def created(self, method: str, namespace: str, count: int) -> None:
        """Tasks that were created through this peer."""
        namespace = self._known(namespace)
        self._created.add(count, method, namespace)
        self._pushed.add(count, method, namespace)

    def streamed(self, method: str, namespace: str, count: int) -> None:
        """Tasks sent by a stream of this peer."""
        namespace = self._known(namespace)
        self._streamed.add(count, method, namespace)
        self._pulled.add(count, method, namespace)

    def delivered(self, lateness_s: Sequence[float], again: int) -> None:
        """Tasks on their way to a consumer, some of them ``again``."""
        self._lateness.add(lateness_s)
        self._redelivered.add(again)

    def settled(self, kind: str, outcome: IntEnum, namespace: str, count: int) -> None:
        """What was said of leases; ``outcome`` 0: it was done."""
        self._settled.add(count, kind, outcome.name.lower())
        if kind == "ack" and not outcome:
            self._removed.add(count, kind, self._known(namespace))

    def removed(self, why: str, namespace: str, count: int) -> None:
        """Tasks that are over without an acknowledgement."""
        if why == "retention":
            for gauge in self._collected:
                gauge.set_to_current_time()
        self._removed.add(count, why, self._known(namespace))

    def surveyed(self, namespace: str, counts: Mapping[str, int], oldest_due_age_s: float) -> None:
        """What a namespace holds now, by the names of states; 0 seconds when nothing that is due waits."""
        if self._known(namespace) == _OTHER:
            return
        for state, count in counts.items():
            self._tasks.labels(namespace, state).set(count)
        self._oldest_due.labels(namespace).set(oldest_due_age_s)

    def called(self, method: str, code: str) -> None:
        """A call ended; ``code`` is the name of its gRPC status."""
        self._calls.add(1, method, code)

    def acknowledged(self, took_s: Sequence[float]) -> None:
        """Tasks are done, so long after they were sent."""
        self._acknowledged.add(took_s)

    def took(self, method: str, seconds: float) -> None:
        """A unary call took so long."""
        self._calls_took.add((seconds,), method)

    def delivering(self, consumers: int, leases: int, credits: int) -> None:
        self._consumers.set(consumers)
        self._leases.set(leases)
        self._credits.set(credits)

    def queried(self, counts: Mapping[str, Any]) -> None:
        """What SQL clients did since the last time, as `z4sql.sql.metering.Meter.take` gives it."""
        self._sql_connections.set(counts["connections"])
        for verb, outcome, count in counts.get("statements", ()):
            self._sql_statements.add(count, verb, outcome)
        for took_ms, count in counts.get("took_ms", ()):
            self._sql_took.add([took_ms / 1e3] * count)
        self._sql_rows.add(counts.get("rows", 0))
        self._sql_scanned.add(counts.get("scanned_rows", 0))

    def disk(self, state_bytes: int, free_bytes: Mapping[str, int], errors: int) -> None:
        """``free_bytes`` by what the directory is for; ``errors``: see the metric."""
        self._background_errors.set(errors)
        self._state_bytes.set(state_bytes)
        for directory, free in free_bytes.items():
            self._free_bytes.labels(directory).set(free)

    def role(self, status: ReplicaStatus) -> None:
        leads = status.role is Role.LEADER
        self._is_leader.set(leads)
        if status.role is Role.CANDIDATE and status.term != self._last_election:
            self._last_election = status.term
            self._elections.inc()
        if status.leader not in (0, self._last_leader):
            self._last_leader = status.leader
            self._leader_changes.inc()
        if not leads:
            # Only the leader counts; what this peer knew grows old.
            self._tasks.clear()
            self._oldest_due.clear()
        self._term.set(status.term)

    def positions(self, status: ReplicaStatus) -> None:
        self._commit.set(status.commit)
        self._applied.set(status.applied)
        self._waiting.set(status.queued_commands)
        for gauge in self._received_logs:
            gauge.set(status.last_index)
        for gauge in self._applied_logs:
            gauge.set(status.applied)

    def copied(self, snapshot_at_s: float) -> None:
        """A copy of the state was made or taken over at that time, by the wall clock."""
        for gauge in self._snapshots:
            gauge.set(snapshot_at_s)

    def _known(self, namespace: str) -> str:
        """The label of a namespace: clients choose the names, so their number is bounded."""
        if namespace in self._namespaces:
            return namespace
        if len(self._namespaces) >= _NAMESPACES_MAX:
            return _OTHER
        self._namespaces.add(namespace)
        return namespace


def _with_prefix(name: str) -> tuple[str, str]:
    return name, "z4_" + name
