"""Logging and metrics of a process: structlog to stderr, Prometheus on its own port."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import Counter, Gauge

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


class Metrics:
    """What a peer counts. Names are part of the API; all start with ``z4_``."""

    def __init__(self) -> None:
        self._is_leader = Gauge("z4_is_leader", "1 while this peer leads")
        self._term = Gauge("z4_raft_term", "the log's present term")
        self._commit = Gauge("z4_raft_commit_index", "newest entry known to be committed")
        self._applied = Gauge("z4_raft_applied_index", "newest entry applied to the state")
        self._waiting = Gauge("z4_raft_queued_commands", "commands that wait for a place in the log")
        self._created = Counter(
            "z4_create_task_request_total", "calls (or stream items) that created tasks here", ["method"]
        )

    def created(self, method: str, count: int) -> None:
        self._created.labels(method).inc(count)

    def role(self, status: ReplicaStatus) -> None:
        self._is_leader.set(status.role is Role.LEADER)
        self._term.set(status.term)

    def positions(self, status: ReplicaStatus) -> None:
        self._commit.set(status.commit)
        self._applied.set(status.applied)
        self._waiting.set(status.queued_commands)
