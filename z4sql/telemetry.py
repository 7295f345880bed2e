"""Logging and metrics of a process: structlog to stderr, Prometheus on its own port."""

from __future__ import annotations

import logging
import platform
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate
from typing import Final

import structlog
from prometheus_client import REGISTRY, Gauge
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
    """A histogram of what comes many at a time."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        REGISTRY.register(self)

    def add(self, values: Sequence[float]) -> None:
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        edges = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        counts = list(accumulate(self._counts))
        buckets = list(zip(edges, counts, strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)


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
            "calls (or stream items) that created tasks here",
            ["method", "namespace"],
        )
        self._pushed = Tally(
            ["z4_pushed_task_total"],
            "calls (or stream items) that created tasks here",
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
        self._leases = Gauge("z4_leases", "leases of the consumers of this leader")
        self._consumers = Gauge("z4_consumers", "consumers of this leader")
        self._tasks = Gauge(
            "z4_tasks", "tasks by state, as the leader counts them", ["task_namespace", "state"]
        )
        self._oldest_due = Gauge(
            "z4_oldest_due_age_seconds", "how long the task is due that waits longest", ["task_namespace"]
        )
        self._calls = Tally(["grpc_server_handled_total"], "calls by how they ended", ["method", "code"])
        Gauge("z4_build_info", "1", ["version", "python"]).labels(
            version("z4"), platform.python_version()
        ).set(1)
        self._namespaces: set[str] = set()

    def created(self, method: str, namespace: str, count: int) -> None:
        """Calls that created tasks; ``namespace`` empty when they may be of several."""
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

    def settled(self, kind: str, outcome: int, namespace: str, count: int) -> None:
        """What was said of leases; ``outcome`` 0: done, 1: the lease had ended."""
        self._settled.add(count, kind, "stale" if outcome else "done")
        if kind == "ack" and not outcome:
            self._removed.add(count, kind, self._known(namespace))

    def removed(self, why: str, namespace: str, count: int) -> None:
        """Tasks that are over without an acknowledgement."""
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

    def delivering(self, consumers: int, leases: int) -> None:
        self._consumers.set(consumers)
        self._leases.set(leases)

    def role(self, status: ReplicaStatus) -> None:
        leads = status.role is Role.LEADER
        self._is_leader.set(leads)
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
